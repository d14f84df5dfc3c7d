//! What stands beside leases: the states of a pair, and what was declared through OMAPI.

use super::{DEPTH_MAX, Fault, OTHER_STATEMENTS_MAX, PeerState, Reading, malformed};
use crate::isc::lexer::Token;
use crate::isc::syntax::{Piece, Place, Statement};
use std::io::Read;

impl<R: Read> Reading<'_, R> {
    /// `failover peer "name" state { … }`
    pub(super) fn peer(&mut self, place: Place) -> Result<(), Fault> {
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
    pub(super) fn statement(
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
}
