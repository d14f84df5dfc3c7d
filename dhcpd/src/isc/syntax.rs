//! `dhcpd.conf` as a tree of statements, included files in their places.
//!
//! Every statement of ISC's grammar is a row of words that ends with `;` or with a block of further
//! statements in braces (`server/confpars.c`). So the tree needs to know no statement, and what nobody
//! understands later still stands in it, with file and line. A file that this refuses is one that dhcpd
//! refuses too.

use super::lexer::{LexError, Lexer, Texts, Token};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of a configuration with all that it includes.
pub(super) const CONFIGURATION_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Statements of it.
pub(super) const STATEMENTS_MAX: usize = 2_000_000;

/// Files of it, each inclusion counted.
pub(super) const FILES_MAX: usize = 4096;

/// Blocks within blocks.
pub(super) const DEPTH_MAX: usize = 32;

/// Files that include files.
pub(super) const INCLUDE_DEPTH_MAX: usize = 16;

/// Characters of a statement that are shown.
const SHOWN_CHARACTERS_MAX: usize = 90;

/// A file of the configuration, by its place in [`Configuration::files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileNumber(pub(super) u16);

/// Where something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: FileNumber,
    pub(super) line: u32,
}

/// A part of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Word(Box<str>),
    /// What stood in quotes: bytes of any kind.
    Text(Box<[u8]>),
    Mark(u8),
}

/// A row of words, and what stands in its braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) place: Place,
    pub(super) pieces: Vec<Piece>,
    pub(super) block: Option<Vec<Self>>,
}

/// A configuration as it stands in its files.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    /// The names of its files, as they were asked for.
    pub(super) files: Vec<String>,
    pub(super) statements: Vec<Statement>,
}

/// Why a file cannot be taken.
#[derive(Debug)]
pub enum SourceError {
    /// It cannot be read.
    Unreadable {
        /// The file.
        file: String,
        /// The file and line that include it.
        included_at: Option<String>,
        /// What the system says.
        error: io::Error,
    },
    /// dhcpd would not take it either, or it is beyond a limit.
    Malformed {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: u32,
        /// What is wrong there.
        what: String,
    },
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, included_at, error } => {
                write!(f, "{file} cannot be read: {error}")?;
                match included_at {
                    Some(place) => write!(
                        f,
                        " ({place} includes it; put it there, or change the path: a relative one begins at \
                         the folder of the file that includes)"
                    ),
                    None => Ok(()),
                }
            }
            Self::Malformed { file, line, what } => write!(f, "{file}:{line}: {what}"),
        }
    }
}

impl std::error::Error for SourceError {}

/// Reads a configuration and everything that it includes.
///
/// # Errors
/// [`SourceError`], the first one.
pub(super) fn read(path: &Path) -> Result<Configuration, SourceError> {
    let mut reading = Reading { configuration: Configuration::default(), statements: 0, bytes: 0 };
    let mut statements = Vec::new();
    reading.file(path, None, 0, &mut statements)?;
    reading.configuration.statements = statements;
    Ok(reading.configuration)
}

struct Reading {
    configuration: Configuration,
    statements: usize,
    bytes: u64,
}

/// One file while it is read.
struct Source<'a> {
    lexer: Lexer<File>,
    number: FileNumber,
    name: String,
    folder: &'a Path,
    include_depth: usize,
}

impl Source<'_> {
    fn malformed(&self, what: impl Into<String>) -> SourceError {
        SourceError::Malformed {
            file: self.name.clone(),
            line: self.lexer.line(),
            what: what.into(),
        }
    }

    fn next(&mut self) -> Result<Token, SourceError> {
        self.lexer.next().map_err(|error| match error {
            LexError::Malformed(what) => self.malformed(what),
            LexError::Input(error) => {
                SourceError::Unreadable { file: self.name.clone(), included_at: None, error }
            }
        })
    }

    fn piece(&self, token: Token) -> Piece {
        match token {
            Token::Word => Piece::Word(String::from_utf8_lossy(self.lexer.text()).into()),
            Token::Text => Piece::Text(self.lexer.text().into()),
            Token::Mark(mark) => Piece::Mark(mark),
            Token::End => Piece::Mark(b';'),
        }
    }
}

impl Reading {
    fn file(
        &mut self,
        path: &Path,
        included_at: Option<String>,
        include_depth: usize,
        into: &mut Vec<Statement>,
    ) -> Result<(), SourceError> {
        let name = path.display().to_string();
        let number = self.configuration.files.len();
        let limits = || {
            format!(
                "more than {FILES_MAX} files, or more than {INCLUDE_DEPTH_MAX} within one another"
            )
        };
        let Some(number) = u16::try_from(number)
            .ok()
            .filter(|_| number < FILES_MAX && include_depth <= INCLUDE_DEPTH_MAX)
        else {
            return Err(SourceError::Malformed { file: name, line: 1, what: limits() });
        };
        let opened = File::open(path).and_then(|file| match file.metadata()? {
            found if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            _ => Ok(file),
        });
        let file = opened.map_err(|error| SourceError::Unreadable {
            file: name.clone(),
            included_at,
            error,
        })?;
        self.configuration.files.push(name.clone());
        let mut source = Source {
            lexer: Lexer::new(file, Texts::OverLines),
            number: FileNumber(number),
            name,
            folder: path.parent().unwrap_or(Path::new("")),
            include_depth,
        };
        self.block(&mut source, 0, into)?;
        self.bytes += source.lexer.bytes_read();
        Ok(())
    }

