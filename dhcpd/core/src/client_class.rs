//! Classes of clients: named conditions on what a packet says of its sender, and what follows from them.
//!
//! A class has a client if every one of its conditions holds and, where it has alternatives, all of one of
//! them. It promises to look at foreign bytes only: no length in them is believed beyond their end, and
//! what is malformed matches nothing that it does not plainly say. Matching allocates nothing.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::options::{Codes, code};
use crate::relay_agent::sub_option;
use crate::{Class, HardwareAddress, KeptOptions, OptionSet, limits, relay_agent};

/// A set of classes, by their place in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassSet(u64);

impl ClassSet {
    /// No class.
    pub const NONE: Self = Self(0);

    /// The same with one more class; one beyond [`CLIENT_CLASSES_MAX`](limits::CLIENT_CLASSES_MAX) is
    /// left out.
    #[must_use]
    pub const fn with(self, index: usize) -> Self {
        if index < limits::CLIENT_CLASSES_MAX { Self(self.0 | 1 << index) } else { self }
    }

    /// Whether a class is in it.
    #[must_use]
    pub const fn has(self, index: usize) -> bool {
        index < limits::CLIENT_CLASSES_MAX && self.0 >> index & 1 != 0
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The classes that both have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Its classes, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let index = rest.trailing_zeros() as usize;
            rest &= rest.checked_sub(1)?;
            Some(index)
        })
    }
}

/// A class of clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientClass {
    /// Its name in the file.
    pub name: Box<str>,
    /// What has to hold; all of it.
    pub conditions: Vec<Condition>,
    /// Alternatives, of which one has to hold in all its conditions; empty: there are none to choose from.
    pub any: Vec<Vec<Condition>>,
    /// Options for its clients.
    pub options: OptionSet,
    /// Lifetime of its clients' leases in seconds.
    pub lifetime_seconds: Option<u32>,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The bytes of the hardware address.
    Hardware,
    /// The contents of an option.
    Option(u8),
    /// Option 77: all of it, or one of the pieces of RFC 3004.
    UserClass,
    /// Sub-option 1 of option 82.
    CircuitId,
    /// Sub-option 2 of option 82.
    RemoteId,
    /// Whether the device is registered.
    Registration,
    /// The role of its registration.
    Role,
}

/// One condition: it holds if one of its tests does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What it looks at.
    pub attribute: Attribute,
    /// The tests; none of them: it does not hold.
    pub tests: Vec<Test>,
}

/// What bytes are held against. What is not there passes no test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// They are there.
    Present,
    /// They are these.
    Is(Box<[u8]>),
    /// They begin with these.
    Begins(Box<[u8]>),
    /// These are somewhere in them.
    Contains(Box<[u8]>),
    /// They are numbers of two bytes, and this is one of them.
    HasNumber16(u16),
    /// Of [`Attribute::Registration`]: the device is of this class.
    IsOf(Class),
}

/// What is known of a client when its classes are found.
#[derive(Clone, Copy, Debug)]
pub struct Traits<'a> {
    /// Its hardware address.
    pub hardware: HardwareAddress,
    /// Its options, as far as classes ask for them.
    pub options: &'a KeptOptions,
    /// The contents of option 82; that of its last relayed packet if this one came without a relay.
    pub relay_agent: Option<&'a [u8]>,
    /// Whether it is registered.
    pub class: Class,
    /// The role of its valid registration.
    pub role: Option<&'a str>,
}

impl ClientClass {
    /// Whether a client is in the class.
    #[must_use]
    pub fn has(&self, client: &Traits<'_>) -> bool {
        let all = |conditions: &[Condition]| conditions.iter().all(|one| one.holds(client));
        all(&self.conditions) && (self.any.is_empty() || self.any.iter().any(|one| all(one)))
    }

    fn all_conditions(&self) -> impl Iterator<Item = &Condition> {
        self.conditions.iter().chain(self.any.iter().flatten())
    }
}

/// The classes that a client is in.
#[must_use]
pub fn classes_of(classes: &[ClientClass], client: &Traits<'_>) -> ClassSet {
    let numbered = classes.iter().enumerate();
    numbered
        .filter(|(_, class)| class.has(client))
        .fold(ClassSet::NONE, |set, (index, _)| set.with(index))
}

