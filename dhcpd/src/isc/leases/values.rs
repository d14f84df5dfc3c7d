//! What the statements of a lease say: dates, hardware addresses, bytes, parts of option 82.

use super::{Fault, IscLease, NEVER, OPTION_BYTES_MAX, RELAY_AGENT_BYTES_MAX, Reading, malformed};
use crate::isc::draft::hardware_of;
use crate::isc::lexer::Token;
use crate::isc::option_data::hexadecimal;
use crate::isc::syntax::Piece;
use std::io::Read;
use std::net::Ipv4Addr;
use vestibule_core::HardwareAddress;

impl<R: Read> Reading<'_, R> {
    /// `never`, `epoch` and seconds, or weekday, day and time in UTC; and the semicolon.
    pub(super) fn date(&mut self) -> Result<u32, Fault> {
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
            if let Some(separator) = separator {
                self.mark(separator)?;
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

    pub(super) fn hardware(&mut self) -> Result<Option<HardwareAddress>, Fault> {
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
        let hardware = hardware_of(&pieces);
        let hardware = hardware.ok_or(Fault::Malformed("it is no hardware address".to_owned()))?;
        Ok((!hardware.bytes().is_empty()).then_some(hardware))
    }

    /// A text, or bytes in hexadecimal with colons between them.
    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, Fault> {
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
    pub(super) fn relay_agent(&mut self, lease: &mut IscLease) -> Result<(), Fault> {
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
