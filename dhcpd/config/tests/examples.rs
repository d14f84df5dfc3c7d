//! The example files of the documentation are files that the server takes.

use std::path::{Path, PathBuf};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples")
}

#[test]
fn every_example_is_taken() {
    for name in ["campus", "lan", "pools", "residence", "two-sites"] {
        let path = examples().join(name).with_extension("toml");
        if let Err(mistakes) = vestibule_config::load(&path) {
            panic!("{mistakes}");
        }
    }
}

/// What a campus of two sites needs: classes, boot servers, reservations and a gate.
#[test]
fn two_sites_fit_in_eighty_lines() {
    let text = std::fs::read_to_string(examples().join("two-sites.toml")).expect("it is there");
    assert!(text.lines().count() <= 80, "{} lines", text.lines().count());
}

/// Prints what is understood of each example; `UPDATE_EXPLAINED=1` writes it into the expected files
/// instead, to be read before it is committed.
#[test]
fn every_example_is_understood_as_it_is_meant() {
    for name in ["campus", "lan", "pools", "residence", "two-sites"] {
        let vestibule = match vestibule_config::load(&examples().join(name).with_extension("toml"))
        {
            Ok(vestibule) => vestibule,
            Err(mistakes) => panic!("{mistakes}"),
        };
        let explained = vestibule_config::explain(&vestibule);
        let expected_path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/explained")
            .join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_EXPLAINED").is_some() {
            std::fs::write(&expected_path, &explained).expect("the folder is there");
        }
        let expected = std::fs::read_to_string(&expected_path).expect("the file is there");
        assert_eq!(explained, expected, "{name}: run with UPDATE_EXPLAINED=1 if this is meant");
    }
}
