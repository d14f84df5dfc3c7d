//! `vestibule check`: what a configuration file means, or every mistake in it.

use super::{Failure, show};
use crate::api;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// Reads the file as the server would.
pub(super) fn check(
    file: &Path,
    json: bool,
    out: &mut dyn Write,
    complaints: &mut dyn Write,
) -> Result<(), Failure> {
    match vestibule_config::load(file) {
        Ok(configuration) => {
            let mut warnings = vestibule_config::warnings(&configuration);
            // Not a mistake in the file: whoever checks it may not be who runs the server.
            if let Err(error) = configuration.api.read_token() {
                warnings.push(format!("a server that this user starts here would refuse: {error}"));
            }
            if json {
                let answer = json!({ "valid": true, "warnings": warnings, "mistakes": [] });
                writeln!(out, "{}", api::json_text(&answer))?;
            } else {
                // Of several lines, and the file is the operator's own.
                write!(out, "{}", vestibule_config::explain(&configuration))?;
                out.flush()?;
                for warning in warnings {
                    writeln!(complaints, "warning: {}", show::shown(&warning))?;
                }
            }
            Ok(())
        }
        Err(mistakes) => {
            if json {
                let list: Vec<_> = mistakes
                    .list
                    .iter()
                    .map(|mistake| {
                        json!({
                            "file": mistake.file,
                            "line": mistake.line,
                            "column": mistake.column,
                            "key": mistake.key,
                            "message": mistake.message,
                            "remedy": mistake.remedy,
                        })
                    })
                    .collect();
                let answer = json!({ "valid": false, "warnings": [], "mistakes": list, "omitted": mistakes.omitted });
                writeln!(out, "{}", api::json_text(&answer))?;
            } else {
                for mistake in &mistakes.list {
                    writeln!(complaints, "{}", show::shown(&mistake.to_string()))?;
                }
            }
            let count = mistakes.list.len() + mistakes.omitted;
            let noun = if count == 1 { "mistake" } else { "mistakes" };
            Err(Failure::Refused(format!("{count} {noun} in {}", file.display())))
        }
    }
}