/// The options that classes look at: what the decoder keeps of each packet.
#[must_use]
pub fn options_looked_at(classes: &[ClientClass]) -> Codes {
    let mut codes = Codes::default();
    for condition in classes.iter().flat_map(ClientClass::all_conditions) {
        match condition.attribute {
            Attribute::Option(code) => codes.add(code),
            Attribute::UserClass => codes.add(code::USER_CLASS),
            Attribute::Hardware
            | Attribute::CircuitId
            | Attribute::RemoteId
            | Attribute::Registration
            | Attribute::Role => {}
        }
    }
    codes
}

impl Condition {
    fn holds(&self, client: &Traits<'_>) -> bool {
        let of_relay = |code| relay_agent::find(client.relay_agent?, code);
        match self.attribute {
            Attribute::Hardware => self.passes(Some(client.hardware.bytes())),
            Attribute::Option(code) => self.passes(client.options.get(code)),
            Attribute::UserClass => {
                let contents = client.options.get(code::USER_CLASS);
                self.passes(contents)
                    || pieces(contents.unwrap_or_default()).any(|piece| self.passes(Some(piece)))
            }
            Attribute::CircuitId => self.passes(of_relay(sub_option::CIRCUIT_ID)),
            Attribute::RemoteId => self.passes(of_relay(sub_option::REMOTE_ID)),
            Attribute::Registration => self.tests.contains(&Test::IsOf(client.class)),
            Attribute::Role => self.passes(client.role.map(str::as_bytes)),
        }
    }

    fn passes(&self, bytes: Option<&[u8]>) -> bool {
        bytes.is_some_and(|bytes| self.tests.iter().any(|test| test.passes(bytes)))
    }
}

impl Test {
    fn passes(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Is(wanted) => *bytes == **wanted,
            Self::Begins(wanted) => bytes.starts_with(wanted),
            Self::Contains(wanted) => {
                !wanted.is_empty() && bytes.windows(wanted.len()).any(|window| *window == **wanted)
            }
            Self::HasNumber16(wanted) => {
                let (numbers, rest) = bytes.as_chunks::<2>();
                rest.is_empty() && numbers.contains(&wanted.to_be_bytes())
            }
            Self::IsOf(_) => false,
        }
    }
}

