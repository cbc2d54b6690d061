//! nftables' netlink messages, as bytes. Pure.
//!
//! Source: `include/uapi/linux/netfilter/{nfnetlink,nf_tables}.h`. Headers are in the machine's byte
//! order, attributes' values in the network's.

/// Type of a batch's first message, and of its last.
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;

/// Flags of a message: it is a request, and wants an acknowledgement.
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
/// What is named is to be made; after what is there already.
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;

/// Rules for IPv4 and IPv6 in one table: `NFPROTO_INET`.
const INET: u8 = 1;

/// Set in the type of an attribute that holds attributes.
const NESTED: u16 = 0x8000;

/// An element of a list.
const LIST_ELEMENT: u16 = 1;

/// Length of a netlink header, and of an attribute's.
const HEADER: usize = 16;

/// What a message does: `NFT_MSG_*`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verb {
    NewTable = 0,
    NewChain = 3,
    NewRule = 6,
    NewSet = 9,
    DeleteElements = 14,
}

/// Messages that take effect together, or not at all.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// What each message is about, for errors.
    subjects: Vec<&'static str>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let mut bytes = Vec::new();
        message(&mut bytes, (BATCH_BEGIN, REQUEST, 0), SUBSYSTEM, 0);
        Self {
            bytes,
            subjects: Vec::new(),
        }
    }

    /// Adds a message about `subject`. Messages are numbered from 1.
    pub(super) fn add(
        &mut self,
        subject: &'static str,
        (verb, flags): (Verb, u16),
        attributes: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.subjects.push(subject);
        let number = u32::try_from(self.subjects.len()).unwrap_or(u32::MAX);
        let start = self.bytes.len();
        let kind = SUBSYSTEM << 8 | verb as u16;
        message(
            &mut self.bytes,
            (kind, REQUEST | ACK | flags, number),
            0,
            INET,
        );
        attributes(&mut Attributes(&mut self.bytes));
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        put(&mut self.bytes, start, &length.to_ne_bytes());
    }

    /// The bytes to send, in one go, and what the messages are about.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<&'static str>) {
        message(&mut self.bytes, (BATCH_END, REQUEST, 0), SUBSYSTEM, 0);
        (self.bytes, self.subjects)
    }
}

/// A netlink header (its length as if nothing followed) and a `struct nfgenmsg`.
fn message(bytes: &mut Vec<u8>, (kind, flags, number): (u16, u16, u32), resource: u16, family: u8) {
    bytes.extend(20_u32.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(number.to_ne_bytes());
    // The kernel fills in who sent it.
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
}

/// Attributes, as they are written behind each other.
#[derive(Debug)]
pub(super) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |inner| inner.0.extend(value));
    }

    /// With its NUL.
    pub(super) fn string(&mut self, kind: u16, value: &str) {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat());
    }

    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn long(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn nested(&mut self, kind: u16, inner: impl FnOnce(&mut Attributes<'_>)) {
        self.attribute(kind | NESTED, inner);
    }

    /// A rule's expressions, or whatever else is a list.
    pub(super) fn element(&mut self, inner: impl FnOnce(&mut Attributes<'_>)) {
        self.nested(LIST_ELEMENT, inner);
    }

    fn attribute(&mut self, kind: u16, inner: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.0.len();
        self.0.extend(0u16.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        inner(&mut Attributes(self.0));
        // Without the padding.
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        put(self.0, start, &length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// What the kernel says of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// The message's number; 0 for the batch as a whole.
    pub(super) number: u32,
    /// 0, or an `errno`.
    pub(super) errno: i32,
}

/// Reads the kernel's answers; what is no answer is left out.
pub(super) fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    /// `NLMSG_ERROR`, which an acknowledgement is too.
    const ERROR: u16 = 2;
    let mut found = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() {
        let [l0, l1, l2, l3, t0, t1, _, _, n0, n1, n2, n3, ..] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        if let (ERROR, Some(errno)) = (u16::from_ne_bytes([t0, t1]), rest.first_chunk::<4>()) {
            found.push(Answer {
                number: u32::from_ne_bytes([n0, n1, n2, n3]),
                errno: i32::from_ne_bytes(*errno).saturating_neg(),
            });
        }
        let next = length.max(HEADER).next_multiple_of(4);
        bytes = bytes.get(next..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_their_length_is_not() {
        let mut bytes = Vec::new();
        let mut attributes = Attributes(&mut bytes);
        attributes.string(3, "ab");
        attributes.nested(4, |inner| inner.number(1, 7));
        let length = |length: u16| length.to_ne_bytes().to_vec();
        let kind = length;
        let mut wanted = [length(7), kind(3), b"ab\0\0".to_vec()].concat();
        wanted.extend([length(12), kind(4 | NESTED)].concat());
        wanted.extend([length(8), kind(1), vec![0, 0, 0, 7]].concat());
        assert_eq!(bytes, wanted);
    }

    #[test]
    fn a_batch_is_framed_and_numbered() {
        let mut batch = Batch::new();
        batch.add("one", (Verb::NewTable, CREATE), |_| {});
        batch.add("two", (Verb::NewChain, 0), |a| a.number(1, 1));
        let (bytes, subjects) = batch.finish();
        assert_eq!(subjects, ["one", "two"]);
        let mut heads = Vec::new();
        let mut rest = &bytes[..];
        while let Some(header) = rest.first_chunk::<16>() {
            let length = u32::from_ne_bytes(header[..4].try_into().unwrap()) as usize;
            let kind = u16::from_ne_bytes(header[4..6].try_into().unwrap());
            let number = u32::from_ne_bytes(header[8..12].try_into().unwrap());
            heads.push((length, kind, number));
            rest = &rest[length..];
        }
        let wanted = [(20, 16, 0), (20, 0xa00, 1), (28, 0xa03, 2), (20, 17, 0)];
        assert_eq!(heads, wanted);
    }

    #[test]
    fn answers_are_read_however_they_come() {
        let answer = |number: u32, errno: i32| {
            let mut bytes = 36u32.to_ne_bytes().to_vec();
            bytes.extend(2u16.to_ne_bytes());
            bytes.extend([0, 0]);
            bytes.extend(number.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend((-errno).to_ne_bytes());
            bytes.extend([0; 16]);
            bytes
        };
        let all = [answer(1, 0), answer(2, 17)].concat();
        let wanted = [(1, 0), (2, 17)].map(|(number, errno)| Answer { number, errno });
        assert_eq!(answers(&all), wanted);
        for cut in 0..all.len() {
            // Short ones are no answers, and nothing is read beyond them.
            assert!(answers(&all[..cut]).len() <= 2);
        }
        assert_eq!(answers(&[0; 64]), []);
    }
}
