//! The file of kept counts, and the comparison with it.

use super::InstructionsError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// How far a count may be from the kept one, in percent of the kept one.
pub const TOLERANCE_PERCENT: u64 = 2;

/// What counts hold for: with another compiler or processor they say nothing about a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// As `rustc --version` says.
    pub rustc: String,
    /// The target triple.
    pub target: String,
}

impl Toolchain {
    /// The one that cargo uses in this folder.
    ///
    /// # Errors
    /// [`InstructionsError::Program`] if rustc does not say.
    pub fn here() -> Result<Self, InstructionsError> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(&rustc).arg("-vV").output().map_err(|error| {
            InstructionsError::Program { name: "rustc -vV".to_owned(), said: error.to_string() }
        })?;
        let said = String::from_utf8_lossy(&output.stdout);
        Self::parse(&said).ok_or_else(|| InstructionsError::Program {
            name: "rustc -vV".to_owned(),
            said: format!("no version and host in: {said}"),
        })
    }

    /// From what `rustc -vV` says.
    #[must_use]
    pub fn parse(said: &str) -> Option<Self> {
        let line = |start| said.lines().find_map(|line| line.strip_prefix(start));
        Some(Self { rustc: line("rustc ")?.to_owned(), target: line("host: ")?.to_owned() })
    }
}

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    rustc: String,
    target: String,
    /// By name of the operation.
    pub instructions: BTreeMap<String, u64>,
}

impl Kept {
    /// Reads the file.
    ///
    /// # Errors
    /// [`InstructionsError::File`] or [`InstructionsError::BadFile`].
    pub fn read(path: &Path) -> Result<Self, InstructionsError> {
        let text = fs::read_to_string(path).map_err(InstructionsError::file(path))?;
        Self::parse(&text).map_err(|mistake| InstructionsError::BadFile(path.to_owned(), mistake))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let kept: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        match kept.instructions.iter().find(|(_, count)| **count == 0) {
            Some((name, _)) => Err(format!("{name} = 0: nothing takes no instruction")),
            None => Ok(kept),
        }
    }