/// The pieces of a user class option (RFC 3004 section 4), each behind its length; none if they do not
/// fill it exactly.
fn pieces(contents: &[u8]) -> impl Iterator<Item = &[u8]> {
    let fits = {
        let mut rest = contents;
        loop {
            match rest {
                [] => break true,
                [length, tail @ ..] => match tail.get(usize::from(*length)..) {
                    Some(tail) => rest = tail,
                    None => break false,
                },
            }
        }
    };
    let mut rest = if fits { contents } else { &[] };
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first()?;
        let (piece, tail) = tail.split_at_checked(usize::from(*length))?;
        rest = tail;
        Some(piece)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say so by panicking")]
mod tests {
    use super::*;

    fn traits<'a>(options: &'a KeptOptions, relay_agent: Option<&'a [u8]>) -> Traits<'a> {
        Traits {
            hardware: "00:1b:78:00:00:01".parse().unwrap(),
            options,
            relay_agent,
            class: Class::Registered,
            role: Some("staff"),
        }
    }

    fn one(attribute: Attribute, test: Test) -> ClientClass {
        let conditions = vec![Condition { attribute, tests: vec![test] }];
        ClientClass { conditions, ..ClientClass::default() }
    }

    #[test]
    fn each_attribute_is_held_against_its_own_bytes() {
        let options = KeptOptions::of(&[
            (60, b"Cisco Systems, Inc. IP Phone"),
            (77, b"\x04iPXE\x03lab"),
            (93, &[0, 7, 0, 9]),
        ]);
        let relay: &[u8] = &[1, 4, b'g', b'e', b'-', b'1', 2, 2, 0xaa, 0xbb];
        let client = traits(&options, Some(relay));
        let bytes = |text: &[u8]| -> Box<[u8]> { text.into() };
        for (attribute, test, expected) in [
            (Attribute::Hardware, Test::Begins(bytes(&[0, 0x1b, 0x78])), true),
            (Attribute::Hardware, Test::Begins(bytes(&[0, 0x1b, 0x79])), false),
            (Attribute::Option(60), Test::Begins(bytes(b"Cisco")), true),
            (Attribute::Option(60), Test::Contains(bytes(b"IP Phone")), true),
            (Attribute::Option(60), Test::Is(bytes(b"Cisco")), false),
            (Attribute::Option(61), Test::Present, false),
            (Attribute::UserClass, Test::Is(bytes(b"iPXE")), true),
            (Attribute::UserClass, Test::Is(bytes(b"lab")), true),
            (Attribute::UserClass, Test::Is(bytes(b"la")), false),
            (Attribute::Option(93), Test::HasNumber16(9), true),
            (Attribute::Option(93), Test::HasNumber16(0x0700), false),
            (Attribute::CircuitId, Test::Is(bytes(b"ge-1")), true),
            (Attribute::RemoteId, Test::Begins(bytes(&[0xaa])), true),
            (Attribute::RemoteId, Test::Is(bytes(b"ge-1")), false),
            (Attribute::Registration, Test::IsOf(Class::Registered), true),
            (Attribute::Registration, Test::IsOf(Class::Unregistered), false),
            (Attribute::Role, Test::Is(bytes(b"staff")), true),
        ] {
            let class = one(attribute, test.clone());
            assert_eq!(class.has(&client), expected, "{attribute:?} {test:?}");
        }
    }

    #[test]
    fn all_conditions_and_one_alternative_have_to_hold() {
        let options = KeptOptions::of(&[(60, b"a"), (12, b"b")]);
        let client = traits(&options, None);
        let is = |code, text: &[u8]| Condition {
            attribute: Attribute::Option(code),
            tests: vec![Test::Is(b"x"[..].into()), Test::Is(text.into())],
        };
        let class = |conditions, any| ClientClass { conditions, any, ..ClientClass::default() };
        assert!(class(vec![], vec![]).has(&client), "what asks for nothing has everybody");
        assert!(class(vec![is(60, b"a"), is(12, b"b")], vec![]).has(&client));
        assert!(!class(vec![is(60, b"a"), is(12, b"c")], vec![]).has(&client));
        assert!(
            class(vec![is(60, b"a")], vec![vec![is(12, b"c")], vec![is(12, b"b")]]).has(&client)
        );
        assert!(!class(vec![is(60, b"a")], vec![vec![is(12, b"c")]]).has(&client));
        assert!(!class(vec![is(60, b"z")], vec![vec![is(12, b"b")]]).has(&client));
    }

    /// Every truncation and every value of each byte: nothing panics, and what does not fit is no piece.
    #[test]
    fn hostile_bytes_match_nothing_that_they_do_not_say() {
        let wanted = [
            one(Attribute::UserClass, Test::Is(b"iPXE"[..].into())),
            one(Attribute::CircuitId, Test::Contains(b"ge"[..].into())),
            one(Attribute::Option(93), Test::HasNumber16(7)),
        ];
        let user_class = b"\x04iPXE\x03lab".as_slice();
        let relay = [1, 4, b'g', b'e', b'-', b'1', 2, 2, 0xaa, 0xbb];
        for cut in 0..=user_class.len() {
            let options = KeptOptions::of(&[(77, &user_class[..cut]), (93, &user_class[..cut])]);
            let client = traits(&options, relay.get(..cut));
            let found = classes_of(&wanted, &client);
            assert_eq!(found.has(0), cut == 5 || cut == 9, "cut at {cut}");
            assert_eq!(found.has(1), cut >= 6, "cut at {cut}");
            assert!(!found.has(2));
        }
        for place in 0..relay.len() {
            for value in 0..=u8::MAX {
                let mut bytes = relay;
                bytes[place] = value;
                let options = KeptOptions::of(&[(77, &bytes), (93, &bytes)]);
                let _looked_at = classes_of(&wanted, &traits(&options, Some(&bytes)));
            }
        }
    }

    #[test]
    fn sets_of_classes() {
        let set = ClassSet::NONE.with(0).with(5).with(63).with(64);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 5, 63]);
        assert!(set.has(5) && !set.has(4) && !set.has(64) && !set.is_empty());
        assert_eq!(set.and(ClassSet::NONE.with(5).with(6)).iter().collect::<Vec<_>>(), [5]);
        assert_eq!(ClassSet::NONE.iter().count(), 0);
    }
}
