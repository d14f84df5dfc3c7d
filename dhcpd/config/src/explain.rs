//! What the server understood, in an operator's words: what `vestibule check FILE` prints.

use crate::checked::Vestibule;
use crate::warnings::warnings;

/// The whole configuration in words, warnings last. Ends with a line break.
#[must_use]
pub fn explain(vestibule: &Vestibule) -> String {
    let mut text = format!("server {}\n", vestibule.server.name);
    for warning in warnings(vestibule) {
        text.push_str(&format!("warning: {warning}\n"));
    }
    text
}