    /// Reads statements up to the end of a block, or at depth 0 of the file.
    fn block(
        &mut self,
        source: &mut Source<'_>,
        depth: usize,
        into: &mut Vec<Statement>,
    ) -> Result<(), SourceError> {
        loop {
            match source.next()? {
                Token::End if depth == 0 => return Ok(()),
                Token::End => {
                    return Err(source.malformed("the file ends within a block: } is missing"));
                }
                Token::Mark(b'}') if depth > 0 => return Ok(()),
                Token::Mark(b'}') => return Err(source.malformed("a } that closes nothing")),
                // What stands behind a block, as `};`.
                Token::Mark(b';') => {}
                first => {
                    let statement = self.statement(source, first, depth)?;
                    if self.bytes + source.lexer.bytes_read() > CONFIGURATION_BYTES_MAX {
                        let what = format!("more than {CONFIGURATION_BYTES_MAX} bytes in all");
                        return Err(source.malformed(what));
                    }
                    match included(&statement) {
                        Some(path) => self.include(source, path, into)?,
                        None => into.push(statement),
                    }
                }
            }
        }
    }

    fn include(
        &mut self,
        source: &Source<'_>,
        path: PathBuf,
        into: &mut Vec<Statement>,
    ) -> Result<(), SourceError> {
        let place = format!("{}:{}", source.name, source.lexer.line());
        // An absolute path stays one.
        self.file(&source.folder.join(path), Some(place), source.include_depth + 1, into)
    }

    fn statement(
        &mut self,
        source: &mut Source<'_>,
        first: Token,
        depth: usize,
    ) -> Result<Statement, SourceError> {
        self.statements += 1;
        if self.statements > STATEMENTS_MAX {
            return Err(source.malformed(format!("more than {STATEMENTS_MAX} statements")));
        }
        let place = Place { file: source.number, line: source.lexer.line() };
        let mut pieces = vec![source.piece(first)];
        // `option x code 1 = { ip-address, text };`: braces of a type, and of no block.
        let defines = is_word(&pieces, 0, "option");
        let mut type_braces = 0_usize;
        loop {
            let token = source.next()?;
            match token {
                Token::Mark(b';') if type_braces == 0 => {
                    return Ok(Statement { place, pieces, block: None });
                }
                Token::Mark(b'{') if !(defines && pieces.contains(&Piece::Mark(b'='))) => {
                    if depth == DEPTH_MAX {
                        return Err(source.malformed(format!("blocks more than {DEPTH_MAX} deep")));
                    }
                    let mut block = Vec::new();
                    self.block(source, depth + 1, &mut block)?;
                    return Ok(Statement { place, pieces, block: Some(block) });
                }
                Token::Mark(b'{') => type_braces += 1,
                Token::Mark(b'}') if type_braces > 0 => type_braces -= 1,
                Token::Mark(b'}') | Token::End => {
                    let file = source.name.clone();
                    let what = format!("`{}` does not end with ;", shown(&pieces));
                    return Err(SourceError::Malformed { file, line: place.line, what });
                }
                _ => {}
            }
            pieces.push(source.piece(token));
        }
    }
}

/// The path of an `include`.
fn included(statement: &Statement) -> Option<PathBuf> {
    match statement.pieces.as_slice() {
        [Piece::Word(word), Piece::Text(path)] if word.eq_ignore_ascii_case("include") => {
            Some(PathBuf::from(String::from_utf8_lossy(path).into_owned()))
        }
        _ => None,
    }
}

fn is_word(pieces: &[Piece], at: usize, word: &str) -> bool {
    matches!(pieces.get(at), Some(Piece::Word(found)) if found.eq_ignore_ascii_case(word))
}

impl Statement {
    /// Whether the word at a place is this keyword. Keywords are of any case.
    pub(super) fn is(&self, at: usize, word: &str) -> bool {
        is_word(&self.pieces, at, word)
    }

