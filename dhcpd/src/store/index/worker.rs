//! The index's own thread: probe, open or rebuild, then put in what comes, in passes.

use super::keys::Prefixes;
use super::tree::{IndexError, Tree};
use super::{GATHERING, IndexState, LeaseSource, Shared, SourceLost, guard};
use std::cell::Cell;
use std::process::{Command, Stdio};
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

/// How often a running probe is looked at.
const PROBE_LOOK: Duration = Duration::from_millis(10);

/// After each batch the thread rests this many times as long as the batch took, unless somebody waits for
/// the index: a storm of leases gets the processor, and the index a tenth of a core.
const REST_FACTOR: u32 = 9;

/// Keeps the thread to its share of a core.
struct Pace<'a> {
    shared: &'a Shared,
    /// When the batch at hand was begun.
    since: Cell<Instant>,
}

impl<'a> Pace<'a> {
    fn begin(shared: &'a Shared) -> Self {
        Self { shared, since: Cell::new(Instant::now()) }
    }

    /// Rests after a batch. Whether the work is to be given up: the end has come, or updates were lost.
    fn rest(&self) -> bool {
        let deadline = Instant::now() + self.since.get().elapsed() * REST_FACTOR;
        let mut state = self.shared.lock();
        let is_given_up = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let is_given_up = state.is_ending || state.loss.is_some();
            if is_given_up || state.is_urgent || left.is_zero() {
                break is_given_up;
            }
            let changed = &self.shared.changed;
            state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        self.since.set(Instant::now());
        is_given_up
    }
}

/// What there is to do next.
enum Task {
    /// Make the index anew.
    Rebuild(LeaseSource),
    /// Put in what waits.
    Pass,
    /// Stop using the index, because updates for it were lost.
    Close,
    End,
}

/// Runs until the index is dropped. `recovered` is how far the journal had come at the start.
pub(super) fn run(shared: &Shared, recovered: u64) {
    open(shared, recovered);
    while !guard::has_panicked() {
        let result = match next_task(shared) {
            Task::Rebuild(source) => rebuild(shared, source),
            Task::Pass => pass(shared),
            Task::Close => {
                close(shared);
                Ok(())
            }
            Task::End => break,
        };
        if let Err(error) = result {
            give_up(shared, &error);
        }
    }
    close(shared);
}

/// Reuses the index that is there if it is sound and has come as far as the journal.
fn open(shared: &Shared, recovered: u64) {
    let reason = match find(shared) {
        Ok(tree) => match tree.position() {
            Ok(Some(reached)) if reached == recovered => {
                put_to_use(shared, Some(tree));
                let mut state = shared.lock();
                state.is_open = true;
                state.source = None;
                if state.loss.is_none() {
                    state.reached = reached;
                    state.state = IndexState::Ready;
                }
                shared.changed.notify_all();
                return;
            }
            Ok(_) => "it has not come as far as the journal".to_owned(),
            Err(error) => error.to_string(),
        },
        Err(reason) => reason,
    };
    // A start that is refused meanwhile ends the probe early: that says nothing of the index.
    if !shared.lock().is_ending {
        tracing::info!(directory = %shared.directory.display(), reason, "the index is made anew");
    }
}

/// The index that is there, if a process that may die of it could open it first.
fn find(shared: &Shared) -> Result<Tree, String> {
    if !shared.directory.join("db").exists() {
        return Err("there is none".into());
    }
    let options = &shared.options;
    let mut probe = Command::new(&options.probe_program)
        .args(&options.probe_arguments)
        .arg(&shared.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // A panic there is an expected answer, and not for the log.
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| {
            format!("the probe {} cannot be started: {error}", options.probe_program.display())
        })?;
    let deadline = Instant::now() + options.probe_time_max;
    let status = loop {
        match probe.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline && !shared.lock().is_ending => {
                thread::sleep(PROBE_LOOK);
            }
            unfinished => {
                // It may have ended in between; then there is nothing to end.
                let _ = probe.kill();
                let _ = probe.wait();
                return Err(match unfinished {
                    Ok(_) => "the probe did not come to an end".into(),
                    Err(error) => format!("the probe was lost: {error}"),
                });
            }
        }
    };
    if !status.success() {
        return Err(format!("the probe could not read it ({status})"));
    }
    Tree::open(&shared.directory).map_err(|error| error.to_string())
}

