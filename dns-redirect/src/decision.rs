//! What a question gets: a lie, nothing, the truth, or a refusal.
//!
//! Pure: the same question always gets the same decision. It promises that a name is answered
//! truly only if it is the portal's or in the walled garden, and that no other question ever
//! reaches an upstream resolver. It knows no wire format but that of names, no sockets, no clock,
//! and no type of any DNS library.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fmt;

/// Bytes of a name on the wire, without the root's (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 254;
/// Bytes of a label (RFC 1035, section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// The opcode of an ordinary question (RFC 1035, section 4.1.1).
const OPCODE_QUERY: u8 = 0;
/// The class of the Internet (RFC 1035, section 3.2.4).
const CLASS_IN: u16 = 1;
/// An IPv4 address (RFC 1035, section 3.2.2).
const TYPE_A: u16 = 1;
/// An incremental zone transfer (RFC 1995).
const TYPE_IXFR: u16 = 251;
/// A zone transfer (RFC 5936).
const TYPE_AXFR: u16 = 252;
/// Any type (RFC 1035, section 3.2.3; RFC 8482).
const TYPE_ANY: u16 = 255;

/// Names that do not exist for an unregistered host, and why somebody asks for them.
const NAMES_DENIED: [&str; 3] = [
    // Firefox: "may I turn on DNS over HTTPS by myself?" A negative answer says no.
    "use-application-dns.net",
    // iCloud Private Relay: a quick negative answer turns it off for this network. Silence or a lie
    // makes the device wait.
    "mask.icloud.com",
    "mask-h2.icloud.com",
];

/// A domain name, absolute, in lower case. Labels may hold any byte (RFC 2181, section 11).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DomainName(Box<[u8]>);

impl DomainName {
    /// The name with these labels, the root's not among them. `None` if a label is empty or longer
    /// than 63 bytes, or the name too long.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut bytes = Vec::with_capacity(64);
        for label in labels {
            if label.is_empty() || label.len() > LABEL_BYTES_MAX {
                return None;
            }
            bytes.push(u8::try_from(label.len()).ok()?);
            bytes.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        (bytes.len() <= NAME_BYTES_MAX).then(|| Self(bytes.into_boxed_slice()))
    }

    /// The name written as text with dots, with or without the final one. `None` if it is no name.
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() { None } else { Self::from_labels(text.split('.').map(str::as_bytes)) }
    }

    /// The name as on the wire, in lower case, without the root's label.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The names above this one, nearest first, the root's not among them.
    fn above(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let (length, _) = rest.split_first()?;
            rest = rest.get(1 + usize::from(*length)..)?;
            (!rest.is_empty()).then_some(rest)
        })
    }
}

impl std::borrow::Borrow<[u8]> for DomainName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// The name as text, every byte that is not plain ASCII escaped, so that it is fit for a log.
impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest: &[u8] = &self.0;
        if rest.is_empty() {
            return f.write_str(".");
        }
        while let Some((length, after)) = rest.split_first() {
            let Some((label, next)) = after.split_at_checked(usize::from(*length)) else { break };
            write!(f, "{}.", label.escape_ascii())?;
            rest = next;
        }
        Ok(())
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The one question of a message.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What is asked about.
    pub name: &'a DomainName,
    /// The record type, by its number.
    pub record_type: u16,
    /// The class, by its number.
    pub class: u16,
}

/// What of a client's message the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The opcode, by its number.
    pub opcode: u8,
    /// The EDNS version; `None` if the message has no OPT record.
    pub edns_version: Option<u8>,
    /// The question; `None` if there is not exactly one.
    pub question: Option<Question<'a>>,
}

/// What a question gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The portal's address.
    Lie,
    /// NOERROR without records: the name has none of this type.
    NoData,
    /// NXDOMAIN.
    NoSuchName,
    /// What the upstream resolver says.
    Forward,
    /// An error.
    Refuse(Refusal),
}

/// Why a question gets an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An EDNS version that we do not speak: BADVERS (RFC 6891, section 6.1.3).
    EdnsVersion,
    /// An opcode other than QUERY: NOTIMP.
    Opcode,
    /// Not exactly one question: FORMERR (RFC 9619).
    QuestionCount,
    /// A class other than IN: REFUSED.
    Class,
    /// A zone transfer: REFUSED.
    ZoneTransfer,
}

/// Which names are answered truly. Everything else is fixed.
#[derive(Clone, Debug)]
pub struct Rules {
    denied: BTreeSet<DomainName>,
    names: BTreeSet<DomainName>,
    below: BTreeSet<DomainName>,
}

