//! `dhcpd.leases`: what dhcpd wrote down, read to its last word.
//!
//! A lease file is a log (dhcpd.leases(5)): the last block of an address holds. It is read piece by piece,
//! so that memory is taken by what holds and not by what once did. A block that cannot be read is
//! reported with its line, as is a file that ends within one: dhcpd was killed while it wrote, and had
//! acknowledged nothing of that block.

mod declared;
mod values;

use super::lexer::{LexError, Lexer, Texts, Token};
use super::report::{Kind, Report};
use super::syntax::{FileNumber, Piece, Place, Statement};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use vestibule_core::HardwareAddress;

/// Addresses that a file may name: as many as a configuration may have in its pools.
pub(super) const ADDRESSES_MAX: usize = 1 << 24;

/// Statements in other blocks than leases, as hosts made through OMAPI.
const OTHER_STATEMENTS_MAX: usize = 1_000_000;

/// Blocks within blocks.
const DEPTH_MAX: usize = 16;

/// Bytes of option 82, as one option holds.
const RELAY_AGENT_BYTES_MAX: usize = 255;

/// Bytes of a client identifier and of a host name, as one option holds.
const OPTION_BYTES_MAX: usize = 255;

/// Seconds since 1970 that `never` stands for: the last that dhcpd can tell its partner.
pub(super) const NEVER: u32 = 0x7fff_ffff;

/// What has become of a binding, by ISC's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Active,
    Expired,
    Released,
    Abandoned,
    Reset,
    Backup,
}

impl State {
    fn of(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"free" => Self::Free,
            b"active" => Self::Active,
            b"expired" => Self::Expired,
            b"released" => Self::Released,
            b"abandoned" => Self::Abandoned,
            b"reset" => Self::Reset,
            b"backup" => Self::Backup,
            _ => return None,
        })
    }
}

/// One address as its last block has it. Times are seconds since 1970, 0 where there is none, as dhcpd
/// itself has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IscLease {
    pub(super) line: u32,
    pub(super) address: Ipv4Addr,
    pub(super) state: State,
    /// The state that the partner last knew.
    pub(super) rewind: State,
    pub(super) starts: u32,
    pub(super) ends: u32,
    pub(super) tstp: u32,
    pub(super) tsfp: u32,
    pub(super) atsfp: u32,
    pub(super) cltt: u32,
    /// A dynamic lease that is its client's for ever.
    pub(super) is_reserved: bool,
    pub(super) is_bootp: bool,
    pub(super) hardware: Option<HardwareAddress>,
    pub(super) uid: Option<Box<[u8]>>,
    pub(super) host_name: Option<Box<[u8]>>,
    /// The contents of option 82.
    pub(super) relay_agent: Option<Box<[u8]>>,
}

/// `failover peer "name" state`: what was last written of a relationship.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PeerState {
    pub(super) place: Place,
    pub(super) name: String,
    /// State and since when.
    pub(super) mine: Option<(String, u32)>,
    pub(super) partners: Option<(String, u32)>,
    /// What the primary said, in a secondary's file.
    pub(super) mclt_seconds: Option<u32>,
}

/// What a lease file holds.
#[derive(Debug, Default)]
pub(super) struct LeaseFile {
    pub(super) leases: BTreeMap<u32, IscLease>,
    pub(super) peers: Vec<PeerState>,
    /// Hosts and groups that were made through OMAPI.
    pub(super) declared: Vec<Statement>,
}

/// Reads a lease file. What it cannot take over is in the report.
///
/// # Errors
/// The file cannot be read, or names more than [`ADDRESSES_MAX`] addresses.
pub(super) fn read(input: impl Read, name: &str, report: &mut Report) -> io::Result<LeaseFile> {
    let number = report.file(name.to_owned());
    let mut reading = Reading {
        lexer: Lexer::new(input, Texts::InOneLine),
        number,
        report,
        file: LeaseFile::default(),
        asides: BTreeMap::new(),
        statements: 0,
    };
    reading.everything()?;
    let Reading { file, asides, report, .. } = reading;
    for (keyword, (count, line)) in asides {
        let what = format!("{keyword}, of {count} leases");
        let remedy = if keyword.starts_with("set ddns-") || keyword.starts_with("ddns-") {
            "what was written into the DNS stays there, and nobody takes it out: do so by hand when a lease has ended"
        } else {
            "it has no equal here, and nothing depends on it"
        };
        let kind = if remedy.starts_with("it has") { Kind::NotNeeded } else { Kind::LeftOut };
        report.add(kind, Place { file: number, line }, what, remedy);
    }
    Ok(file)
}

/// Why a declaration is not taken over.
enum Fault {
    Input(io::Error),
    /// What is wrong with it, and whether the file ended in it.
    Malformed(String),
    Torn,
}

