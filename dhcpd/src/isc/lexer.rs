//! Words, texts and marks of ISC dhcpd's files, each with its line.
//!
//! `dhcpd.conf` and `dhcpd.leases` have one lexical grammar (`common/conflex.c`): words, texts in double
//! quotes with escapes, marks of one byte, comments from `#` to the end of the line. A text in a lease
//! file never goes over a line's end, because dhcpd writes every byte that cannot be printed as an escape;
//! one in a configuration may.
//!
//! It reads any input piece by piece, keeps no more of it than one token, never panics, and takes no
//! byte on trust. What cannot be read is an error with its line; [`Lexer::skip_block`] goes on behind it.

use std::io::{self, Read};

/// Bytes of one word or text. dhcpd's own limit is 1500.
pub(super) const TOKEN_BYTES_MAX: usize = 4096;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// What the lexer has come to. The bytes of a word or a text are [`Lexer::text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Letters, digits, `-`, `_`, `.` and bytes beyond ASCII: a keyword, a number, an address, a name.
    Word,
    /// What stood between quotes, its escapes resolved.
    Text,
    /// Any other byte that is no white space, as `{` and `;`.
    Mark(u8),
    /// The input has ended.
    End,
}

/// Why there is no further token.
#[derive(Debug)]
pub(super) enum LexError {
    /// Whatever is read cannot be read.
    Input(io::Error),
    /// The input is not as dhcpd reads it: what is wrong.
    Malformed(&'static str),
}

/// Whether a text may go over a line's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Texts {
    /// As in a configuration.
    OverLines,
    /// As in a lease file: a text that does is torn.
    InOneLine,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lexer<R> {
    input: R,
    texts: Texts,
    chunk: Vec<u8>,
    at: usize,
    bytes_read: u64,
    /// The line of the byte that comes next.
    line_now: u32,
    token_line: u32,
    /// Whether the byte that comes next, and the last one that came, are the first of their lines.
    begins_line: bool,
    began_line: bool,
    /// Whether the last token was a word at the beginning of a line.
    is_outermost: bool,
    text: Vec<u8>,
    /// A token that was put back.
    again: Option<Token>,
}

impl<R: Read> Lexer<R> {
    pub(super) fn new(input: R, texts: Texts) -> Self {
        Self {
            input,
            texts,
            chunk: Vec::new(),
            at: 0,
            bytes_read: 0,
            line_now: 1,
            token_line: 1,
            begins_line: true,
            began_line: false,
            is_outermost: false,
            text: Vec::new(),
            again: None,
        }
    }

    /// The bytes of the word or text that came last.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The line in which the last token began, counted from 1.
    pub(super) const fn line(&self) -> u32 {
        self.token_line
    }

