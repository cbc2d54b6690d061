//! Masking (RFC 6455 §5.3): payload byte i is XORed with mask byte i mod 4.

/// XORs `data`, whose first byte is the payload's byte `phase`, with `mask`. Returns the phase behind
/// it, 0 to 3.
pub(super) fn apply(data: &mut [u8], mask: [u8; 4], phase: usize) -> usize {
    let mut turned = mask;
    turned.rotate_left(phase % 4);
    // 32 bytes at a time: wide enough for the compiler's vectors.
    let mut wide = [0; 32];
    for (to, from) in wide.iter_mut().zip(turned.iter().cycle()) {
        *to = *from;
    }
    let mut chunks = data.chunks_exact_mut(32);
    for chunk in &mut chunks {
        for (byte, mask) in chunk.iter_mut().zip(&wide) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(&wide) {
        *byte ^= mask;
    }
    (phase + data.len()) % 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_byte_by_byte_at_every_phase_and_length() {
        let mask = [1, 20, 130, 255];
        for phase in 0..4 {
            for len in 0..200 {
                let plain: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
                let mut data = plain.clone();
                let after = apply(&mut data, mask, phase);
                assert_eq!(after, (phase + plain.len()) % 4);
                for (at, (byte, plain)) in data.iter().zip(&plain).enumerate() {
                    assert_eq!(*byte, plain ^ mask[(phase + at) % 4]);
                }
            }
        }
    }
}
