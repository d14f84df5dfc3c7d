//! Values of options in ISC's notation become bytes.
//!
//! It promises that what it encodes is what dhcpd would send (`common/parse.c`, `parse_option_data`), but
//! for names in DNS encoding, which it does not compress. What would have to be computed for each
//! client, or asked of the DNS, it does not encode, and says so.

use super::syntax::Piece;
use std::net::Ipv4Addr;

/// Bytes of one option's contents.
const CONTENTS_BYTES_MAX: usize = 64 * 1024;

/// What an option's value is: letters as in ISC's own tables, one for each part of a record.
///
/// `I` an IPv4 address, `B` `S` `L` unsigned numbers of 8, 16 and 32 bits, `b` `s` `l` signed ones,
/// `f` a truth value, `t` a text, `X` a text or bytes, `d` a domain name, `D` domain names, `Z` nothing.
/// After them `A`: the record may stand several times; `a`: its last part may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format(Box<str>);

impl Format {
    pub(super) fn of(letters: &str) -> Self {
        Self(letters.into())
    }

    /// The format that `option NAME code N = …` defines, from what stands after the `=`.
    pub(super) fn defined(pieces: &[Piece]) -> Result<Self, String> {
        let mut words = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Word(word) => words.push(word.to_ascii_lowercase()),
                Piece::Mark(mark) if b"{},".contains(mark) => {
                    words.push(char::from(*mark).to_string());
                }
                _ => return Err("a type that is not understood".to_owned()),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (is_array, rest) = match words.as_slice() {
            ["array", "of", rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let parts: Vec<&[&str]> = match rest {
            ["{", inner @ .., "}"] => inner.split(|word| *word == ",").collect(),
            other => vec![other],
        };
        let mut letters = String::new();
        for (number, part) in parts.iter().enumerate() {
            let (is_last_array, part) = match part {
                ["array", "of", part @ ..] if number + 1 == parts.len() => (true, part),
                part => (false, *part),
            };
            letters.push(match part {
                ["boolean"] => 'f',
                ["integer" | "signed", "8"] | ["signed", "integer", "8"] => 'b',
                ["integer" | "signed", "16"] | ["signed", "integer", "16"] => 's',
                ["integer" | "signed", "32"] | ["signed", "integer", "32"] => 'l',
                ["unsigned", "integer", "8"] => 'B',
                ["unsigned", "integer", "16"] => 'S',
                ["unsigned", "integer", "32"] => 'L',
                ["ip-address"] => 'I',
                ["text"] => 't',
                ["string"] => 'X',
                ["domain-name"] => 'd',
                ["domain-list"] | ["domain-list", "compressed"] => 'D',
                ["zerolen"] => 'Z',
                other => return Err(format!("the type `{}` has no equal here", other.join(" "))),
            });
            if is_last_array {
                letters.push('a');
            }
        }
        if is_array {
            letters.push('A');
        }
        Ok(Self(letters.into()))
    }

    /// The bytes of a value.
    ///
    /// # Errors
    /// Why it has none, in words.
    pub(super) fn encode(&self, value: &[Piece]) -> Result<Vec<u8>, String> {
        let mut cursor = Cursor { rest: value };
        let mut bytes = Vec::new();
        if let [Piece::Mark(b'='), rest @ ..] = value {
            // An expression. A constant is one too.
            cursor.rest = rest;
            let constant = if self.0.starts_with('I') {
                cursor.record("I", &mut bytes)
            } else {
                cursor.record("X", &mut bytes)
            };
            return match constant {
                Ok(()) if cursor.rest.is_empty() => Ok(bytes),
                _ => Err("its value is computed for each client".to_owned()),
            };
        }
        let (letters, repeats) = match self.0.strip_suffix('A') {
            Some(letters) => (letters, true),
            None => (&*self.0, false),
        };
        loop {
            cursor.record(letters, &mut bytes)?;
            if bytes.len() > CONTENTS_BYTES_MAX {
                return Err(format!("more than {CONTENTS_BYTES_MAX} bytes"));
            }
            if !(repeats && cursor.skip(b',')) {
                break;
            }
        }
        if cursor.rest.is_empty() { Ok(bytes) } else { Err("more than its type has".to_owned()) }
    }
}

struct Cursor<'a> {
    rest: &'a [Piece],
}

impl<'a> Cursor<'a> {
    fn skip(&mut self, mark: u8) -> bool {
        match self.rest {
            [Piece::Mark(found), rest @ ..] if *found == mark => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn next(&mut self) -> Result<&'a Piece, String> {
        let (piece, rest) = self.rest.split_first().ok_or("less than its type has")?;
        self.rest = rest;
        Ok(piece)
    }

    fn word(&mut self) -> Result<&'a str, String> {
        match self.next()? {
            Piece::Word(word) => Ok(word),
            Piece::Text(_) => Err("a text where its type has none".to_owned()),
            Piece::Mark(mark) => Err(format!("a `{}` out of place", char::from(*mark))),
        }
    }

