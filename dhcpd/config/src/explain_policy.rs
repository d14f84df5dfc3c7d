//! What [`explain`](crate::explain::explain) says of options for everybody, of classes of clients and of
//! profiles. Says nothing where there are none.

use crate::checked::Vestibule;
use crate::explain::counted;
use crate::explain_networks::options;
use crate::value::duration_in_words;
use std::fmt::{self, Write as _};

/// Everything that holds across networks.
pub(crate) fn policy(text: &mut String, vestibule: &Vestibule) -> fmt::Result {
    let (policy, names) = (&vestibule.core.policy, vestibule.option_definitions.as_slice());
    if !policy.options.is_empty() {
        writeln!(text, "\neverybody")?;
        options(text, names, &policy.options, "  ", None)?;
    }
    let lasts = |seconds: Option<u32>| match seconds {
        Some(seconds) => format!(", leases last {}", duration_in_words(seconds)),
        None => String::new(),
    };
    for class in &policy.classes {
        let asks = counted(class.conditions.len() as u64, "condition", "conditions");
        let any = match class.any.len() as u64 {
            0 => String::new(),
            count => format!(" and one of {}", counted(count, "alternative", "alternatives")),
        };
        writeln!(text, "\nclass {}: {asks}{any}{}", class.name, lasts(class.lifetime_seconds))?;
        options(text, names, &class.options, "  ", None)?;
    }
    for profile in &policy.profiles {
        writeln!(text, "\nprofile {}{}", profile.name, lasts(profile.lifetime_seconds))?;
        options(text, names, &profile.options, "  ", None)?;
    }
    Ok(())
}
