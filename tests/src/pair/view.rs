//! A lease as both programs know it.

/// What a server knows of an address that somebody had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenLease {
    /// `active`, or `free`: nobody has it any more, and both servers know.
    pub state: String,
    /// Whose it is or was.
    pub mac: String,
    /// The end of it, as `2026/11/21 21:00:43`, in whole seconds UTC; empty if nobody has it, because each server
    /// then keeps the moment at which it heard so.
    pub ends: String,
}

impl SeenLease {
    pub(super) fn new(is_active: bool, mac: String, ends: String) -> Self {
        let (state, ends) = if is_active { ("active", ends) } else { ("free", String::new()) };
        Self { state: state.to_owned(), mac, ends }
    }

    /// Whether somebody has it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == "active"
    }
}