    fn record(&mut self, letters: &str, bytes: &mut Vec<u8>) -> Result<(), String> {
        let mut letters = letters.chars().peekable();
        while let Some(letter) = letters.next() {
            self.part(letter, bytes)?;
            if letters.peek() == Some(&'a') {
                letters.next();
                while self.skip(b',') {
                    self.part(letter, bytes)?;
                }
            }
        }
        Ok(())
    }

    fn part(&mut self, letter: char, bytes: &mut Vec<u8>) -> Result<(), String> {
        match letter {
            'I' => {
                let word = self.word()?;
                let address: Ipv4Addr = word.parse().map_err(|_| {
                    format!("`{word}` is no IPv4 address, and names are not looked up here")
                })?;
                bytes.extend(address.octets());
            }
            'B' => self.number(0, u8::MAX.into(), 1, bytes)?,
            'S' => self.number(0, u16::MAX.into(), 2, bytes)?,
            'L' => self.number(0, u32::MAX.into(), 4, bytes)?,
            'b' => self.number(i8::MIN.into(), u8::MAX.into(), 1, bytes)?,
            's' => self.number(i16::MIN.into(), u16::MAX.into(), 2, bytes)?,
            'l' => self.number(i32::MIN.into(), u32::MAX.into(), 4, bytes)?,
            'f' => {
                let word = self.word()?;
                bytes.push(match word.to_ascii_lowercase().as_str() {
                    "true" | "on" => 1,
                    "false" | "off" => 0,
                    _ => return Err(format!("`{word}` is neither true nor false")),
                });
            }
            't' => match self.next()? {
                Piece::Text(text) => bytes.extend(text),
                Piece::Word(word) => bytes.extend(word.as_bytes()),
                Piece::Mark(_) => return Err("a text is missing".to_owned()),
            },
            'X' => match self.next()? {
                Piece::Text(text) => bytes.extend(text),
                Piece::Word(word) => {
                    bytes.push(hexadecimal(word)?);
                    while self.skip(b':') {
                        bytes.push(hexadecimal(self.word()?)?);
                    }
                }
                Piece::Mark(_) => return Err("bytes are missing".to_owned()),
            },
            'd' => match self.next()? {
                Piece::Text(text) => labels(&String::from_utf8_lossy(text), bytes)?,
                Piece::Word(word) => labels(word, bytes)?,
                Piece::Mark(_) => return Err("a domain name is missing".to_owned()),
            },
            'D' => loop {
                let Piece::Text(text) = self.next()? else {
                    return Err("a domain name in quotes is missing".to_owned());
                };
                let text = String::from_utf8_lossy(text);
                let names = text.split([',', ' ', '\t']).filter(|name| !name.is_empty());
                let before = bytes.len();
                for name in names {
                    labels(name, bytes)?;
                }
                if bytes.len() == before {
                    return Err("an empty domain name".to_owned());
                }
                if !self.skip(b',') {
                    break;
                }
            },
            'Z' => {}
            other => return Err(format!("values of ISC's type {other} have no equal here")),
        }
        Ok(())
    }

    /// A number in decimal, with `0x` in hexadecimal, with `0` before it in octal, as dhcpd reads them.
    fn number(&mut self, min: i64, max: i64, size: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let word = self.word()?;
        let number = number(word).filter(|number| (min..=max).contains(number));
        let number = number.ok_or_else(|| format!("`{word}` is no number from {min} to {max}"))?;
        let bytes = number.to_be_bytes();
        out.extend(bytes.get(bytes.len() - size..).unwrap_or_default());
        Ok(())
    }
}

/// A number as dhcpd reads it.
pub(super) fn number(word: &str) -> Option<i64> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    // `from_str_radix` would take a second sign.
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

/// One byte of a list with colons: one or two hexadecimal digits.
pub(super) fn hexadecimal(word: &str) -> Result<u8, String> {
    let is_plain = (1..=2).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_hexdigit());
    let byte = u8::from_str_radix(word, 16).ok().filter(|_| is_plain);
    byte.ok_or_else(|| format!("`{word}` is no byte in hexadecimal"))
}

