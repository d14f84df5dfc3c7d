//! The bearer tokens of the API: read from their files, never shown.
//!
//! It promises that a token has at least [`TOKEN_LENGTH_MIN`] printable characters, came from a
//! file that not everybody on the host may read, and never appears in a message or in a debug print.

use crate::agent::{Agent, AgentServer};
use crate::checked::{Api, Scope, Webhook};
use crate::limits::{OPERATOR_NAME, TOKEN_FILE_BYTES_MAX, TOKEN_LENGTH_MIN};
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The permission bit that lets everybody on the host read a file.
const READABLE_BY_OTHERS: u32 = 0o004;

/// A bearer token. It has neither `Debug` nor `Display`, so that it cannot get into a log.
pub struct Token(Box<str>);

impl Token {
    /// The token's bytes, to be compared in constant time.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The token as text, to be put into the header of a request.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// A token with what it lets in to.
pub struct Credential {
    /// What its holder is called.
    pub name: Box<str>,
    /// What it lets in to.
    pub scope: Scope,
    /// What its holder shows.
    pub token: Token,
}

/// Without the token.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, scope, .. } = self;
        f.debug_struct("Credential")
            .field("name", name)
            .field("scope", scope)
            .finish_non_exhaustive()
    }
}

/// Why a token file cannot be used. Always the operator's to put right.
#[derive(Debug)]
pub enum TokenError {
    /// It cannot be opened or read.
    Unreadable(PathBuf, io::Error),
    /// It is a directory, a device or the like.
    NotAFile(PathBuf),
    /// Everybody on the host may read it.
    ReadableByOthers(PathBuf),
    /// It holds nothing but white space.
    Empty(PathBuf),
    /// It holds fewer than [`TOKEN_LENGTH_MIN`] characters.
    TooShort(PathBuf),
    /// It holds more than [`TOKEN_FILE_BYTES_MAX`] bytes.
    TooLong(PathBuf),
    /// It holds something that a header cannot carry: white space inside, or what is not ASCII.
    NotPrintable(PathBuf),
    /// It holds the same token as another file, named second: nobody could tell who shows it.
    SameAs(PathBuf, PathBuf),
}

impl TokenError {
    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::Unreadable(path, error) => {
                format!("the token file {} cannot be read: {error}", path.display())
            }
            Self::NotAFile(path) => format!("the token file {} is no file", path.display()),
            Self::ReadableByOthers(path) => {
                format!("everybody on this host may read the token file {}", path.display())
            }
            Self::Empty(path) => format!("the token file {} is empty", path.display()),
            Self::TooShort(path) => format!(
                "the token in {} is shorter than {TOKEN_LENGTH_MIN} characters",
                path.display()
            ),
            Self::TooLong(path) => format!(
                "the token file {} is longer than {TOKEN_FILE_BYTES_MAX} bytes",
                path.display()
            ),
            Self::NotPrintable(path) => format!(
                "the token in {} is not one word of printable ASCII characters",
                path.display()
            ),
            Self::SameAs(path, other) => {
                format!("the token in {} is the same as in {}", path.display(), other.display())
            }
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Unreadable(path, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                format!(
                    "let the daemon's group read it: chgrp GROUP {0}; chmod 640 {0}",
                    path.display()
                )
            }
            Self::Unreadable(path, error) if error.kind() == io::ErrorKind::NotFound => {
                let path = path.display();
                format!("make one: (umask 027; openssl rand -hex 32 > {path})")
            }
            Self::ReadableByOthers(path) => {
                let path = path.display();
                format!("chmod 640 {path}, and put a new token in if others may have read it")
            }
            Self::Unreadable(path, _)
            | Self::NotAFile(path)
            | Self::Empty(path)
            | Self::TooShort(path)
            | Self::TooLong(path)
            | Self::NotPrintable(path)
            | Self::SameAs(path, _) => {
                format!("put a token in: openssl rand -hex 32 > {}", path.display())
            }
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message(), self.remedy())
    }
}

impl std::error::Error for TokenError {}

impl Api {
    /// Reads every token, the operator's first.
    ///
    /// # Errors
    /// The first file that cannot be used: which of [`Api::tokens`], or `None` for `token-file`.
    pub fn read_tokens(&self) -> Result<Vec<Credential>, (Option<usize>, TokenError)> {
        let token = read(&self.token_file).map_err(|error| (None, error))?;
        let name = OPERATOR_NAME.into();
        let mut credentials = vec![Credential { name, scope: Scope::Operator, token }];
        for (number, given) in self.tokens.iter().enumerate() {
            let token = read(&given.file).map_err(|error| (Some(number), error))?;
            let same = credentials.iter().position(|other| other.token.0 == token.0);
            if let Some(same) = same {
                // The first credential is the token file's, the others stand as in the list.
                let others = same.checked_sub(1).and_then(|position| self.tokens.get(position));
                let other = others.map_or(&self.token_file, |other| &other.file);
                let error = TokenError::SameAs(given.file.clone(), other.clone());
                return Err((Some(number), error));
            }
            let (name, scope) = (given.name.clone(), given.scope);
            credentials.push(Credential { name, scope, token });
        }
        Ok(credentials)
    }

    /// Reads the operator's token. White space around it is not part of it.
    ///
    /// # Errors
    /// [`TokenError`] if there is none that can be used.
    pub fn read_token(&self) -> Result<Token, TokenError> {
        read(&self.token_file)
    }
}

impl Agent {
    /// Reads every server's token, in their order.
    ///
    /// # Errors
    /// The first file that cannot be used, with the number of its server.
    pub fn read_tokens(&self) -> Result<Vec<Token>, (usize, TokenError)> {
        let numbered = self.servers.iter().enumerate();
        numbered
            .map(|(number, server)| read(&server.token_file).map_err(|error| (number, error)))
            .collect()
    }
}

impl AgentServer {
    /// Reads the token that it is shown.
    ///
    /// # Errors
    /// [`TokenError`] if there is none that can be used.
    pub fn read_token(&self) -> Result<Token, TokenError> {
        read(&self.token_file)
    }
}

impl Webhook {
    /// Reads what deliveries are signed with, by the rules of a token.
    ///
    /// # Errors
    /// [`TokenError`] if there is none that can be used.
    pub fn read_secret(&self) -> Result<Token, TokenError> {
        read(&self.secret_file)
    }
}

fn read(path: &Path) -> Result<Token, TokenError> {
    let unreadable = |error| TokenError::Unreadable(path.to_owned(), error);
    // Looked at before it is opened: to open a pipe would wait for somebody who writes to it.
    let kind = std::fs::metadata(path).map_err(unreadable)?;
    if !kind.is_file() {
        return Err(TokenError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.permissions().mode() & READABLE_BY_OTHERS != 0 {
        return Err(TokenError::ReadableByOthers(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(TOKEN_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > TOKEN_FILE_BYTES_MAX {
        return Err(TokenError::TooLong(path.to_owned()));
    }
    let token = bytes.trim_ascii();
    if token.is_empty() {
        return Err(TokenError::Empty(path.to_owned()));
    }
    let text = std::str::from_utf8(token).ok().filter(|_| token.iter().all(u8::is_ascii_graphic));
    let text = text.ok_or_else(|| TokenError::NotPrintable(path.to_owned()))?;
    if text.len() < TOKEN_LENGTH_MIN {
        return Err(TokenError::TooShort(path.to_owned()));
    }
    Ok(Token(text.into()))
}
