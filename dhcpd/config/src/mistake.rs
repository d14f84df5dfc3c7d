//! What is wrong with a file, and where: one [`Mistake`] for each thing to put right.
//!
//! It promises that a mistake prints on one line, whatever the file held, and that the list has a
//! named limit. It never prints the contents of another file than `vestibule.toml`.

use crate::limits::QUOTED_CHARACTERS_MAX;
use std::fmt;

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was named by whoever asked.
    pub file: String,
    /// The line, from 1; 0 if the mistake is not about a line (the file cannot be read).
    pub line: usize,
    /// The column in characters, from 1; 0 if `line` is 0.
    pub column: usize,
    /// The key it is about, as in `network[2].subnet[1].pools`, counted from 1; may be empty.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// `FILE:LINE: message (remedy)`, on one line.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Mistake {}

/// Everything that is wrong in a file, by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    /// The mistakes, sorted by line and column; at least one, at most
    /// [`MISTAKES_MAX`](crate::limits::MISTAKES_MAX).
    pub list: Vec<Mistake>,
    /// How many more there were than the list holds.
    pub omitted: usize,
}

/// One line for each mistake; no line break at the end.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more mistakes", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl Mistakes {
    /// Sorts what was found; `omitted` is how many more there were.
    pub(crate) fn new(mut found: Vec<Mistake>, omitted: usize) -> Self {
        found.sort_by(|a, b| (a.line, a.column, &a.message).cmp(&(b.line, b.column, &b.message)));
        Self { list: found, omitted }
    }

    /// A single mistake that is not about a line.
    pub(crate) fn of_file(file: &str, message: String, remedy: Option<String>) -> Self {
        let (file, key) = (file.to_owned(), String::new());
        Self::new(vec![Mistake { file, line: 0, column: 0, key, message, remedy }], 0)
    }
}

/// What is wrong with a single value, before anybody knows where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) remedy: Option<String>,
}

impl Complaint {
    /// A complaint with a remedy.
    pub(crate) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: Some(remedy.into()) }
    }

    /// A complaint whose message says all.
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: None }
    }
}

/// Text of the file between backquotes, on one line and not too long.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars().take(QUOTED_CHARACTERS_MAX) {
        match character {
            '"' | '\'' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    if text.chars().nth(QUOTED_CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Where each line of a text begins.
#[derive(Debug)]
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    /// The lines of `text`.
    pub(crate) fn new(text: &'t str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(breaks.map(|(offset, _)| offset + 1)).collect();
        Self { text, starts }
    }

    /// The line, from 1, of the byte at `offset`; the last line if it lies beyond.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// Line and column, both from 1, of the byte at `offset`; of the end if it lies beyond.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.line(offset);
        let start = line.checked_sub(1).and_then(|index| self.starts.get(index)).copied();
        let before = self.text.get(start.unwrap_or(0)..offset).unwrap_or("");
        (line, before.chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_one_and_in_characters() {
        let lines = Lines::new("äb\nc\r\n\nd");
        assert_eq!(lines.position(0), (1, 1));
        assert_eq!(lines.position(2), (1, 2));
        assert_eq!(lines.position(4), (2, 1));
        assert_eq!(lines.position(7), (3, 1));
        assert_eq!(lines.position(8), (4, 1));
        assert_eq!(lines.position(999), (4, 2));
        assert_eq!(Lines::new("").position(5), (1, 1));
    }

    #[test]
    fn quoted_text_stays_on_one_line_and_is_cut() {
        assert_eq!(quoted("a\nb\"c"), "`a\\nb\"c`");
        let long = "x".repeat(QUOTED_CHARACTERS_MAX + 1);
        assert_eq!(quoted(&long).chars().count(), QUOTED_CHARACTERS_MAX + 3);
    }

    #[test]
    fn mistakes_are_sorted_and_those_left_out_are_counted() {
        let mistake = |line: usize| Mistake {
            file: "f".into(),
            line,
            column: 1,
            key: String::new(),
            message: "wrong".into(),
            remedy: (line == 1).then(|| "mend it".into()),
        };
        let mistakes = Mistakes::new(vec![mistake(2), mistake(1)], 3);
        assert_eq!(mistakes.to_string(), "f:1: wrong (mend it)\nf:2: wrong\nand 3 more mistakes");
        assert_eq!(Mistakes::of_file("f", "gone".into(), None).to_string(), "f: gone");
    }
}