/// A domain name in DNS encoding (RFC 1035 section 3.1), without compression.
fn labels(name: &str, bytes: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || format!("`{name}` is no domain name");
    let name_without_dot = name.strip_suffix('.').unwrap_or(name);
    if name_without_dot.is_empty() || name_without_dot.len() > 253 {
        return Err(wrong());
    }
    for label in name_without_dot.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length));
        bytes.push(length.ok_or_else(wrong)?);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end by a panic")]
mod tests {
    use super::super::lexer::{Lexer, Texts, Token};
    use super::*;

    fn pieces(text: &str) -> Vec<Piece> {
        let mut lexer = Lexer::new(text.as_bytes(), Texts::OverLines);
        let mut found = Vec::new();
        loop {
            found.push(match lexer.next().unwrap() {
                Token::End => return found,
                Token::Word => Piece::Word(String::from_utf8_lossy(lexer.text()).into()),
                Token::Text => Piece::Text(lexer.text().into()),
                Token::Mark(mark) => Piece::Mark(mark),
            });
        }
    }

    #[test]
    fn values_become_the_bytes_that_dhcpd_sends() {
        for (format, value, bytes) in [
            ("IA", "10.0.0.1, 10.0.0.2", &[10, 0, 0, 1, 10, 0, 0, 2][..]),
            ("l", "-18000", &(-18000_i32).to_be_bytes()),
            ("S", "0x5dc", &[5, 220]),
            ("B", "010", &[8]),
            ("f", "ON", &[1]),
            ("t", "\"a b\"", b"a b"),
            ("X", "1:2:AB", &[1, 2, 0xab]),
            ("X", "\"PXE\"", b"PXE"),
            (
                "IIA",
                "10.0.0.0 10.0.0.1, 10.1.0.0 10.0.0.2",
                &[10, 0, 0, 0, 10, 0, 0, 1, 10, 1, 0, 0, 10, 0, 0, 2],
            ),
            ("fIa", "true 10.0.0.1, 10.0.0.2", &[1, 10, 0, 0, 1, 10, 0, 0, 2]),
            ("D", "\"a.b\", \"c\"", b"\x01a\x01b\x00\x01c\x00"),
            ("d", "lost.example.", b"\x04lost\x07example\x00"),
            ("t", "= \"plain\"", b"plain"),
            ("I", "= 10.0.0.1", &[10, 0, 0, 1]),
        ] {
            assert_eq!(Format::of(format).encode(&pieces(value)).unwrap(), bytes, "{value}");
        }
    }

    #[test]
    fn what_is_not_of_its_type_is_refused_in_words() {
        for (format, value, why) in [
            (
                "IA",
                "gw.example",
                "`gw.example` is no IPv4 address, and names are not looked up here",
            ),
            ("IA", "10.0.0.1,", "less than its type has"),
            ("I", "10.0.0.1, 10.0.0.2", "more than its type has"),
            ("B", "256", "`256` is no number from 0 to 255"),
            ("B", "+1", "a `+` out of place"),
            ("X", "abc", "`abc` is no byte in hexadecimal"),
            ("t", "= concat(\"a\", \"b\")", "its value is computed for each client"),
            ("D", "\"\"", "an empty domain name"),
            ("d", "a..b", "`a..b` is no domain name"),
        ] {
            assert_eq!(Format::of(format).encode(&pieces(value)).unwrap_err(), why, "{value}");
        }
    }

    #[test]
    fn definitions_become_formats() {
        for (text, format) in [
            ("text", "t"),
            ("array of ip-address", "IA"),
            ("unsigned integer 8", "B"),
            ("integer 32", "l"),
            ("signed integer 16", "s"),
            ("{ ip-address, integer 8, text }", "Ibt"),
            ("array of { ip-address, ip-address }", "IIA"),
            ("{ boolean, array of ip-address }", "fIa"),
            ("domain-list compressed", "D"),
        ] {
            assert_eq!(Format::defined(&pieces(text)).unwrap(), Format::of(format), "{text}");
        }
        let error = Format::defined(&pieces("encapsulate PXE")).unwrap_err();
        assert_eq!(error, "the type `encapsulate pxe` has no equal here");
    }
}
