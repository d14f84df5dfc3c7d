//! Netlink's framing: messages, headers, attributes, read and written without a pointer.
//!
//! Reading never panics and never reads past what it was given: a length that does not fit ends the
//! iteration. Used for what nftnl has no call for: dumps, notifications, tracked flows.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// The message type of an answer with an error number; 0 in it is an acknowledgement.
pub(crate) const ERROR: u16 = 2;
/// The message type that ends a dump.
pub(crate) const DONE: u16 = 3;
/// In a message of a dump: what is dumped changed meanwhile.
pub(crate) const FLAG_DUMP_INTERRUPTED: u16 = 0x10;
/// Bit of an attribute's type: it holds attributes.
pub(crate) const NESTED: u16 = 0x8000;
/// The subsystem number of nf_tables, the upper byte of a message type.
pub(crate) const SUBSYSTEM_NFTABLES: u8 = 10;
/// What stands there in messages about routing, which have no subsystems.
pub(crate) const SUBSYSTEM_ROUTING: u8 = 0;
/// The subsystem number of connection tracking.
pub(crate) const SUBSYSTEM_TRACKING: u8 = 1;

const HEADER_LENGTH: usize = 16;
const FAMILY_HEADER_LENGTH: usize = 4;
const ATTRIBUTE_HEADER_LENGTH: usize = 4;
/// The bits of an attribute's type that are its number.
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

/// One received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Subsystem and message number, or a control type.
    pub(crate) message_type: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    /// In a notification: whose change it was.
    pub(crate) port_id: u32,
    /// What follows the netlink header.
    pub(crate) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes of a netfilter message, after its family header.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        attributes(self.body.get(FAMILY_HEADER_LENGTH..).unwrap_or_default())
    }

    /// The protocol family of a netfilter message.
    pub(crate) fn family(&self) -> Option<u8> {
        self.body.first().copied()
    }

    /// The error number of an [`ERROR`] message, positive; 0 for an acknowledgement.
    pub(crate) fn error_number(&self) -> Option<i32> {
        if self.message_type != ERROR {
            return None;
        }
        let (number, _) = self.body.split_first_chunk::<4>()?;
        i32::from_ne_bytes(*number).checked_neg()
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attribute<'a> {
    /// Its number, without flags.
    pub(crate) number: u16,
    /// Its contents.
    pub(crate) contents: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes in it.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        attributes(self.contents)
    }

    /// Its contents as a number in network order.
    pub(crate) fn u32(&self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.contents.first_chunk()?))
    }

    /// Its contents as a number in network order.
    pub(crate) fn u64(&self) -> Option<u64> {
        Some(u64::from_be_bytes(*self.contents.first_chunk()?))
    }

    /// Its contents as text, up to the first zero byte.
    pub(crate) fn text(&self) -> &'a [u8] {
        self.contents.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

/// The messages in what one receive gave.
pub(crate) fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = rest.first_chunk::<HEADER_LENGTH>()?;
        let [l0, l1, l2, l3, t0, t1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?;
        let body = rest.get(HEADER_LENGTH..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(Message {
            message_type: u16::from_ne_bytes([t0, t1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            port_id: u32::from_ne_bytes([p0, p1, p2, p3]),
            body,
        })
    })
}

/// The attributes in a stretch of bytes.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    std::iter::from_fn(move || {
        let [l0, l1, t0, t1] = *rest.first_chunk::<ATTRIBUTE_HEADER_LENGTH>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let contents = rest.get(ATTRIBUTE_HEADER_LENGTH..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(Attribute { number: u16::from_ne_bytes([t0, t1]) & ATTRIBUTE_TYPE_MASK, contents })
    })
}

/// Writes requests. Each message must stay small: attributes have 16-bit lengths.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    message_start: usize,
}

impl Writer {
    /// What has been written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins a netfilter message. `version` 1 makes connection tracking honour the family.
    pub(crate) fn begin(
        &mut self,
        (subsystem, number): (u8, u8),
        flags: i32,
        sequence: u32,
        family: u8,
        version: u8,
    ) {
        self.message_start = self.bytes.len();
        // Flags are 16 bits on the wire; the constants of libc are wider.
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&u16::from_be_bytes([subsystem, number]).to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[family, version, 0, 0]);
    }

    /// Ends the message that was begun last.
    pub(crate) fn end(&mut self) {
        let length = u32::try_from(self.bytes.len() - self.message_start).unwrap_or(u32::MAX);
        if let Some(field) = self.bytes.get_mut(self.message_start..self.message_start + 4) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
    }

    /// Adds bytes of a header that is longer than that of netfilter.
    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds an attribute.
    pub(crate) fn attribute(&mut self, number: u16, contents: &[u8]) {
        let start = self.open(number);
        self.bytes.extend_from_slice(contents);
        self.close(start);
    }

    /// Adds an attribute that holds those that `inner` adds.
    pub(crate) fn nest(&mut self, number: u16, inner: impl FnOnce(&mut Self)) {
        let start = self.open(number | NESTED);
        inner(self);
        self.close(start);
    }

    fn open(&mut self, number: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&number.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        if let Some(field) = self.bytes.get_mut(start..start + 2) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut writer = Writer::default();
        writer.begin((SUBSYSTEM_TRACKING, 2), libc::NLM_F_ACK, 7, 2, 1);
        writer.nest(1, |writer| writer.attribute(3, b"abcde"));
        writer.attribute(9, &[0, 0, 1, 2]);
        writer.end();
        writer.begin((SUBSYSTEM_NFTABLES, 13), 0, 8, 1, 0);
        writer.end();
        let read: Vec<Message<'_>> = messages(writer.bytes()).collect();
        let [first, second] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!(first.message_type, 0x0102);
        assert_eq!(first.sequence, 7);
        assert_eq!(first.family(), Some(2));
        let outer: Vec<Attribute<'_>> = first.attributes().collect();
        let [nest, number] = outer.as_slice() else { panic!("{outer:?}") };
        assert_eq!(nest.number, 1);
        assert_eq!(nest.attributes().next().unwrap().contents, b"abcde");
        assert_eq!(number.u32(), Some(0x0102));
        assert_eq!(second.message_type, 0x0a0d);
        assert_eq!(second.attributes().count(), 0);
    }

    #[test]
    fn broken_lengths_end_the_reading() {
        let mut writer = Writer::default();
        writer.begin((SUBSYSTEM_TRACKING, 2), 0, 1, 2, 0);
        writer.attribute(1, &[1; 40]);
        writer.end();
        let whole = writer.bytes().to_vec();
        for end in 0..whole.len() {
            assert_eq!(messages(&whole[..end]).count(), 0);
        }
        for position in 0..whole.len() {
            for value in [0, 1, 3, 4, 15, 16, 255] {
                let mut broken = whole.clone();
                broken[position] = value;
                // Only that it ends and does not panic.
                for message in messages(&broken) {
                    let _ = message.error_number();
                    for attribute in message.attributes() {
                        let _ = (attribute.u32(), attribute.u64(), attribute.text());
                        let _ = attribute.attributes().count();
                    }
                }
            }
        }
    }
}
