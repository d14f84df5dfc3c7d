//! Files with mistakes in them, each mistake said at the end of its line.
//!
//! In `tests/mistakes/*.toml`, a comment `#! message (remedy)` stands at the end of the line that a
//! mistake is found in, one for each mistake of the line, and nothing is expected elsewhere.
//! `UPDATE_MISTAKES=1` rewrites the comments, to be read before they are committed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MARK: &str = " #! ";

fn bad_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    paths
}

/// The text without the comments, and what they expect, by line.
fn split(text: &str) -> (String, BTreeMap<usize, Vec<String>>) {
    let mut plain = String::new();
    let mut expected = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let mut parts = line.split(MARK);
        plain.push_str(parts.next().unwrap_or_default());
        plain.push('\n');
        let messages: Vec<String> = parts.map(str::to_owned).collect();
        if !messages.is_empty() {
            expected.insert(index + 1, messages);
        }
    }
    (plain, expected)
}

fn found(text: &str) -> BTreeMap<usize, Vec<String>> {
    let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mistakes = vestibule_config::parse(text, "bad.toml").expect_err("the file has mistakes");
    assert_eq!(mistakes.omitted, 0);
    for mistake in mistakes.list {
        let prefix = format!("bad.toml:{}: ", mistake.line);
        let shown = mistake.to_string();
        let message = shown.strip_prefix(&prefix).expect("every mistake has its line");
        assert!(!message.contains('\n'), "{message:?} is not one line");
        assert!(mistake.column > 0);
        found.entry(mistake.line).or_default().push(message.to_owned());
    }
    found
}

fn with_comments(plain: &str, found: &BTreeMap<usize, Vec<String>>) -> String {
    let mut text = String::new();
    for (index, line) in plain.lines().enumerate() {
        text.push_str(line);
        for message in found.get(&(index + 1)).into_iter().flatten() {
            text.push_str(MARK);
            text.push_str(message);
        }
        text.push('\n');
    }
    text
}

#[test]
fn every_mistake_is_found_in_its_line_and_no_other() {
    let paths = bad_files();
    assert!(paths.len() >= 14, "only {} bad files were found", paths.len());
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let (plain, expected) = split(&text);
        let found = found(&plain);
        if std::env::var_os("UPDATE_MISTAKES").is_some() {
            std::fs::write(&path, with_comments(&plain, &found)).expect("the file can be written");
            continue;
        }
        assert_eq!(found, expected, "{}", path.display());
    }
}
