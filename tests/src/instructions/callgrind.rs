//! Runs a program under callgrind, and reads the count from what that says.
//!
//! Only instructions below [`super::work::counted_by_callgrind`] count, so preparation and start are
//! not in the figure. Nothing is written to a file.

use super::InstructionsError;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// How many instructions `program` spends in what is counted.
///
/// # Errors
/// [`InstructionsError::NoValgrind`], or [`InstructionsError::Program`] if it failed or counted nothing.
pub fn count(program: &Path, arguments: &[&str]) -> Result<u64, InstructionsError> {
    let (Some(folder), Some(name)) = (program.parent(), program.file_name()) else {
        let error = io::Error::from(io::ErrorKind::InvalidFilename);
        return Err(InstructionsError::File(program.to_owned(), error));
    };
    // The length of its path is part of what it allocates, and shifts what later allocations cost by
    // up to 2 %: so the path is the same in every clone.
    let program = Path::new(".").join(name);
    let output = Command::new("valgrind")
        .current_dir(folder)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        // Names in the program are mangled; the pattern holds for either way of mangling.
        .arg("--toggle-collect=*counted_by_callgrind*")
        .arg(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => InstructionsError::NoValgrind,
            _ => InstructionsError::File("valgrind".into(), error),
        })?;
    let said = String::from_utf8_lossy(&output.stderr);
    match collected(&said) {
        Some(instructions) if output.status.success() && instructions > 0 => Ok(instructions),
        _ => Err(InstructionsError::Program {
            name: format!("valgrind {} {}", program.display(), arguments.join(" ")),
            said: format!("{}, nothing counted: {said}", output.status),
        }),
    }
}

/// The count in what callgrind says at its end, such as `==71== Collected : 1234567`.
#[must_use]
pub fn collected(said: &str) -> Option<u64> {
    let mut counts = said.lines().filter_map(|line| {
        let line = line.strip_prefix("==")?.split_once("== ")?.1;
        let counts = line.strip_prefix("Collected")?.trim_start().strip_prefix(':')?;
        counts.split_whitespace().next()?.parse().ok()
    });
    // A program that forks says it twice, and then neither is the answer.
    counts.next().filter(|_| counts.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::collected;

    const SAID: &str = "\
==2310== Callgrind, a call-graph generating cache profiler
==2310== For interactive control, run 'callgrind_control -h'.
==2310== 
==2310== Events    : Ir
==2310== Collected : 1234567
==2310== 
==2310== I   refs:      1,234,567
";

    #[test]
    fn the_count_is_what_was_collected() {
        assert_eq!(collected(SAID), Some(1_234_567));
        assert_eq!(collected("==1== Collected : 20 3 4\n"), Some(20), "the first event is Ir");
        assert_eq!(collected("==1== Collected : 0\n"), Some(0));
    }

    #[test]
    fn what_is_no_count_is_none() {
        assert_eq!(collected(""), None);
        assert_eq!(collected("Collected : 5\n"), None, "the program's own line");
        assert_eq!(collected("==1== Collected :\n"), None);
        assert_eq!(collected("==1== Collected : many\n"), None);
        assert_eq!(collected(&format!("{SAID}{SAID}")), None);
    }
}
