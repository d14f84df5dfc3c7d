//! Waiting for a condition with a deadline. It promises to look often, so that a test is as quick as
//! what it waits for, and to give up with a reason. Nothing here waits for a fixed time.

use super::LabError;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything in a lab may take before the test is a failure. Generous: it is met only when
/// something is broken, and machines that run tests are slow at times.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(4);

/// Looks until `probe` gives a value, [`DEADLINE`] at most.
///
/// # Errors
/// [`LabError::Deadline`] with `what` if it never did.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> Result<T, LabError> {
    until_ok(what, || probe().ok_or_else(String::new))
}

/// As [`until`], with a probe that tells what it saw instead; the last such word is in the error.
///
/// # Errors
/// [`LabError::Deadline`] with `what` and what was seen last.
pub fn until_ok<T>(
    what: &str,
    mut probe: impl FnMut() -> Result<T, String>,
) -> Result<T, LabError> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => {
                return Err(LabError::Deadline { what: what.to_owned(), seen });
            }
            Err(_) => thread::sleep(LOOK_INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_ends_the_wait() {
        let mut looks = 0;
        let value = until("three looks", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(value.unwrap(), 3);
    }
}