impl Rules {
    /// Rules by which `names`, and every name below one of `below`, are answered truly.
    pub fn new(
        names: impl IntoIterator<Item = DomainName>,
        below: impl IntoIterator<Item = DomainName>,
    ) -> Self {
        Self {
            denied: NAMES_DENIED.iter().filter_map(|name| DomainName::from_text(name)).collect(),
            names: names.into_iter().collect(),
            below: below.into_iter().collect(),
        }
    }

    /// Whether `name` is answered truly for its own sake, and not only because a wildcard covers it.
    pub fn spells_out(&self, name: &DomainName) -> bool {
        self.names.contains(name)
    }

    /// The entry by which `name` is answered truly: itself, or the nearest wildcard, without its star.
    pub fn entry(&self, name: &DomainName) -> Option<&DomainName> {
        let above = || name.above().find_map(|name| self.below.get(name));
        self.names.get(name).or_else(above)
    }

    /// What `query` gets.
    ///
    /// The order is that of the faults: first what makes the rest of the message meaningless. The
    /// denied names come before the walled garden, so that `*.icloud.com` in the garden does not
    /// turn Private Relay on.
    pub fn decide(&self, query: &Query<'_>) -> Decision {
        if query.edns_version.is_some_and(|version| version > 0) {
            return Decision::Refuse(Refusal::EdnsVersion);
        }
        if query.opcode != OPCODE_QUERY {
            return Decision::Refuse(Refusal::Opcode);
        }
        let Some(question) = query.question else {
            return Decision::Refuse(Refusal::QuestionCount);
        };
        if question.class != CLASS_IN {
            return Decision::Refuse(Refusal::Class);
        }
        if matches!(question.record_type, TYPE_AXFR | TYPE_IXFR) {
            return Decision::Refuse(Refusal::ZoneTransfer);
        }
        // A name that does not exist has nothing below it either (RFC 8020).
        if self.denied.contains(question.name)
            || question.name.above().any(|name| self.denied.contains(name))
        {
            return Decision::NoSuchName;
        }
        if self.names.contains(question.name)
            || question.name.above().any(|name| self.below.contains(name))
        {
            return Decision::Forward;
        }
        match question.record_type {
            TYPE_A | TYPE_ANY => Decision::Lie,
            _ => Decision::NoData,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const AAAA: u16 = 28;
    const HTTPS: u16 = 65;
    const SVCB: u16 = 64;
    const CHAOS: u16 = 3;

    fn rules() -> Rules {
        let name = |text| DomainName::from_text(text).unwrap();
        Rules::new(
            [name("register.campus.example"), name("sso.example")],
            [name("idp.example"), name("icloud.com")],
        )
    }

    #[test]
    fn every_question_gets_what_the_table_says() {
        use Decision::{Forward, Lie, NoData, NoSuchName, Refuse};
        #[rustfmt::skip]
        let table: &[(&str, u16, Decision)] = &[
            // name                              type       decision
            ("www.example.edu",                  TYPE_A,    Lie),
            ("www.example.edu",                  TYPE_ANY,  Lie),
            ("www.example.edu",                  AAAA,      NoData),
            ("www.example.edu",                  HTTPS,     NoData),
            ("www.example.edu",                  SVCB,      NoData),
            ("www.example.edu",                  2,         NoData),
            ("www.example.edu",                  15,        NoData),
            ("www.example.edu",                  65_280,    NoData),
            ("www.example.edu",                  TYPE_AXFR, Refuse(Refusal::ZoneTransfer)),
            ("www.example.edu",                  TYPE_IXFR, Refuse(Refusal::ZoneTransfer)),
            (".",                                TYPE_A,    Lie),
            (".",                                2,         NoData),
            // Probes are lied to like every other name.
            ("captive.apple.com",                TYPE_A,    Lie),
            ("connectivitycheck.gstatic.com",    TYPE_A,    Lie),
            ("www.msftconnecttest.com",          TYPE_A,    Lie),
            ("dns.msftncsi.com",                 TYPE_A,    Lie),
            ("detectportal.firefox.com",         AAAA,      NoData),
            // The portal and the walled garden.
            ("register.campus.example",          TYPE_A,    Forward),
            ("REGISTER.Campus.Example",          TYPE_A,    Forward),
            ("register.campus.example",          AAAA,      Forward),
            ("register.campus.example",          HTTPS,     Forward),
            ("register.campus.example",          TYPE_ANY,  Forward),
            ("register.campus.example",          TYPE_AXFR, Refuse(Refusal::ZoneTransfer)),
            ("x.register.campus.example",        TYPE_A,    Lie),
            ("campus.example",                   TYPE_A,    Lie),
            ("sso.example",                      TYPE_A,    Forward),
            ("xsso.example",                     TYPE_A,    Lie),
            ("login.idp.example",                TYPE_A,    Forward),
            ("a.b.c.idp.example",                AAAA,      Forward),
            ("idp.example",                      TYPE_A,    Lie),
            ("evilidp.example",                  TYPE_A,    Lie),
            ("login.idp.example.evil",           TYPE_A,    Lie),
            // Denied names, which the garden does not open.
            ("use-application-dns.net",          TYPE_A,    NoSuchName),
            ("use-application-dns.net",          AAAA,      NoSuchName),
            ("Use-Application-DNS.net",          TYPE_A,    NoSuchName),
            ("www.use-application-dns.net",      TYPE_A,    NoSuchName),
            ("mask.icloud.com",                  TYPE_A,    NoSuchName),
            ("mask.icloud.com",                  HTTPS,     NoSuchName),
            ("mask-h2.icloud.com",               TYPE_A,    NoSuchName),
            ("mask-h2.icloud.com",               HTTPS,     NoSuchName),
            ("www.icloud.com",                   TYPE_A,    Forward),
            ("unmask.icloud.com",                TYPE_A,    Forward),
            ("net",                              TYPE_A,    Lie),
        ];
        let rules = rules();
        for (text, record_type, expected) in table {
            let name = if *text == "." {
                DomainName::from_labels([]).unwrap()
            } else {
                DomainName::from_text(text).unwrap()
            };
            let question = Question { name: &name, record_type: *record_type, class: CLASS_IN };
            for edns_version in [None, Some(0)] {
                let query = Query { opcode: 0, edns_version, question: Some(question) };
                assert_eq!(rules.decide(&query), *expected, "{text} {record_type}");
            }
        }
    }

    #[test]
    fn faults_of_the_message_come_before_its_question() {
        let rules = rules();
        let name = DomainName::from_text("sso.example").unwrap();
        let question = |class| Some(Question { name: &name, record_type: TYPE_A, class });
        #[rustfmt::skip]
        let table = [
            // opcode, EDNS, question, refusal
            (0,  Some(1),   question(CLASS_IN), Refusal::EdnsVersion),
            (0,  Some(255), None,               Refusal::EdnsVersion),
            (5,  Some(1),   question(CLASS_IN), Refusal::EdnsVersion),
            (1,  None,      question(CLASS_IN), Refusal::Opcode),
            (2,  None,      None,               Refusal::Opcode),
            (4,  Some(0),   question(CLASS_IN), Refusal::Opcode),
            (5,  None,      question(CLASS_IN), Refusal::Opcode),
            (15, None,      question(CHAOS),    Refusal::Opcode),
            (0,  None,      None,               Refusal::QuestionCount),
            (0,  Some(0),   None,               Refusal::QuestionCount),
            (0,  None,      question(CHAOS),    Refusal::Class),
            (0,  None,      question(4),        Refusal::Class),
            (0,  None,      question(254),      Refusal::Class),
            (0,  None,      question(255),      Refusal::Class),
            (0,  None,      question(0),        Refusal::Class),
        ];
        for (opcode, edns_version, question, expected) in table {
            let query = Query { opcode, edns_version, question };
            assert_eq!(rules.decide(&query), Decision::Refuse(expected), "{query:?}");
        }
    }

    #[test]
    fn without_a_garden_nothing_is_forwarded() {
        let rules = Rules::new([], []);
        for text in ["register.campus.example", "10.0.0.80", "localhost"] {
            let name = DomainName::from_text(text).unwrap();
            let question = Some(Question { name: &name, record_type: TYPE_A, class: CLASS_IN });
            let query = Query { opcode: 0, edns_version: None, question };
            assert_eq!(rules.decide(&query), Decision::Lie, "{text}");
        }
    }

    #[test]
    fn a_dot_inside_a_label_is_not_a_border() {
        let rules = rules();
        let name = DomainName::from_labels([b"login.idp".as_slice(), b"example"]).unwrap();
        let question = Some(Question { name: &name, record_type: TYPE_A, class: CLASS_IN });
        let query = Query { opcode: 0, edns_version: None, question };
        assert_eq!(rules.decide(&query), Decision::Lie);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long_label = "a".repeat(64);
        let long_name = vec!["abcdefg"; 32].join(".");
        for text in ["", ".", "..", "a..b", ".a", long_label.as_str(), long_name.as_str()] {
            assert!(DomainName::from_text(text).is_none(), "{text:?}");
        }
        assert!(DomainName::from_text(&"a".repeat(63)).is_some());
        assert_eq!(DomainName::from_text("A.b.").unwrap().to_string(), "a.b.");
    }

    #[test]
    fn a_name_in_a_log_is_escaped() {
        let name = DomainName::from_labels([b"a\n\x1b[31m".as_slice(), b"\xff"]).unwrap();
        assert_eq!(name.to_string(), "a\\n\\x1b[31m.\\xff.");
    }
}
