//! What the barrier and the gate's watch tell the decide thread.
//!
//! Two words in memory, without a queue and without a lock, so it is bounded whatever happens: the newest
//! sequence that is durable, and whether the kernel sets may be wrong. Telling wakes the decide thread
//! only if it waits for it: it looks by itself each time a packet comes.

use crate::net::Waker;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use vestibule_core::Sequence;

/// See the module.
#[derive(Debug)]
pub struct Told {
    committed: AtomicU64,
    gate_is_lost: AtomicBool,
    is_waited_for: AtomicBool,
    waker: Waker,
}

impl Told {
    /// Nothing has been told. `waker`: the decide thread's.
    #[must_use]
    pub const fn new(waker: Waker) -> Self {
        Self {
            committed: AtomicU64::new(0),
            gate_is_lost: AtomicBool::new(false),
            is_waited_for: AtomicBool::new(false),
            waker,
        }
    }

    /// Everything up to here is durable.
    pub fn committed(&self, through: Sequence) {
        // Sequentially consistent, as in `wait_beyond`: either this sees that somebody waits, or who
        // begins to wait sees the number.
        self.committed.fetch_max(through.0, Ordering::SeqCst);
        if self.is_waited_for.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
    }

    /// The kernel sets may be wrong.
    pub fn gate_lost(&self) {
        self.gate_is_lost.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    /// Up to where everything is durable.
    pub(super) fn durable(&self) -> Sequence {
        Sequence(self.committed.load(Ordering::SeqCst))
    }

    /// Whether the kernel sets may be wrong since this was last asked.
    pub(super) fn take_gate_lost(&self) -> bool {
        self.gate_is_lost.load(Ordering::Relaxed) && self.gate_is_lost.swap(false, Ordering::SeqCst)
    }

    /// Has the decide thread be woken when more is durable than `seen`. Whether it is so already.
    pub(super) fn wait_beyond(&self, seen: Sequence) -> bool {
        self.is_waited_for.store(true, Ordering::SeqCst);
        self.durable() > seen
    }
}
