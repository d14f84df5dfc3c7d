//! What is legal but dubious in a configuration, for the operator to think about.

use crate::checked::Vestibule;

/// What an operator should think about, one sentence each.
#[must_use]
pub fn warnings(vestibule: &Vestibule) -> Vec<String> {
    let mut warnings = Vec::new();
    let core = &vestibule.core;
    if core.lifetime_unregistered_seconds > core.lifetime_seconds {
        warnings.push("unregistered hosts keep their lease longer than registered ones".to_owned());
    }
    warnings
}
