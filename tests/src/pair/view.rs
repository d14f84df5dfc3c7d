//! A lease as both programs know it.

/// What a server knows of an address that somebody had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenLease {
    /// `active`, or `free`: nobody has it any more, and both servers know.
    pub state: String,
    /// Whose it is or was.
    pub mac: String,
    /// The end of it, as `2026/11/21 21:00:43`, in whole seconds UTC.
    pub ends: String,
}