    /// # Errors
    /// [`InstructionsError::OtherToolchain`] if the counts hold for another one.
    pub fn holds_for(&self, here: &Toolchain) -> Result<(), InstructionsError> {
        let both =
            [("rustc", &self.rustc, &here.rustc), ("the target", &self.target, &here.target)];
        match both.into_iter().find(|(_, kept, here)| kept != here) {
            Some((what, kept, here)) => Err(InstructionsError::OtherToolchain {
                what,
                kept: kept.clone(),
                here: here.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// The file's text for these counts.
#[must_use]
pub fn text(toolchain: &Toolchain, counted: &[(&str, u64)]) -> String {
    let Toolchain { rustc, target } = toolchain;
    let mut text = format!(
        "# Instructions for each operation, release profile, counted by callgrind. A change that is off by more\n\
         # than {TOLERANCE_PERCENT} % has to update this file: make bench-instructions INSTRUCTIONS=--update\n\
         rustc = \"{rustc}\"\ntarget = \"{target}\"\n\n[instructions]\n"
    );
    for (name, count) in counted {
        let _ = writeln!(text, "{name} = {count}");
    }
    text
}

/// One operation, kept and counted now; at least one of them is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    name: String,
    old: Option<u64>,
    new: Option<u64>,
}

impl Row {
    /// Whether the file has to be updated for this one.
    #[must_use]
    pub fn is_off(&self) -> bool {
        let (Some(old), Some(new)) = (self.old, self.new) else { return true };
        new.abs_diff(old) * 100 > old * TOLERANCE_PERCENT
    }
}

/// Every operation that was counted, in that order, then those that only the file has.
#[must_use]
pub fn compare(kept: Option<&Kept>, counted: &[(&str, u64)]) -> Vec<Row> {
    let old = |name: &str| kept.and_then(|kept| kept.instructions.get(name).copied());
    let now = counted.iter().map(|&(name, new)| Row {
        name: name.to_owned(),
        old: old(name),
        new: Some(new),
    });
    let gone = kept.into_iter().flat_map(|kept| &kept.instructions);
    let gone = gone.filter(|(name, _)| counted.iter().all(|(counted, _)| counted != name));
    now.chain(gone.map(|(name, &old)| Row { name: name.clone(), old: Some(old), new: None }))
        .collect()
}

/// The rows for a reader, each with its difference in percent.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut table = format!("{:<18}{:>9}{:>9}{:>12}\n", "instructions", "old", "new", "difference");
    for row in rows {
        let number = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        let difference = match (row.old, row.new) {
            (Some(old), Some(new)) => {
                let hundredths =
                    (i128::from(new) - i128::from(old)) * 10_000 / i128::from(old.max(1));
                let sign = if hundredths < 0 { '-' } else { '+' };
                let size = hundredths.unsigned_abs();
                format!("{sign}{}.{:02} %", size / 100, size % 100)
            }
            (None, _) => "new".to_owned(),
            (_, None) => "gone".to_owned(),
        };
        let off = if row.is_off() { "  off" } else { "" };
        let (old, new) = (number(row.old), number(row.new));
        let _ = writeln!(table, "{:<18}{old:>9}{new:>9}{difference:>12}{off}", row.name);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Toolchain {
        let said =
            "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n";
        Toolchain::parse(said).unwrap()
    }

    fn kept(counted: &[(&str, u64)]) -> Kept {
        Kept::parse(&text(&here(), counted)).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let kept = kept(&[("step-discover", 2500), ("decode-discover", 900)]);
        assert_eq!(kept.instructions["step-discover"], 2500);
        assert_eq!(kept.instructions["decode-discover"], 900);
        assert_eq!(kept.instructions.len(), 2);
        assert!(kept.holds_for(&here()).is_ok());
    }

    #[test]
    fn a_version_of_rustc_is_needed() {
        assert_eq!(Toolchain::parse("host: x\n"), None);
        assert_eq!(Toolchain::parse("rustc 1\n"), None);
        assert_eq!(here().target, "x86_64-unknown-linux-gnu");
    }

    #[test]
    fn counts_hold_for_one_toolchain() {
        let kept = kept(&[("a", 1)]);
        let newer = Toolchain { rustc: "1.96.0".to_owned(), ..here() };
        let error = kept.holds_for(&newer).unwrap_err().to_string();
        assert!(
            error.contains("1.95.0 (5") && error.contains("1.96.0") && error.contains("--update")
        );
        let other = Toolchain { target: "aarch64-unknown-linux-gnu".to_owned(), ..here() };
        assert!(kept.holds_for(&other).is_err());
    }

    #[test]
    fn a_bad_file_is_refused() {
        let good = text(&here(), &[("a", 1)]);
        for bad in [
            "".to_owned(),
            good.replace("rustc", "compiler"),
            good.replace("a = 1", "a = -1"),
            good.replace("a = 1", "a = 0"),
            good.replace("a = 1", "a = \"1\""),
            good.replace("[instructions]", "seen = 1\n[instructions]"),
        ] {
            assert!(Kept::parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_percent_either_way_is_the_limit() {
        let kept = kept(&[("a", 1000)]);
        let off = |new| compare(Some(&kept), &[("a", new)])[0].is_off();
        assert!(!off(1000) && !off(1020) && !off(980));
        assert!(off(1021) && off(979));
    }

    #[test]
    fn a_new_operation_and_one_that_is_gone_are_off() {
        let kept = kept(&[("a", 100), ("gone", 5)]);
        let rows = compare(Some(&kept), &[("new", 7), ("a", 99)]);
        let names: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.is_off())).collect();
        assert_eq!(names, [("new", true), ("a", false), ("gone", true)]);
        let table = table(&rows);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines[1], "new                       -        7         new  off");
        assert_eq!(lines[2], "a                       100       99     -1.00 %");
        assert_eq!(lines[3], "gone                      5        -        gone  off");
        assert!(compare(None, &[("a", 1)])[0].is_off());
    }

    #[test]
    fn the_kept_file_names_every_operation() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instruction-counts.toml");
        let kept = Kept::read(&path).unwrap();
        let mut names = crate::instructions::work::OPERATIONS.map(|(name, _)| name);
        names.sort_unstable();
        assert!(kept.instructions.keys().eq(names.iter()), "{:?}", kept.instructions);
    }
}
