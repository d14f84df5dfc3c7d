//! Makes texts of others harmless: names of relays, error texts, labels, scenario files.
//!
//! Such a text may have come over the network or out of a file that somebody sent. It promises that
//! what leaves here is short, has no character that a terminal or a browser obeys, and reads in the
//! order in which it is stored: such characters are written as `\u{202e}`, never left out, so that
//! the reader sees that they were there.

/// Characters that are shown of a text that should be one line.
pub(crate) const LINE_CHARACTERS_MAX: usize = 600;
/// Characters that are shown of a scenario's TOML.
pub(crate) const BLOCK_CHARACTERS_MAX: usize = 20_000;

/// A text as one line for a terminal.
pub(crate) fn line(text: &str) -> String {
    shown(text, LINE_CHARACTERS_MAX, false)
}

/// A text as one line in the content or an attribute of HTML.
pub(crate) fn html(text: &str) -> String {
    markup(&line(text))
}

/// A text whose line breaks mean something, in the content of HTML.
pub(crate) fn html_block(text: &str) -> String {
    markup(&shown(text, BLOCK_CHARACTERS_MAX, true))
}

fn shown(text: &str, characters_max: usize, keeps_lines: bool) -> String {
    let mut shown = String::with_capacity(text.len().min(characters_max));
    for (number, character) in text.chars().enumerate() {
        if number == characters_max {
            shown.push('…');
            break;
        }
        match character {
            '\n' if keeps_lines => shown.push('\n'),
            '\t' | '\n' => shown.push(' '),
            _ if is_obeyed(character) => shown.extend(character.escape_unicode()),
            _ => shown.push(character),
        }
    }
    shown
}

/// Whether a character does something instead of being seen: controls, marks and overrides of the
/// direction, invisible ones, and those that XML forbids.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{e0000}'..='\u{e0fff}')
}

fn markup(text: &str) -> String {
    let mut markup = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => markup.push_str("&amp;"),
            '<' => markup.push_str("&lt;"),
            '>' => markup.push_str("&gt;"),
            '"' => markup.push_str("&quot;"),
            '\'' => markup.push_str("&#39;"),
            _ => markup.push(character),
        }
    }
    markup
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_or_a_browser_obeys_is_written_out() {
        for (text, on_terminal, in_html) in [
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("x\u{9b}31m", "x\\u{9b}31m", "x\\u{9b}31m"),
            ("ab\u{202e}cd", "ab\\u{202e}cd", "ab\\u{202e}cd"),
            ("\u{200f}\u{2067}", "\\u{200f}\\u{2067}", "\\u{200f}\\u{2067}"),
            ("one\ntwo\r", "one two\\u{d}", "one two\\u{d}"),
            ("<script>'\"&", "<script>'\"&", "&lt;script&gt;&#39;&quot;&amp;"),
            ("Universität 東京", "Universität 東京", "Universität 東京"),
        ] {
            assert_eq!(line(text), on_terminal);
            assert_eq!(html(text), in_html);
        }
        assert_eq!(html_block("a = 1\nb = '<'\u{7}"), "a = 1\nb = &#39;&lt;&#39;\\u{7}");
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let cut = line(&"é".repeat(LINE_CHARACTERS_MAX + 1));
        assert_eq!(cut.chars().count(), LINE_CHARACTERS_MAX + 1);
        assert!(cut.ends_with('…'));
        assert_eq!(line(&"é".repeat(LINE_CHARACTERS_MAX)), "é".repeat(LINE_CHARACTERS_MAX));
    }
}