impl From<LexError> for Fault {
    fn from(error: LexError) -> Self {
        match error {
            LexError::Input(error) => Self::Input(error),
            LexError::Malformed(what) => Self::Malformed(what.to_owned()),
        }
    }
}

fn malformed<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Malformed(what.into()))
}

struct Reading<'r, R> {
    lexer: Lexer<R>,
    number: FileNumber,
    report: &'r mut Report,
    file: LeaseFile,
    /// Statements of leases that are only counted: how many, and the first one's line.
    asides: BTreeMap<String, (u64, u32)>,
    statements: usize,
}

impl<R: Read> Reading<'_, R> {
    fn everything(&mut self) -> io::Result<()> {
        loop {
            let token = self.lexer.next();
            let line = self.lexer.line();
            let place = Place { file: self.number, line };
            let (what, fault) = match token {
                Ok(Token::End) => return Ok(()),
                Ok(Token::Mark(b';')) => continue,
                Ok(Token::Word) => {
                    let word = String::from_utf8_lossy(self.lexer.text()).to_ascii_lowercase();
                    match self.declaration(&word, place) {
                        Ok(()) => continue,
                        Err((what, fault)) => (what, fault),
                    }
                }
                Ok(_) => (
                    String::from("a declaration"),
                    Fault::Malformed("it begins with no word".to_owned()),
                ),
                Err(error) => (String::from("a declaration"), error.into()),
            };
            let remedy = match fault {
                Fault::Input(error) => return Err(error),
                Fault::Torn => {
                    "the file ends within it, as after a crash: what stood before it holds"
                        .to_owned()
                }
                Fault::Malformed(why) => {
                    let at = self.lexer.line();
                    match self.lexer.skip_block() {
                        Ok(()) => {}
                        Err(LexError::Input(error)) => return Err(error),
                        Err(LexError::Malformed(_)) => {}
                    }
                    format!(
                        "{why} (line {at}): what an earlier block says holds, which may be out of date; see whether \
                         somebody uses the address"
                    )
                }
            };
            self.report.left_out(place, what, remedy);
        }
    }

    fn declaration(&mut self, word: &str, place: Place) -> Result<(), (String, Fault)> {
        match word {
            "lease" => {
                let mut address = None;
                let lease = self.lease(place.line, &mut address);
                let what =
                    || address.map_or("a lease".to_owned(), |address| format!("lease {address}"));
                let lease = lease.map_err(|fault| (what(), fault))?;
                let key = u32::from(lease.address);
                if self.file.leases.len() >= ADDRESSES_MAX && !self.file.leases.contains_key(&key) {
                    let error = format!("more than {ADDRESSES_MAX} addresses");
                    return Err((
                        what(),
                        Fault::Input(io::Error::new(io::ErrorKind::InvalidData, error)),
                    ));
                }
                self.file.leases.insert(key, lease);
                Ok(())
            }
            "failover" => self.peer(place).map_err(|fault| ("failover peer".to_owned(), fault)),
            "server-duid" | "authoring-byte-order" | "default-duid" => {
                self.skip_to_semicolon().map_err(|fault| (word.to_owned(), fault))
            }
            _ => {
                let what = || word.to_owned();
                let pieces = vec![Piece::Word(word.into())];
                let statement =
                    self.statement(pieces, place, 0).map_err(|fault| (what(), fault))?;
                self.file.declared.push(statement);
                Ok(())
            }
        }
    }

    fn lease(&mut self, line: u32, found: &mut Option<Ipv4Addr>) -> Result<IscLease, Fault> {
        let address: Ipv4Addr = self.parsed("an address")?;
        *found = Some(address);
        self.mark(b'{')?;
        let mut lease = IscLease {
            line,
            address,
            state: State::Free,
            rewind: State::Free,
            starts: 0,
            ends: 0,
            tstp: 0,
            tsfp: 0,
            atsfp: 0,
            cltt: 0,
            is_reserved: false,
            is_bootp: false,
            hardware: None,
            uid: None,
            host_name: None,
            relay_agent: None,
        };
        let (mut state, mut rewind) = (None, None);
        loop {
            match self.next()? {
                Token::Mark(b'}') => break,
                Token::Mark(b';') => {}
                Token::Word => self.of_lease(&mut lease, &mut state, &mut rewind)?,
                _ => return malformed("a statement begins with no word"),
            }
        }
        // Files of old versions name no state.
        lease.state = state.unwrap_or(if lease.ends > 0 { State::Active } else { State::Free });
        lease.rewind = rewind.unwrap_or(lease.state);
        // What dhcpd does when it reads its own file.
        if lease.tstp == 0 {
            lease.tstp = lease.ends;
        }
        Ok(lease)
    }

    /// One statement of a lease; its first word has been read.
    fn of_lease(
        &mut self,
        lease: &mut IscLease,
        state: &mut Option<State>,
        rewind: &mut Option<State>,
    ) -> Result<(), Fault> {
        // The usual ones first, and without an allocation.
        match self.lexer.text() {
            b"starts" => lease.starts = self.date()?,
            b"ends" => lease.ends = self.date()?,
            b"tstp" => lease.tstp = self.date()?,
            b"tsfp" => lease.tsfp = self.date()?,
            b"atsfp" => lease.atsfp = self.date()?,
            b"cltt" => lease.cltt = self.date()?,
            b"binding" => *state = Some(self.state(lease)?),
            b"next" => {
                self.keyword("binding")?;
                // Where it goes when it ends follows from where it is.
                self.state(lease)?;
            }
            b"rewind" => {
                self.keyword("binding")?;
                *rewind = Some(self.state(lease)?);
            }
            b"hardware" => lease.hardware = self.hardware()?,
            b"uid" => {
                let uid = self.bytes()?;
                if uid.len() > OPTION_BYTES_MAX {
                    return malformed("a client identifier of more than 255 bytes");
                }
                lease.uid = (!uid.is_empty()).then(|| uid.into());
                self.mark(b';')?;
            }
            b"client-hostname" => {
                let token = self.next()?;
                if !matches!(token, Token::Text | Token::Word) {
                    return malformed("a host name is missing");
                }
                let name = self.lexer.text();
                lease.host_name = (1..=OPTION_BYTES_MAX).contains(&name.len()).then(|| name.into());
                self.mark(b';')?;
            }
            b"option" | b"supersede" => self.relay_agent(lease)?,
            b"reserved" => {
                lease.is_reserved = true;
                self.mark(b';')?;
            }
            b"dynamic-bootp" | b"bootp" => {
                lease.is_bootp = true;
                self.mark(b';')?;
            }
            b"abandoned" => {
                *state = Some(State::Abandoned);
                self.mark(b';')?;
            }
            _ => return self.aside(),
        }
        Ok(())
    }

    /// A statement that is only counted; its first word has been read.
    fn aside(&mut self) -> Result<(), Fault> {
        let line = self.lexer.line();
        let mut what = String::from_utf8_lossy(self.lexer.text()).into_owned();
        if what == "set" || what == "billing" {
            self.next()?;
            what = format!("{what} {}", String::from_utf8_lossy(self.lexer.text()));
        } else if !matches!(
            what.as_str(),
            "on" | "ddns-fwd-name" | "ddns-rev-name" | "timestamp" | "class"
        ) {
            return malformed(format!("`{what}` is no statement of a lease"));
        }
        let mut depth = 0_usize;
        loop {
            match self.next()? {
                Token::Mark(b';') if depth == 0 => break,
                Token::Mark(b'{') => depth += 1,
                Token::Mark(b'}') if depth <= 1 => break,
                Token::Mark(b'}') => depth -= 1,
                _ => {}
            }
        }
        // A stranger chooses no names here, but a file may hold any.
        if self.asides.len() < 64 || self.asides.contains_key(&what) {
            self.asides.entry(what).or_insert((0, line)).0 += 1;
        } else {
            self.asides.entry("other statements".to_owned()).or_insert((0, line)).0 += 1;
        }
        Ok(())
    }

    fn state(&mut self, lease: &mut IscLease) -> Result<State, Fault> {
        self.keyword("state")?;
        self.word()?;
        let state = match (State::of(self.lexer.text()), self.lexer.text()) {
            (Some(state), _) => state,
            // As old versions wrote them.
            (None, b"reserved") => {
                lease.is_reserved = true;
                State::Active
            }
            (None, b"bootp") => {
                lease.is_bootp = true;
                State::Active
            }
            (None, other) => {
                return malformed(format!(
                    "`{}` is no binding state",
                    String::from_utf8_lossy(other)
                ));
            }
        };
        self.mark(b';')?;
        Ok(state)
    }

    fn skip_to_semicolon(&mut self) -> Result<(), Fault> {
        while self.next()? != Token::Mark(b';') {}
        Ok(())
    }

    /// The next token; the end of the file comes too early.
    fn next(&mut self) -> Result<Token, Fault> {
        match self.lexer.next()? {
            Token::End => Err(Fault::Torn),
            token => Ok(token),
        }
    }

    fn word(&mut self) -> Result<(), Fault> {
        match self.next()? {
            Token::Word => Ok(()),
            _ => malformed("a word is missing"),
        }
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), Fault> {
        self.word()?;
        if self.lexer.text().eq_ignore_ascii_case(keyword.as_bytes()) {
            return Ok(());
        }
        malformed(format!("`{keyword}` is missing"))
    }

    fn mark(&mut self, mark: u8) -> Result<(), Fault> {
        if self.next()? == Token::Mark(mark) {
            return Ok(());
        }
        malformed(format!("`{}` is missing", char::from(mark)))
    }

    fn parsed<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, Fault> {
        self.word()?;
        let parsed = std::str::from_utf8(self.lexer.text()).ok().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| Fault::Malformed(format!("{what} is missing")))
    }
}
