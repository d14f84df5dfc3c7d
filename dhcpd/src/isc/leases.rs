//! `dhcpd.leases`: what dhcpd wrote down, read to its last word.
//!
//! A lease file is a log (dhcpd.leases(5)): the last block of an address holds. It is read piece by piece,
//! so that memory is taken by what holds and not by what once did. A block that cannot be read is
//! reported with its line, as is a file that ends within one: dhcpd was killed while it wrote, and had
//! acknowledged nothing of that block.

use super::lexer::{LexError, Lexer, Texts, Token};
use super::option_data::hexadecimal;
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

    /// `never`, `epoch` and seconds, or weekday, day and time in UTC; and the semicolon.
    fn date(&mut self) -> Result<u32, Fault> {
        let date = self.date_alone()?;
        self.mark(b';')?;
        Ok(date)
    }

    fn date_alone(&mut self) -> Result<u32, Fault> {
        self.word()?;
        match self.lexer.text() {
            b"never" => return Ok(NEVER),
            b"epoch" => return Ok(clamped(self.parsed::<i64>("seconds since 1970")?)),
            _ => {}
        }
        // The weekday says nothing.
        let mut field = |separator: Option<u8>| -> Result<i64, Fault> {
            let number = self.parsed::<u16>("a number of a date")?;
            match separator {
                Some(separator) => self.mark(separator)?,
                None => {}
            }
            Ok(number.into())
        };
        let (year, month, day) = (field(Some(b'/'))?, field(Some(b'/'))?, field(None)?);
        let (hour, minute, second) = (field(Some(b':'))?, field(Some(b':'))?, field(None)?);
        let is_date =
            (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        if !is_date || hour > 23 || minute > 59 || second > 60 {
            return malformed("it is no date");
        }
        Ok(clamped(days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second))
    }

    fn hardware(&mut self) -> Result<Option<HardwareAddress>, Fault> {
        self.word()?;
        let mut pieces = vec![Piece::Word(String::from_utf8_lossy(self.lexer.text()).into())];
        loop {
            match self.next()? {
                Token::Mark(b';') => break,
                Token::Mark(mark) => pieces.push(Piece::Mark(mark)),
                Token::Word => {
                    pieces.push(Piece::Word(String::from_utf8_lossy(self.lexer.text()).into()));
                }
                _ => return malformed("it is no hardware address"),
            }
            if pieces.len() > 2 * HardwareAddress::LENGTH_MAX + 2 {
                return malformed("a hardware address of more than 16 bytes");
            }
        }
        let hardware = super::draft::hardware_of(&pieces);
        let hardware = hardware.ok_or(Fault::Malformed("it is no hardware address".to_owned()))?;
        Ok((!hardware.bytes().is_empty()).then_some(hardware))
    }

    /// A text, or bytes in hexadecimal with colons between them.
    fn bytes(&mut self) -> Result<Vec<u8>, Fault> {
        match self.next()? {
            Token::Text => return Ok(self.lexer.text().to_vec()),
            Token::Word => {}
            _ => return malformed("bytes are missing"),
        }
        let mut bytes = Vec::new();
        loop {
            let word = String::from_utf8_lossy(self.lexer.text());
            bytes.push(hexadecimal(&word).map_err(Fault::Malformed)?);
            match self.next()? {
                Token::Mark(b':') => self.word()?,
                token => {
                    self.lexer.put_back(token);
                    return Ok(bytes);
                }
            }
            if bytes.len() > OPTION_BYTES_MAX {
                return malformed("more than 255 bytes");
            }
        }
    }

    /// `option agent.circuit-id …`: a part of option 82.
    fn relay_agent(&mut self, lease: &mut IscLease) -> Result<(), Fault> {
        self.word()?;
        let name = String::from_utf8_lossy(self.lexer.text()).to_ascii_lowercase();
        let code = match name.strip_prefix("agent.") {
            Some("circuit-id") => 1,
            Some("remote-id") => 2,
            Some("agent-id") => 3,
            Some("docsis-device-class") => 4,
            Some("link-selection") => 5,
            Some("relay-port") => 19,
            Some(other) => {
                match other.strip_prefix("unknown-").and_then(|code| code.parse().ok()) {
                    Some(code) => code,
                    None => {
                        return malformed(format!(
                            "`{name}` is no part of option 82 that is known"
                        ));
                    }
                }
            }
            None => return malformed(format!("`{name}` is no part of option 82")),
        };
        let token = self.next()?;
        let address: Option<Ipv4Addr> =
            std::str::from_utf8(self.lexer.text()).ok().and_then(|text| text.parse().ok());
        let contents = match (token, address) {
            (Token::Word, Some(address)) => address.octets().to_vec(),
            (token, _) => {
                self.lexer.put_back(token);
                if token == Token::Mark(b';') { Vec::new() } else { self.bytes()? }
            }
        };
        self.mark(b';')?;
        let mut all = lease.relay_agent.take().map_or_else(Vec::new, Vec::from);
        let length = u8::try_from(contents.len());
        match length {
            Ok(length) if all.len() + 2 + contents.len() <= RELAY_AGENT_BYTES_MAX => {
                all.extend([code, length]);
                all.extend(contents);
                lease.relay_agent = Some(all.into());
                Ok(())
            }
            _ => malformed("an option 82 of more than 255 bytes"),
        }
    }

    /// `failover peer "name" state { … }`
    fn peer(&mut self, place: Place) -> Result<(), Fault> {
        self.keyword("peer")?;
        if !matches!(self.next()?, Token::Text | Token::Word) {
            return malformed("the relationship's name is missing");
        }
        let name = String::from_utf8_lossy(self.lexer.text()).into_owned();
        self.keyword("state")?;
        self.mark(b'{')?;
        let mut peer = PeerState { place, name, mine: None, partners: None, mclt_seconds: None };
        loop {
            match self.next()? {
                Token::Mark(b'}') => break,
                Token::Mark(b';') => {}
                Token::Word => match self.lexer.text() {
                    b"my" => peer.mine = Some(self.state_at()?),
                    b"partner" | b"peer" => peer.partners = Some(self.state_at()?),
                    b"mclt" => {
                        peer.mclt_seconds = Some(self.parsed("seconds")?);
                        self.mark(b';')?;
                    }
                    other => {
                        let other = String::from_utf8_lossy(other);
                        return malformed(format!("`{other}` is no statement of a state"));
                    }
                },
                _ => return malformed("a statement begins with no word"),
            }
        }
        self.file.peers.retain(|older| older.name != peer.name);
        self.file.peers.push(peer);
        Ok(())
    }

    /// `state normal at DATE;`; without a date it is since ever.
    fn state_at(&mut self) -> Result<(String, u32), Fault> {
        self.keyword("state")?;
        self.word()?;
        let state = String::from_utf8_lossy(self.lexer.text()).into_owned();
        match self.next()? {
            Token::Mark(b';') => Ok((state, 0)),
            Token::Word if self.lexer.text() == b"at" => Ok((state, self.date()?)),
            _ => malformed("a state is followed by neither a date nor a semicolon"),
        }
    }

    /// Any other declaration, as in a configuration.
    fn statement(
        &mut self,
        mut pieces: Vec<Piece>,
        place: Place,
        depth: usize,
    ) -> Result<Statement, Fault> {
        self.statements += 1;
        if depth > DEPTH_MAX || self.statements > OTHER_STATEMENTS_MAX {
            return malformed("more than dhcpd would have written");
        }
        loop {
            pieces.push(match self.next()? {
                Token::Mark(b';') => return Ok(Statement { place, pieces, block: None }),
                Token::Mark(b'{') => break,
                Token::Mark(b'}') => return malformed("a } out of place"),
                Token::Mark(mark) => Piece::Mark(mark),
                Token::Word => Piece::Word(String::from_utf8_lossy(self.lexer.text()).into()),
                _ => Piece::Text(self.lexer.text().into()),
            });
        }
        let mut block = Vec::new();
        loop {
            let token = self.next()?;
            let place = Place { file: self.number, line: self.lexer.line() };
            let first = match token {
                Token::Mark(b'}') => return Ok(Statement { place, pieces, block: Some(block) }),
                Token::Mark(b';') => continue,
                Token::Mark(mark) => Piece::Mark(mark),
                Token::Word => Piece::Word(String::from_utf8_lossy(self.lexer.text()).into()),
                _ => Piece::Text(self.lexer.text().into()),
            };
            block.push(self.statement(vec![first], place, depth + 1)?);
        }
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

/// Seconds since 1970 as dhcpd tells them; what lies before counts as none.
fn clamped(seconds: i64) -> u32 {
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar (years from March, in eras of 400 years).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
