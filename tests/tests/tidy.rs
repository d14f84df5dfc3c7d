//! What a reader relies on without thinking of it: paths in the documents exist, files say what they
//! are for, the core names nothing that is impure, licences are those of `deny.toml`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_owned()
}

/// Every file that git knows or would know, relative to the root.
fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        // Whoever runs this may not be whose clone it is.
        .args(["-c", "safe.directory=*"])
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("names of ours are UTF-8");
    let files: Vec<PathBuf> =
        names.lines().map(PathBuf::from).filter(|file| root().join(file).is_file()).collect();
    assert!(files.len() > 50, "only {} files", files.len());
    files
}

fn with_ending(ending: &str) -> Vec<(PathBuf, String)> {
    let files: Vec<_> = files()
        .into_iter()
        .filter(|file| file.extension().is_some_and(|found| found == ending))
        .map(|file| {
            let text = fs::read_to_string(root().join(&file)).expect("a text file of ours");
            (file, text)
        })
        .collect();
    assert!(!files.is_empty(), "no .{ending} files");
    files
}

/// The targets of Markdown links, without their anchors.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next())
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut checked = 0;
    for (file, text) in with_ending("md") {
        let folder = root().join(file.parent().expect("a file has a folder"));
        for link in links(&text) {
            if link.is_empty() || link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            assert!(folder.join(link).exists(), "{}: no {link}", file.display());
            checked += 1;
        }
    }
    assert!(checked > 15, "only {checked} links");
}

/// `file::test` in the last column of a table: that file has that test.
#[test]
fn every_test_that_a_document_names_exists() {
    let sources = with_ending("rs");
    let text = fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let mut checked = 0;
    for row in
        text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).skip(1)
    {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let named: Vec<&str> = tests.split(", ").collect();
        for name in named {
            let (file, test) = name
                .trim_matches('`')
                .split_once("::")
                .unwrap_or_else(|| panic!("no test in the row: {row}"));
            let is_there = sources.iter().any(|(path, text)| {
                // A target of several files has the folder's name.
                let is_main = path.ends_with(format!("{file}/main.rs"));
                (is_main || path.file_stem().is_some_and(|stem| stem == file))
                    && text.contains(&format!("#[test]\nfn {test}()"))
                        | text.contains(&format!("#[test]\n    fn {test}()"))
            });
            assert!(is_there, "no test {name}");
            checked += 1;
        }
    }
    assert!(checked > 25, "only {checked} tests");
}

#[test]
fn commands_in_the_readme_are_targets_of_the_makefile() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let mut checked = 0;
    for line in readme.lines().filter(|line| line.starts_with("make ")) {
        let target = line.split_whitespace().nth(1).expect("make what?");
        assert!(makefile.contains(&format!("\n{target}:")), "no target {target}");
        checked += 1;
    }
    assert!(checked >= 2);
}

#[test]
fn the_set_up_fetches_every_program_that_a_test_compares_with() {
    let set_up = fs::read_to_string(root().join("tests/setup.sh")).unwrap();
    let mut named = 0;
    for (path, text) in with_ending("rs") {
        for program in text.split("peer(\"usr/").skip(1).filter_map(|rest| rest.split('"').next()) {
            named += 1;
            assert!(
                set_up.contains(&format!(" usr/{program} ")),
                "{} wants usr/{program}, and tests/setup.sh does not fetch it",
                path.display()
            );
        }
    }
    assert!(named > 5, "only {named} calls found");
}

#[test]
fn the_readme_shows_the_steps_that_the_demo_plays() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let demo: String = with_ending("rs")
        .into_iter()
        .filter(|(file, _)| file.starts_with("tests/src/demo"))
        .map(|(_, text)| text)
        .collect();
    let shown: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix(|first: char| first.is_ascii_digit()))
        .filter_map(|line| line.strip_prefix(". "))
        .filter(|line| !line.starts_with("**"))
        .collect();
    assert_eq!(shown.len(), 6, "{shown:?}");
    for step in shown {
        assert!(demo.contains(step), "the demo has no step {step:?}");
    }
}

#[test]
fn every_source_file_opens_with_what_it_is_for() {
    for (file, text) in with_ending("rs") {
        assert!(text.starts_with("//!"), "{} does not open with //!", file.display());
    }
}

#[test]
fn rooms_are_small_enough_to_read_in_one_sitting() {
    for (file, text) in with_ending("rs") {
        let is_test = file.components().any(|part| part.as_os_str() == "tests")
            || file.file_name().is_some_and(|name| name == "tests.rs");
        if is_test && !file.starts_with("tests/src") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().count();
        assert!(lines <= 600, "{} has {lines} lines without its tests", file.display());
    }
}

#[test]
fn the_core_names_no_clock_no_thread_no_randomness_and_nothing_unordered() {
    const IMPURE: [&str; 9] = [
        "Instant",
        "SystemTime",
        "std::thread",
        "std::fs",
        "std::net::Udp",
        "tokio",
        "rand::",
        "HashMap",
        "HashSet",
    ];
    for (file, text) in with_ending("rs") {
        if !file.starts_with("dhcpd/core/src") {
            continue;
        }
        for word in IMPURE {
            assert!(!text.contains(word), "{} names {word}", file.display());
        }
    }
}

#[test]
fn only_the_files_that_talk_to_the_kernel_are_unsafe() {
    for (file, text) in with_ending("rs") {
        let dense: String = text.split_whitespace().collect();
        let allows = dense.contains("allow(unsafe_code");
        let uses = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe impl") || code.contains("unsafe fn")
        });
        if file.ends_with("tidy.rs") || file.starts_with("tests/fuzz") {
            continue;
        }
        assert_eq!(allows, uses, "{}: allowance and use of unsafe differ", file.display());
    }
}

#[test]
fn licences_of_all_dependencies_are_on_the_list() {
    let deny: toml::Table = fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap();
    let allowed: BTreeSet<&str> = deny["licenses"]["allow"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|licence| licence.as_str().expect("a name"))
        .collect();
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", &host()])
        .current_dir(root())
        .output()
        .expect("cargo is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 100);
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_allowed(licence, &allowed), "{name}: licence {licence:?} is not on the list");
    }
}

/// The platform that this toolchain builds for: what other platforms need is not fetched.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("rustc is there");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.expect("rustc names its host").to_owned()
}

/// Whether one of the alternatives of an SPDX expression consists of allowed licences only.
/// Parentheses are taken as grouping one list of alternatives or of parts, as all crates use them.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let has = |licence: &str| {
        let licence = licence.split(" WITH ").next().unwrap_or(licence).trim();
        allowed.contains(licence)
    };
    if expression.contains('(') {
        // A group: every part of the conjunction needs one allowed alternative.
        return plain.split(" AND ").all(|part| part.split(" OR ").any(has));
    }
    plain.split(" OR ").any(|alternative| alternative.split(" AND ").all(has))
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Unicode-3.0"]);
    assert!(is_allowed("MIT OR GPL-3.0", &allowed));
    assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed));
    assert!(is_allowed("Apache-2.0 WITH LLVM-exception OR GPL-2.0", &allowed));
    assert!(!is_allowed("(MIT OR Apache-2.0) AND GPL-2.0", &allowed));
    assert!(!is_allowed("GPL-3.0", &allowed));
    assert!(!is_allowed("", &allowed));
}
