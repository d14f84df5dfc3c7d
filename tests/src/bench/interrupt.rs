//! Ctrl-C and SIGTERM as a flag, so that a benchmark ends between two steps, prints what it has and
//! tidies up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

/// A flag that a signal sets, once and for all.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
}

impl Interrupt {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// The kernel does not let us.
    pub fn catch() -> io::Result<Self> {
        let interrupt = Self::default();
        let flag = Arc::clone(&interrupt.flag);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut one, mut other) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = one.recv() => {}
                    _ = other.recv() => {}
                }
            });
            flag.store(true, Ordering::Relaxed);
        });
        Ok(interrupt)
    }

    /// Whether a signal has come.
    #[must_use]
    pub fn came(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}
