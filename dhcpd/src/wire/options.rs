//! The options of a received packet: found, bounded, joined.
//!
//! It promises that every option it shows lies inside its field, in the order in which RFC 3396
//! reads the fields (options, file, sname), and that pieces of one option are one option, adjacent
//! or not. The options that a request is made of are found in the one walk that checks them all. It
//! never interprets contents, and never allocates except for what it returns owned.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use vestibule_core::options::code;
use vestibule_core::{Codes, KeptOptions, Octets, Reason};

const PAD: u8 = 0;
const END: u8 = 255;

/// The options that a request is made of: what is found while a packet is checked, so that nobody has
/// to walk its options again for each of them.
const REMEMBERED: [u8; 11] = [
    code::MESSAGE_TYPE,
    code::CLIENT_IDENTIFIER,
    code::REQUESTED_ADDRESS,
    code::SERVER_IDENTIFIER,
    code::PARAMETER_REQUEST_LIST,
    code::MAXIMUM_MESSAGE_SIZE,
    code::LEASE_TIME,
    code::HOST_NAME,
    code::SUBNET_SELECTION,
    code::RAPID_COMMIT,
    code::RELAY_AGENT_INFORMATION,
];

/// The place of each code in [`REMEMBERED`], or beyond it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "computed when it is compiled: there are fewer than 255, and a wrong index does not compile"
)]
const PLACES: [u8; 256] = {
    let mut places = [u8::MAX; 256];
    let mut place = 0;
    while place < REMEMBERED.len() {
        places[REMEMBERED[place] as usize] = place as u8;
        place += 1;
    }
    places
};

/// Where the first piece of an option is, and how long all of them are.
#[derive(Clone, Copy, Debug)]
struct Found<'a> {
    first: &'a [u8],
    length: usize,
}

/// The option fields of one packet, checked: no option overruns its field.
#[derive(Clone, Copy, Debug)]
pub(super) struct OptionFields<'a> {
    /// In the order of RFC 3396 section 5: options, file, sname; the latter two empty if they carry
    /// no options.
    fields: [&'a [u8]; 3],
    /// By place in [`REMEMBERED`].
    found: [Option<Found<'a>>; REMEMBERED.len()],
}

impl<'a> OptionFields<'a> {
    /// Checks the option fields of a packet. `options` is what follows the cookie; `file` and
    /// `sname` are read only if option 52 says that they carry options (RFC 2132 section 9.3).
    ///
    /// An option 52 that is none of 1, 2 and 3 counts as absent. One inside `file` or `sname` means
    /// nothing: the fields cannot overload each other.
    ///
    /// # Errors
    /// [`Reason::OptionsOverrun`] if an option reaches beyond its field. A missing End is accepted:
    /// the field's end ends it.
    pub(super) fn check(
        options: &'a [u8],
        file: &'a [u8],
        sname: &'a [u8],
    ) -> Result<Self, Reason> {
        let mut fields = Self { fields: [options, &[], &[]], found: [None; REMEMBERED.len()] };
        let mut overload = 0;
        for piece in (Pieces { rest: options }) {
            let (code, contents) = piece?;
            if let (code::OVERLOAD, [value @ 1..=3]) = (code, contents) {
                overload = *value;
            }
            fields.remember(code, contents);
        }
        let file = if overload & 1 == 0 { &[] } else { file };
        let sname = if overload & 2 == 0 { &[] } else { sname };
        for field in [file, sname] {
            for piece in (Pieces { rest: field }) {
                let (code, contents) = piece?;
                fields.remember(code, contents);
            }
        }
        fields.fields = [options, file, sname];
        Ok(fields)
    }

    /// Notes a piece of an option, in the order in which pieces are joined.
    fn remember(&mut self, code: u8, contents: &'a [u8]) {
        let place = PLACES.get(usize::from(code)).copied().unwrap_or(u8::MAX);
        if let Some(found) = self.found.get_mut(usize::from(place)) {
            let found = found.get_or_insert(Found { first: contents, length: 0 });
            found.length = found.length.saturating_add(contents.len());
        }
    }

    /// Every piece of every option: code and contents.
    fn pieces(&self) -> impl Iterator<Item = (u8, &'a [u8])> {
        // Every piece is `Ok`: `check` has walked the same bytes.
        self.fields.into_iter().flat_map(|field| Pieces { rest: field }.map_while(Result::ok))
    }

    /// The options of these codes that are there, pieces joined.
    pub(super) fn keep(&self, wanted: &Codes) -> KeptOptions {
        if wanted.is_empty() {
            return KeptOptions::default();
        }
        let mut joined: Vec<(u8, Vec<u8>)> = Vec::new();
        for (code, contents) in self.pieces().filter(|(code, _)| wanted.has(*code)) {
            match joined.iter_mut().find(|(other, _)| *other == code) {
                Some((_, pieces)) => pieces.extend_from_slice(contents),
                None => joined.push((code, contents.to_vec())),
            }
        }
        let options: Vec<(u8, &[u8])> =
            joined.iter().map(|(code, contents)| (*code, contents.as_slice())).collect();
        KeptOptions::of(&options)
    }

    /// One of the [remembered](REMEMBERED) options. Its pieces, if there are several, count as one
    /// (RFC 3396).
    pub(super) fn find(&self, wanted: u8) -> Option<Joined<'_>> {
        debug_assert!(REMEMBERED.contains(&wanted), "{wanted} is not remembered");
        let place = PLACES.get(usize::from(wanted)).copied().unwrap_or(u8::MAX);
        let Found { first, length } = (*self.found.get(usize::from(place))?)?;
        Some(Joined { fields: self, code: wanted, first, length })
    }
}

