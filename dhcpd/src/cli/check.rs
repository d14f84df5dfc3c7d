//! `vestibule check`: what a configuration file means, or every mistake in it.

use super::explain_client::{self, ExplainArguments};
use super::{Failure, show};
use crate::api;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// Reads the file as the server would, and explains what a client would get of it if one is named.
pub(super) fn check(
    file: &Path,
    wanted: &ExplainArguments,
    json: bool,
    out: &mut dyn Write,
    complaints: &mut dyn Write,
) -> Result<(), Failure> {
    match vestibule_config::load(file) {
        Ok(configuration) => {
            if let Some(client) = wanted.client() {
                return explain_client::explain(&configuration, client, wanted, json, out);
            }
            // Not a mistake in the file: whoever checks it may not be who runs the server.
            let of_partner = configuration.failover.as_ref().and_then(|failover| {
                failover.registrations.as_ref().and_then(|partner| partner.read_token().err())
            });
            let of_api = configuration.api.read_tokens().err().map(|(_, error)| error);
            let token_warning = of_api.or(of_partner).map(|error| {
                format!("vestibule-dhcpd would not start on this host as this user: {error}")
            });
            if json {
                let mut warnings = vestibule_config::warnings(&configuration);
                warnings.extend(token_warning);
                let answer = json!({ "valid": true, "warnings": warnings, "mistakes": [] });
                writeln!(out, "{}", api::json_text(&answer))?;
            } else {
                // Its warnings are in it, and so is text of the file, which may come from anywhere.
                for line in vestibule_config::explain(&configuration).lines() {
                    writeln!(out, "{}", show::shown(line))?;
                }
                out.flush()?;
                if let Some(warning) = token_warning {
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
