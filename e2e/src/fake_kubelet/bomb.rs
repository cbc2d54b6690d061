//! A header block that is small on the wire and large when it is inflated.

/// Compressed bytes of the block.
const BYTES: usize = 40 << 10;

/// Length that the one value of the block claims.
const CLAIMED: u32 = 6 << 20;

/// A HEADERS frame for a stream of a connection that has already sent a header block, so that the
/// zlib stream's own header is behind it.
pub(super) fn headers(stream: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    // RFC 1951 3.2.6: not the last block, fixed codes.
    bits.push(0, 1);
    bits.push(1, 2);
    // One header, a name of one byte, and a long value.
    let name = [0, 0, 0, 1, 0, 0, 0, 1, b'a'];
    for literal in name.into_iter().chain(CLAIMED.to_be_bytes()).chain([0]) {
        bits.code(0x30 + u16::from(literal), 8);
    }
    while bits.bytes.len() < BYTES {
        // Length 258 (code 285), distance 1 (code 0): 258 bytes more of the same, in 13 bits.
        bits.code(0b1100_0101, 8);
        bits.code(0, 5);
    }
    let length = u32::try_from(bits.bytes.len() + 4).unwrap_or_default();
    let [_, length @ ..] = length.to_be_bytes();
    let head = [0x80, 3, 0, 8, 0];
    [&head[..], &length, &stream.to_be_bytes(), &bits.bytes].concat()
}

/// Bits, packed from the lowest of each byte.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    partial: u8,
    count: u8,
}

impl Bits {
    fn bit(&mut self, bit: bool) {
        self.partial |= u8::from(bit) << self.count;
        self.count += 1;
        if self.count == 8 {
            self.bytes.push(std::mem::take(&mut self.partial));
            self.count = 0;
        }
    }

    /// A number, lowest bit first.
    fn push(&mut self, value: u16, width: u8) {
        (0..width).for_each(|at| self.bit(value >> at & 1 == 1));
    }

    /// A Huffman code, highest bit first. Literals above 143 have other codes than these.
    fn code(&mut self, value: u16, width: u8) {
        (0..width)
            .rev()
            .for_each(|at| self.bit(value >> at & 1 == 1));
    }
}