/// One option, joined from its pieces only when its contents are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined<'a> {
    fields: &'a OptionFields<'a>,
    code: u8,
    first: &'a [u8],
    length: usize,
}

impl Joined<'_> {
    /// Bytes of its contents.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Its contents if they are `N` bytes long.
    pub(super) fn fixed<const N: usize>(&self) -> Option<[u8; N]> {
        if self.length != N {
            return None;
        }
        if self.first.len() == N {
            return self.first.try_into().ok();
        }
        let mut contents = [0; N];
        let mut bytes = self.pieces().flatten();
        contents.iter_mut().zip(&mut bytes).for_each(|(to, from)| *to = *from);
        Some(contents)
    }

    /// Its first `length_max` bytes, owned.
    pub(super) fn to_owned_up_to(self, length_max: usize) -> Vec<u8> {
        let mut contents = Vec::with_capacity(self.length.min(length_max));
        for piece in self.pieces() {
            let room = length_max.saturating_sub(contents.len());
            contents.extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        contents
    }

    /// Its contents, owned: without memory of their own if they are short.
    pub(super) fn to_owned(self) -> Octets {
        if self.first.len() == self.length {
            return self.first.into();
        }
        self.to_owned_up_to(self.length).into()
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let wanted = self.code;
        self.fields.pieces().filter(move |(code, _)| *code == wanted).map(|(_, contents)| contents)
    }
}

/// Walks one field. Ends at End, at the field's end, or after the first error.
struct Pieces<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<(u8, &'a [u8]), Reason>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.rest {
                [PAD, tail @ ..] => self.rest = tail,
                [] | [END, ..] => return None,
                [code, length, tail @ ..] => {
                    let Some((contents, tail)) = tail.split_at_checked(usize::from(*length)) else {
                        self.rest = &[];
                        return Some(Err(Reason::OptionsOverrun));
                    };
                    self.rest = tail;
                    return Some(Ok((*code, contents)));
                }
                [_] => {
                    self.rest = &[];
                    return Some(Err(Reason::OptionsOverrun));
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    fn check<'a>(options: &'a [u8], file: &'a [u8], sname: &'a [u8]) -> OptionFields<'a> {
        OptionFields::check(options, file, sname).unwrap()
    }

    #[test]
    fn pieces_are_joined_in_the_order_of_options_file_sname() {
        let fields = check(
            &[61, 1, b'a', 52, 1, 3, 61, 1, b'b', 12, 1, b'x', 61, 0, 255, 61],
            &[61, 2, b'c', b'd', 255],
            &[0, 0, 61, 1, b'e'],
        );
        assert_eq!(&*fields.find(61).unwrap().to_owned(), b"abcde");
        assert_eq!(fields.find(61).unwrap().len(), 5);
        assert_eq!(fields.find(61).unwrap().fixed(), Some(*b"abcde"));
        assert_eq!(fields.find(61).unwrap().fixed::<4>(), None);
        assert_eq!(fields.find(61).unwrap().to_owned_up_to(3), b"abc");
        assert_eq!(&*fields.find(12).unwrap().to_owned(), b"x");
        assert!(fields.find(82).is_none());
    }

    #[test]
    fn fields_that_are_not_overloaded_are_text_and_not_read() {
        for overload in [&[][..], &[52, 1, 0], &[52, 1, 4], &[52, 0], &[52, 2, 1, 1]] {
            let fields = check(overload, &[12; 128], &[12; 64]);
            assert!(fields.find(12).is_none(), "{overload:?}");
        }
        assert!(OptionFields::check(&[52, 1, 1], &[99; 128], &[]).is_err());
        assert!(OptionFields::check(&[52, 1, 2], &[], &[99; 64]).is_err());
    }

    #[test]
    fn an_overload_inside_an_overloaded_field_means_nothing() {
        let fields = check(&[52, 1, 1], &[52, 1, 3, 255], &[12; 64]);
        assert!(fields.find(12).is_none());
    }

    #[test]
    fn an_overrun_is_found_wherever_it_is_and_nothing_after_end_is_read() {
        for options in [&[12][..], &[12, 1], &[12, 255, 0], &[53, 1, 1, 82, 2, 0]] {
            let result = OptionFields::check(options, &[], &[]);
            assert_eq!(result.unwrap_err(), Reason::OptionsOverrun, "{options:?}");
        }
        check(&[255, 12], &[], &[]);
        check(&[], &[], &[]);
    }
}
