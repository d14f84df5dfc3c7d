//! The example files of the documentation are files that the server takes.

use std::path::{Path, PathBuf};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples")
}

#[test]
fn every_example_is_taken() {
    for name in ["campus", "lan", "residence"] {
        let path = examples().join(name).with_extension("toml");
        if let Err(mistakes) = vestibule_config::load(&path) {
            panic!("{mistakes}");
        }
    }
}