    /// Bytes of the input so far.
    pub(super) const fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Has the last token come once more.
    pub(super) fn put_back(&mut self, token: Token) {
        self.again = Some(token);
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token, LexError> {
        if let Some(token) = self.again.take() {
            return Ok(token);
        }
        self.is_outermost = false;
        loop {
            let Some(byte) = self.take()? else {
                self.token_line = self.line_now;
                return Ok(Token::End);
            };
            match byte {
                b'\n' | b' ' | b'\t' | b'\r' | 0x0b | 0x0c => {}
                b'#' => self.skip_line()?,
                b'"' => return self.quoted(),
                byte if is_of_word(byte) => return self.word(byte),
                byte => {
                    self.token_line = self.line_now;
                    return Ok(Token::Mark(byte));
                }
            }
        }
    }

    /// After an error, goes on behind the declaration that it is in: behind the next line that begins
    /// with a brace, or before the next one that begins with a letter, which may be where the error was
    /// seen. That is how dhcpd writes lease files.
    pub(super) fn skip_block(&mut self) -> Result<(), LexError> {
        self.again = None;
        if self.is_outermost {
            self.again = Some(Token::Word);
            return Ok(());
        }
        loop {
            self.skip_line()?;
            match self.peek()? {
                Some(b'}') => return self.skip_line(),
                Some(byte) if byte.is_ascii_alphabetic() => return Ok(()),
                None => return Ok(()),
                Some(_) => {}
            }
        }
    }

    fn word(&mut self, first: u8) -> Result<Token, LexError> {
        self.token_line = self.line_now;
        self.is_outermost = self.began_line;
        self.text.clear();
        self.text.push(first);
        loop {
            let rest = self.rest()?;
            let length = rest.iter().position(|byte| !is_of_word(*byte)).unwrap_or(rest.len());
            let ended = length < rest.len() || rest.is_empty();
            if self.text.len() + length > TOKEN_BYTES_MAX {
                return Err(LexError::Malformed("a word of more than 4096 bytes"));
            }
            self.text.extend_from_slice(self.chunk.get(self.at..self.at + length).unwrap_or(&[]));
            self.at += length;
            if ended {
                return Ok(Token::Word);
            }
        }
    }

    fn quoted(&mut self) -> Result<Token, LexError> {
        self.token_line = self.line_now;
        self.text.clear();
        loop {
            self.refuse_line_end()?;
            let byte = self.take()?.ok_or(LexError::Malformed(TORN))?;
            let byte = match byte {
                b'"' => return Ok(Token::Text),
                b'\\' => self.escape()?,
                byte => byte,
            };
            if self.text.len() == TOKEN_BYTES_MAX {
                return Err(LexError::Malformed("a text of more than 4096 bytes"));
            }
            self.text.push(byte);
        }
    }

    /// `\t`, `\r`, `\n`, `\b`, three octal digits, `x` and two hexadecimal ones, or the byte itself.
    fn escape(&mut self) -> Result<u8, LexError> {
        self.refuse_line_end()?;
        let byte = self.take()?.ok_or(LexError::Malformed(TORN))?;
        Ok(match byte {
            b't' => b'\t',
            b'r' => b'\r',
            b'n' => b'\n',
            b'b' => 0x08,
            b'0'..=b'3' => {
                let digits = [byte, self.digit(b'7')?, self.digit(b'7')?];
                digits.iter().fold(0, |sum: u8, digit| sum.wrapping_mul(8) | (digit - b'0'))
            }
            b'x' => {
                let digits = [self.hexadecimal()?, self.hexadecimal()?];
                digits.iter().fold(0, |sum: u8, digit| (sum << 4) | digit)
            }
            byte => byte,
        })
    }

    /// Within a text. What is torn is left where it is: the next line may be whole.
    fn refuse_line_end(&mut self) -> Result<(), LexError> {
        match self.peek()? {
            Some(b'\n') if self.texts == Texts::InOneLine => Err(LexError::Malformed(TORN)),
            _ => Ok(()),
        }
    }

    fn digit(&mut self, highest: u8) -> Result<u8, LexError> {
        match self.peek()? {
            Some(byte) if (b'0'..=highest).contains(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            _ => Err(LexError::Malformed("an escape that is not of three octal digits")),
        }
    }

    fn hexadecimal(&mut self) -> Result<u8, LexError> {
        let digit = self.peek()?.and_then(|byte| char::from(byte).to_digit(16));
        let digit = digit.and_then(|digit| u8::try_from(digit).ok());
        self.at += usize::from(digit.is_some());
        digit.ok_or(LexError::Malformed("an escape that is not of two hexadecimal digits"))
    }

    fn skip_line(&mut self) -> Result<(), LexError> {
        loop {
            let rest = self.rest()?;
            if rest.is_empty() {
                return Ok(());
            }
            if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                self.at += length + 1;
                self.line_now = self.line_now.saturating_add(1);
                self.begins_line = true;
                return Ok(());
            }
            self.at = self.chunk.len();
        }
    }

    fn take(&mut self) -> Result<Option<u8>, LexError> {
        let byte = self.peek()?;
        self.at += usize::from(byte.is_some());
        self.began_line = std::mem::replace(&mut self.begins_line, byte == Some(b'\n'));
        if byte == Some(b'\n') {
            self.line_now = self.line_now.saturating_add(1);
        }
        Ok(byte)
    }

    fn peek(&mut self) -> Result<Option<u8>, LexError> {
        Ok(self.rest()?.first().copied())
    }

    /// Bytes that come next; none only at the end of the input.
    fn rest(&mut self) -> Result<&[u8], LexError> {
        if self.at == self.chunk.len() {
            self.chunk.resize(CHUNK_BYTES, 0);
            let read = loop {
                match self.input.read(&mut self.chunk) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result,
                }
            };
            let length = *read.as_ref().unwrap_or(&0);
            self.chunk.truncate(length);
            self.at = 0;
            self.bytes_read += length as u64;
            read.map_err(LexError::Input)?;
        }
        Ok(self.chunk.get(self.at..).unwrap_or(&[]))
    }
}

const TORN: &str = "a text without its closing quote";

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | 0x80..)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end by a panic")]
mod tests {
    use super::*;