/// Waits until there is something to do.
fn next_task(shared: &Shared) -> Task {
    let mut state = shared.lock();
    let mut gathering_since: Option<Instant> = None;
    loop {
        if state.loss.is_some() && state.is_open {
            return Task::Close;
        }
        if let Some(source) = state.source.take() {
            if state.is_ending {
                return Task::End;
            }
            state.state = IndexState::Rebuilding;
            state.reached = 0;
            return Task::Rebuild(source);
        }
        let has_work = state.is_open && state.reached != state.fed;
        if !has_work {
            if state.is_ending {
                return Task::End;
            }
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let gathered = gathering_since.get_or_insert_with(Instant::now).elapsed();
        if state.is_ending || state.is_urgent || gathered >= GATHERING {
            return Task::Pass;
        }
        let (woken, _) = shared
            .changed
            .wait_timeout(state, GATHERING.saturating_sub(gathered))
            .unwrap_or_else(PoisonError::into_inner);
        state = woken;
    }
}

/// Deletes the index and makes it anew.
fn rebuild(shared: &Shared, source: LeaseSource) -> Result<(), IndexError> {
    let begun = Instant::now();
    close(shared);
    let tree = Tree::make_new(&shared.directory)?;
    let pace = Pace::begin(shared);
    let (mut count, mut is_lost) = (0_u64, false);
    let leases = source.map_while(|lease| match lease {
        Ok(lease) => {
            count += 1;
            Some((lease.address, Some(Prefixes::of(&lease))))
        }
        Err(SourceLost) => {
            is_lost = true;
            None
        }
    });
    let is_whole = tree.apply(leases, &|| pace.rest())?;
    if is_lost && !shared.lock().is_ending {
        return Err(IndexError::SourceLost);
    }
    let is_whole = is_whole && !is_lost;
    if !is_whole {
        // Without a position it counts as incomplete, and is made anew.
        return Ok(());
    }
    // What came in meanwhile follows, before anybody is told that it is ready.
    let reached = put_in(shared, &tree)?;
    put_to_use(shared, Some(tree));
    let mut state = shared.lock();
    state.is_open = true;
    if state.loss.is_none() {
        state.reached = reached;
        state.state = IndexState::Ready;
        shared.changed.notify_all();
        drop(state);
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(leases = count, milliseconds, "the index has been made anew");
    }
    Ok(())
}

/// Brings the index as far as it has been fed.
fn pass(shared: &Shared) -> Result<(), IndexError> {
    let tree = shared.tree.read().unwrap_or_else(PoisonError::into_inner);
    let reached = match tree.as_ref() {
        Some(tree) => put_in(shared, tree)?,
        None => return Err(IndexError::NotReady),
    };
    let mut state = shared.lock();
    if state.loss.is_none() {
        state.reached = reached;
    }
    shared.changed.notify_all();
    Ok(())
}

/// Closes the index; when this returns, its directory is free.
fn close(shared: &Shared) {
    put_to_use(shared, None);
    shared.lock().is_open = false;
}

fn put_to_use(shared: &Shared, tree: Option<Tree>) {
    *shared.tree.write().unwrap_or_else(PoisonError::into_inner) = tree;
}

/// Puts in what waits, then the position, and gives it. A loss in between is noticed by the caller.
fn put_in(shared: &Shared, tree: &Tree) -> Result<u64, IndexError> {
    let (changes, position, losses) = {
        let mut state = shared.lock();
        if state.loss.is_some() || state.source.is_some() {
            // It is closed or made anew next.
            return Ok(state.reached);
        }
        (std::mem::take(&mut state.waiting), state.fed, state.losses)
    };
    let pace = Pace::begin(shared);
    // At the end, what waits is still put in.
    tree.apply(changes.into_iter(), &|| pace.rest() && shared.lock().loss.is_some())?;
    // If nothing was lost meanwhile, what was taken is all there was.
    let is_complete = shared.lock().losses == losses;
    if is_complete {
        tree.set_position(position)?;
    }
    Ok(position)
}

/// Stops using the index until it is rebuilt.
fn give_up(shared: &Shared, error: &IndexError) {
    tracing::error!(
        directory = %shared.directory.display(), %error,
        "the index failed; it is rebuilt from the book, and searches look through the book until then"
    );
    close(shared);
    let mut state = shared.lock();
    state.lose();
    state.rebuild_not_before = Some(Instant::now() + shared.options.rebuild_rest);
    state.state = IndexState::Failed(error.to_string());
    shared.changed.notify_all();
}
