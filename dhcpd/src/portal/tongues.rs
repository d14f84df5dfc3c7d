//! Which language a visitor reads: what they chose, else what their browser says (RFC 9110 section
//! 12.5.4), else the site's first.

use vestibule_config::Language;

/// Entries of `Accept-Language` that are looked at.
const ENTRIES_MAX: usize = 32;

/// The language for a visitor.
///
/// `chosen`: what the page's own switch put into the address. `accepted`: the header. `known`: the
/// site's, the first one for everybody else; not empty.
pub(super) fn choose(
    chosen: Option<&str>,
    accepted: Option<&str>,
    known: &[Language],
) -> Option<Language> {
    let by_tag = |tag: &str| known.iter().copied().find(|language| language.tag() == tag);
    chosen
        .and_then(by_tag)
        .or_else(|| accepted.and_then(|header| preferred(header, by_tag)))
        .or_else(|| known.first().copied())
}

/// The language of the highest quality, and of those the one that stands first.
fn preferred(header: &str, by_tag: impl Fn(&str) -> Option<Language>) -> Option<Language> {
    let mut best: Option<(u16, Language)> = None;
    for entry in header.split(',').take(ENTRIES_MAX) {
        let mut parts = entry.split(';');
        let tag = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        // A region or a script is no other language here: de-CH reads the German page.
        let Some(language) = tag.split('-').next().and_then(&by_tag) else { continue };
        let quality =
            parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(1000, thousandths);
        if quality > 0 && best.is_none_or(|(before, _)| quality > before) {
            best = Some((quality, language));
        }
    }
    best.map(|(_, language)| language)
}

/// A quality between 0 and 1 in thousandths; what is none counts as 0.
fn thousandths(text: &str) -> u16 {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    match whole {
        "1" => 1000,
        "0" if fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{fraction:0<3}").parse().unwrap_or(0)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Language::{Arabic, Chinese, English, French, German};

    #[test]
    fn a_visitor_is_spoken_to_in_the_language_they_read_best() {
        for (chosen, accepted, expected) in [
            (None, None, English),
            (None, Some("de-CH, de;q=0.9, en;q=0.8"), German),
            (None, Some("en;q=0.5,fr;q=0.7"), French),
            (None, Some("zh-Hant-TW"), Chinese),
            (None, Some("AR"), Arabic),
            (None, Some("it, nl"), English),
            (None, Some("fr;q=0, de;q=0.001"), German),
            (None, Some("fr;q=2, de;q=x, ar;q=0.1"), Arabic),
            (None, Some(",,;;q=,-"), English),
            (Some("fr"), Some("de"), French),
            (Some("xx"), Some("de"), German),
            (Some("../en"), None, English),
        ] {
            assert_eq!(
                choose(chosen, accepted, &Language::ALL),
                Some(expected),
                "{chosen:?} {accepted:?}"
            );
        }
        assert_eq!(choose(Some("de"), Some("de"), &[French, English]), Some(French));
    }

    #[test]
    fn a_header_without_end_costs_little() {
        let long = "xx,".repeat(100_000) + "de";
        assert_eq!(choose(None, Some(&long), &Language::ALL), Some(English));
    }
}