    /// Whether it begins with these keywords.
    pub(super) fn begins(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(at, word)| self.is(at, word))
    }

    /// The word at a place.
    pub(super) fn word(&self, at: usize) -> Option<&str> {
        match self.pieces.get(at)? {
            Piece::Word(word) => Some(word),
            _ => None,
        }
    }

    /// The word or the text at a place: names stand with quotes or without.
    pub(super) fn name(&self, at: usize) -> Option<String> {
        match self.pieces.get(at)? {
            Piece::Word(word) => Some(word.to_string()),
            Piece::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            Piece::Mark(_) => None,
        }
    }

    /// The pieces from a place on.
    pub(super) fn from(&self, at: usize) -> &[Piece] {
        self.pieces.get(at..).unwrap_or(&[])
    }

    /// As it could be written, on one line, and shortened.
    pub(super) fn shown(&self) -> String {
        let mut text = shown(&self.pieces);
        if self.block.is_some() {
            text.push_str(" { … }");
        }
        text
    }
}

/// Pieces as they could be written, shortened. It may hold anything: it is escaped where it is shown.
fn shown(pieces: &[Piece]) -> String {
    let mut text = joined(pieces);
    if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Pieces as they could be written.
pub(super) fn joined(pieces: &[Piece]) -> String {
    let mut text = String::new();
    let mut tight = true;
    for piece in pieces {
        match piece {
            Piece::Mark(mark) => {
                let mark = char::from(*mark);
                if !tight && !",:);/".contains(mark) {
                    text.push(' ');
                }
                text.push(mark);
                tight = "(:/".contains(mark);
                continue;
            }
            Piece::Word(word) => {
                if !tight {
                    text.push(' ');
                }
                text.push_str(word);
            }
            Piece::Text(bytes) => {
                if !tight {
                    text.push(' ');
                }
                text.push('"');
                text.push_str(&String::from_utf8_lossy(bytes));
                text.push('"');
            }
        }
        tight = false;
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may end by a panic")]
mod tests {
    use super::*;
    use std::fs;

    fn read_text(text: &str) -> Result<Configuration, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dhcpd.conf");
        fs::write(&path, text).unwrap();
        let prefix = format!("{}/", folder.path().display());
        read(&path).map_err(|error| error.to_string().replace(&prefix, ""))
    }

    #[test]
    fn statements_stand_as_a_tree_with_their_lines() {
        let configuration = read_text(
            "Authoritative;\nshared-network \"halls\" {\n  subnet 10.0.0.0 netmask 255.0.0.0 {\n    \
             range 10.0.0.1\n 10.0.0.9;\n  }; \n}\noption x code 1 = { ip-address, text };",
        )
        .unwrap();
        let [first, second, third] = configuration.statements.as_slice() else { panic!() };
        assert!(first.is(0, "authoritative"));
        assert_eq!(second.shown(), "shared-network \"halls\" { … }");
        let range = &second.block.as_ref().unwrap()[0].block.as_ref().unwrap()[0];
        assert_eq!((range.place.line, range.shown()), (4, "range 10.0.0.1 10.0.0.9".to_owned()));
        assert_eq!(third.shown(), "option x code 1 = { ip-address, text }");
    }

    #[test]
    fn what_dhcpd_does_not_take_is_refused_with_its_line() {
        for (text, expected) in [
            ("a;\nb", "dhcpd.conf:2: `b` does not end with ;"),
            ("a {\nb;\n", "dhcpd.conf:3: the file ends within a block: } is missing"),
            ("a;\n}", "dhcpd.conf:2: a } that closes nothing"),
            ("a {\n b }", "dhcpd.conf:2: `b` does not end with ;"),
            ("a \"b", "dhcpd.conf:1: a text without its closing quote"),
        ] {
            assert_eq!(read_text(text).unwrap_err(), expected, "{text}");
        }
        let deep = "a {".repeat(DEPTH_MAX + 2);
        assert_eq!(read_text(&deep).unwrap_err(), "dhcpd.conf:1: blocks more than 32 deep");
    }

    #[test]
    fn included_files_stand_in_their_places() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("more")).unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("dhcpd.conf"), "a;\ninclude \"more/one\";\nb;").unwrap();
        // Relative to the file that includes.
        fs::write(at("more/one"), "c;\nx { include \"two\"; }").unwrap();
        fs::write(at("more/two"), "\nd;").unwrap();
        let configuration = read(&at("dhcpd.conf")).unwrap();
        let shown: Vec<String> = configuration.statements.iter().map(Statement::shown).collect();
        assert_eq!(shown, ["a", "c", "x { … }", "b"]);
        let inner = &configuration.statements[2].block.as_ref().unwrap()[0];
        assert_eq!(inner.place, Place { file: FileNumber(2), line: 2 });
        assert!(configuration.files[2].ends_with("more/two"));
        fs::write(at("more/two"), "include \"/nowhere/three\";").unwrap();
        let error = read(&at("dhcpd.conf")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/three cannot be read"), "{error}");
        assert!(error.contains("more/two:1 includes it"), "{error}");
    }

    #[test]
    fn a_file_that_includes_itself_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dhcpd.conf");
        fs::write(&path, "include \"dhcpd.conf\";").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("within one another"), "{error}");
    }
}
