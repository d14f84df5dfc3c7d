//! The program `vestibule` itself: that it is the tool, and hands its exit status to the shell.

use std::process::{Command, Stdio};

fn vestibule() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.stdin(Stdio::null());
    command
}

#[test]
fn the_program_ends_with_the_tools_exit_status() {
    let version = vestibule().arg("--version").output().unwrap();
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        format!("vestibule {}\n", env!("CARGO_PKG_VERSION"))
    );
    let usage = vestibule().arg("frobnicate").output().unwrap();
    assert_eq!((usage.status.code(), usage.stdout.len()), (Some(2), 0));
    let refused = vestibule().args(["check", "/nonexistent/vestibule.toml"]).output().unwrap();
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    assert!(!refused.stderr.is_empty());
}

#[test]
fn a_closed_output_is_no_crash() {
    let mut child = vestibule().arg("--help").stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
