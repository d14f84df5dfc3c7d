//! The way from the rest of the process to the core: commands and queries, each with its answer.
//!
//! The core belongs to the decide thread. Everything else (the API, the snapshot writer) asks
//! through a [`Door`]: a bounded channel of [`Call`]s and a waker that gets the decide thread out of
//! its wait for packets. A command's answer comes only when what it promises is durable and in the
//! kernel; a query's answer shows the core between two packets. The packet path never waits here.

use crate::trace::{Moment, Told, TooManyFollowers};
use std::fmt;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use vestibule_core::{Answer, Command, HardwareAddress, Query, QueryAnswer};

/// Calls that wait for the decide thread at most; a caller beyond it is told [`DoorError::Busy`].
pub const CALLS_WAITING_MAX: usize = 4096;

/// One call on the core. Dropping the sender of the answer tells the caller [`DoorError::Closed`].
#[derive(Debug)]
pub enum Call {
    /// Change something.
    Command(Command, oneshot::Sender<Answer>),
    /// Ask something.
    Query(Query, oneshot::Sender<QueryAnswer>),
    /// Give the last moments of a client, and tell the next ones from now on.
    Trace {
        /// The client.
        hardware: HardwareAddress,
        /// Who wants to be told; `None`: nobody.
        follow: Option<mpsc::Sender<Told>>,
        /// The last moments, oldest first.
        answer: oneshot::Sender<Result<Vec<Moment>, TooManyFollowers>>,
    },
    /// Tell when everything that was decided before is durable and in the kernel.
    Barrier(oneshot::Sender<()>),
}

/// Why a call got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorError {
    /// More calls wait than fit; try again.
    Busy,
    /// The server is ending.
    Closed,
}

impl fmt::Display for DoorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "too many calls wait for the server; try again",
            Self::Closed => "the server is ending",
        })
    }
}

impl std::error::Error for DoorError {}

/// A handle on the core. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    calls: mpsc::Sender<Call>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl Door {
    /// A door and the end that the decide thread serves with `try_recv`. `wake` is called after each
    /// call has been put in.
    #[must_use]
    pub fn new(wake: Arc<dyn Fn() + Send + Sync>) -> (Self, mpsc::Receiver<Call>) {
        let (calls, receiver) = mpsc::channel(CALLS_WAITING_MAX);
        (Self { calls, wake }, receiver)
    }

    /// Has the core carry out a command, and waits until it is durable and in the kernel.
    ///
    /// # Errors
    /// [`DoorError`] if the command was not carried out, or, when the server ends in between, if
    /// nobody can tell whether it was.
    pub async fn command(&self, command: Command) -> Result<Answer, DoorError> {
        let (sender, answer) = oneshot::channel();
        self.put(Call::Command(command, sender))?;
        answer.await.map_err(|_| DoorError::Closed)
    }

    /// Asks the core.
    ///
    /// # Errors
    /// [`DoorError`] if there is no answer.
    pub async fn query(&self, query: Query) -> Result<QueryAnswer, DoorError> {
        let (sender, answer) = oneshot::channel();
        self.put(Call::Query(query, sender))?;
        answer.await.map_err(|_| DoorError::Closed)
    }

    /// The last moments of a client, oldest first; whoever follows is told the next ones.
    ///
    /// # Errors
    /// [`DoorError`] if there is no answer.
    pub async fn trace(
        &self,
        hardware: HardwareAddress,
        follow: Option<mpsc::Sender<Told>>,
    ) -> Result<Result<Vec<Moment>, TooManyFollowers>, DoorError> {
        let (answer, answered) = oneshot::channel();
        self.put(Call::Trace { hardware, follow, answer })?;
        answered.await.map_err(|_| DoorError::Closed)
    }

    /// As [`Door::query`], from a thread outside the runtime.
    ///
    /// # Errors
    /// [`DoorError`] if there is no answer.
    pub fn query_blocking(&self, query: Query) -> Result<QueryAnswer, DoorError> {
        let (sender, answer) = oneshot::channel();
        self.put(Call::Query(query, sender))?;
        answer.blocking_recv().map_err(|_| DoorError::Closed)
    }

    /// Waits until everything that was decided before this call is durable and in the kernel.
    ///
    /// # Errors
    /// [`DoorError`] if that cannot be told.
    pub async fn barrier(&self) -> Result<(), DoorError> {
        let (sender, done) = oneshot::channel();
        self.put(Call::Barrier(sender))?;
        done.await.map_err(|_| DoorError::Closed)
    }

    /// Waits until everything that was decided before this call is durable, from a thread outside the
    /// runtime.
    ///
    /// # Errors
    /// [`DoorError`] if that cannot be told.
    pub fn barrier_blocking(&self) -> Result<(), DoorError> {
        let (sender, done) = oneshot::channel();
        self.put(Call::Barrier(sender))?;
        done.blocking_recv().map_err(|_| DoorError::Closed)
    }

    /// Whether the server is ending, so that every call is told so.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.calls.is_closed()
    }

    fn put(&self, call: Call) -> Result<(), DoorError> {
        self.calls.try_send(call).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => DoorError::Busy,
            mpsc::error::TrySendError::Closed(_) => DoorError::Closed,
        })?;
        (self.wake)();
        Ok(())
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}