    /// Gives one byte at a time: whatever ends at the end of a chunk is tested at every place.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.0.len().min(1);
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    /// The tokens as `line:token`, up to the end or an error.
    fn tokens(input: &[u8], texts: Texts) -> Vec<String> {
        type Next = Box<dyn FnMut() -> (Result<Token, LexError>, u32, String)>;
        let all = |mut next: Next| {
            let mut found = Vec::new();
            loop {
                let (token, line, text) = next();
                match token {
                    Ok(Token::Word) => found.push(format!("{line}:{text}")),
                    Ok(Token::Text) => found.push(format!("{line}:\"{text}\"")),
                    Ok(Token::Mark(mark)) => found.push(format!("{line}:{}", char::from(mark))),
                    Ok(Token::End) => return found,
                    Err(LexError::Malformed(what)) => {
                        found.push(format!("{line}! {what}"));
                        return found;
                    }
                    Err(LexError::Input(error)) => panic!("{error}"),
                }
            }
        };
        let input = input.to_vec();
        let dropped: &'static [u8] = Box::leak(input.clone().into_boxed_slice());
        let mut whole = Lexer::new(dropped, texts);
        let mut drops = Lexer::new(Drops(dropped), texts);
        let whole = all(Box::new(move || {
            let token = whole.next();
            (token, whole.line(), whole.text().escape_ascii().to_string())
        }));
        let drops = all(Box::new(move || {
            let token = drops.next();
            (token, drops.line(), drops.text().escape_ascii().to_string())
        }));
        assert_eq!(whole, drops);
        whole
    }

    #[test]
    fn words_texts_and_marks_come_with_their_lines() {
        let found = tokens(
            b"subnet 10.0.0.0 netmask 255.0.0.0 { # \"not this\"\n  option agent.circuit-id 0:4;\n}",
            Texts::OverLines,
        );
        assert_eq!(
            found,
            [
                "1:subnet",
                "1:10.0.0.0",
                "1:netmask",
                "1:255.0.0.0",
                "1:{",
                "2:option",
                "2:agent.circuit-id",
                "2:0",
                "2::",
                "2:4",
                "2:;",
                "3:}"
            ]
        );
    }

    #[test]
    fn escapes_are_those_of_dhcpd() {
        let found = tokens(br#""a\"b\\\001\377\x7fz\t\q""#, Texts::InOneLine);
        assert_eq!(found, [r#"1:"a\"b\\\x01\xff\x7fz\tq""#]);
        for (text, what) in [
            (r#""\09""#, "an escape that is not of three octal digits"),
            (r#""\xg0""#, "an escape that is not of two hexadecimal digits"),
            (r#""\0"#, "an escape that is not of three octal digits"),
            (r#""a"#, TORN),
            ("\"a\\", TORN),
        ] {
            let found = tokens(text.as_bytes(), Texts::OverLines);
            assert_eq!(found, [format!("1! {what}")], "{text}");
        }
    }

    #[test]
    fn a_text_goes_over_lines_in_a_configuration_alone() {
        assert_eq!(tokens(b"\"a\nb\" c", Texts::OverLines), ["1:\"a\\nb\"", "2:c"]);
        assert_eq!(tokens(b"\"a\nb\" c", Texts::InOneLine), [format!("1! {TORN}")]);
    }

    #[test]
    fn a_token_has_a_limit() {
        let long = "x".repeat(TOKEN_BYTES_MAX);
        assert_eq!(tokens(long.as_bytes(), Texts::OverLines).len(), 1);
        for long in [format!("{long}x"), format!("\"{long}x\"")] {
            let found = tokens(long.as_bytes(), Texts::OverLines);
            assert!(found[0].contains("of more than 4096 bytes"), "{found:?}");
        }
    }

    #[test]
    fn after_an_error_the_next_declaration_is_found() {
        let input = b"lease 1 {\n  uid \"torn\n  x y;\n}\nlease 2 {\n  uid \"torn\nlease 3 {\n\\\"\nlease 4";
        let mut lexer = Lexer::new(&input[..], Texts::InOneLine);
        let mut seen = Vec::new();
        loop {
            match lexer.next() {
                Ok(Token::End) => break,
                // Out of place in a lease.
                Ok(Token::Mark(b'\\')) => lexer.skip_block().unwrap(),
                Ok(_) => seen.push((lexer.line(), lexer.text().to_vec())),
                Err(_) => lexer.skip_block().unwrap(),
            }
        }
        let lines: Vec<u32> =
            seen.iter().filter(|(_, text)| text == b"lease").map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 5, 7, 9]);
    }
}
