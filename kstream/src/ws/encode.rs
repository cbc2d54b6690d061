//! Frame heads.

use super::Opcode;

/// A frame's head: 2 to 14 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    bytes: [u8; 14],
    len: u8,
}

impl Head {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        if let Some(room) = self.bytes.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += u8::try_from(bytes.len()).unwrap_or_default();
        }
    }
}

/// The head of a frame of `len` bytes of payload, with the shortest length field. A client gives a
/// mask, and masks the payload itself.
pub fn encode_head(opcode: Opcode, fin: bool, len: u64, mask: Option<[u8; 4]>) -> Head {
    let mut head = Head {
        bytes: [0; 14],
        len: 0,
    };
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let first = if fin {
        0x80 | opcode as u8
    } else {
        opcode as u8
    };
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..=125), _) => head.push(&[first, masked | len]),
        (_, Ok(len)) => {
            head.push(&[first, masked | 126]);
            head.push(&len.to_be_bytes());
        }
        _ => {
            head.push(&[first, masked | 127]);
            head.push(&len.to_be_bytes());
        }
    }
    if let Some(mask) = mask {
        head.push(&mask);
    }
    head
}
