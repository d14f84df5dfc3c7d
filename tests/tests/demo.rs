//! The demo itself: it ends well, and an interrupted one leaves nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use vestibule_tests::lab::{program, until_ok};

#[test]
fn every_step_is_as_expected() {
    let output = Command::new(program("vestibule-demo").unwrap()).output().unwrap();
    let story = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{story}{}", String::from_utf8_lossy(&output.stderr));
    for step in 1..=6 {
        assert!(story.contains(&format!("\n{step}. ")), "step {step} is missing: {story}");
    }
    assert!(!story.contains('\x1b'), "colours are for terminals");
}

#[test]
fn a_killed_demo_leaves_no_process() {
    interrupted_by("KILL");
}

#[test]
fn a_terminated_demo_leaves_no_process() {
    interrupted_by("TERM");
}

#[test]
fn a_demo_interrupted_from_the_keyboard_leaves_no_process() {
    interrupted_by("INT");
}

fn interrupted_by(signal: &str) {
    // A job in the background of a script, as continuous integration often is, ignores SIGINT, and its
    // children inherit that; at a keyboard nobody does.
    let mut demo = Command::new("env")
        .arg("--default-signal=INT,TERM")
        .arg(program("vestibule-demo").unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // By now all the campus stands, and servers, relay and client run.
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let reached = lines.by_ref().any(|line| line.unwrap().starts_with("2. "));
    assert!(reached, "the demo ended before its second step: {:?}", demo.wait());
    let started = descendants(&demo);
    assert!(started.len() > 10, "{started:?}");
    let id = demo.id().to_string();
    assert!(
        Command::new("sh")
            .args(["-c", r#"kill -s "$1" "$2""#, "kill", signal, &id])
            .status()
            .unwrap()
            .success()
    );
    assert!(!demo.wait().unwrap().success());
    until_ok("every process of the demo ends", || {
        let now = processes();
        let left: Vec<_> = started
            .iter()
            .filter(|process| now.iter().any(|(known, _)| known == *process))
            .collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .unwrap();
}

/// A process: its id, and when it started, so that an id that is used again is not taken for it.
type Process = (u32, String);

/// Every process that descends from the demo.
fn descendants(demo: &Child) -> BTreeSet<Process> {
    let all = processes();
    let mut parents = BTreeSet::from([demo.id()]);
    let mut found = BTreeSet::new();
    loop {
        let before = found.len();
        for (process, parent) in &all {
            if parents.contains(parent) {
                parents.insert(process.0);
                found.insert(process.clone());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// Every process of this machine that is not a zombie, with its parent.
fn processes() -> Vec<(Process, u32)> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let Ok(id) = entry.unwrap().file_name().to_string_lossy().parse::<u32>() else { continue };
        // A process that ends while we look is not there any more.
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        // What follows the name, which may hold anything, closing brackets too.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        if fields[0] != "Z" {
            all.push(((id, fields[19].to_owned()), fields[1].parse().unwrap()));
        }
    }
    all
}
