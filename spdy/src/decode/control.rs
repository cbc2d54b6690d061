//! Control frames' payloads.

use super::Decoder;
use crate::error::DecodeError;
use crate::frame::{
    FLAG_FIN, FLAG_UNIDIRECTIONAL, Frame, GOAWAY, HEADERS, PING, RST_STREAM, RstStatus, SETTINGS,
    SYN_REPLY, SYN_STREAM, StreamId, WINDOW_UPDATE,
};
use crate::headers::Headers;

/// Whether a frame's payload starts with a stream's id.
pub(super) fn names_stream(kind: u16) -> bool {
    matches!(kind, SYN_STREAM | SYN_REPLY | RST_STREAM | HEADERS)
}

/// What a head alone can show to be wrong.
pub(super) fn check_head(kind: u16, flags: u8, len: u32) -> Result<(), DecodeError> {
    let fits = match kind {
        SYN_STREAM => len >= 10,
        SYN_REPLY | HEADERS | SETTINGS => len >= 4,
        RST_STREAM | GOAWAY | WINDOW_UPDATE => len == 8,
        PING => len == 4,
        _ => return Err(DecodeError::UnknownType(kind)),
    };
    if !fits {
        return Err(DecodeError::Length { kind, len });
    }
    // spdystream v0.5.1 refuses flags on these three, and on the others passes over those it does
    // not know.
    if matches!(kind, PING | GOAWAY | WINDOW_UPDATE) && flags != 0 {
        return Err(DecodeError::Flags { kind, flags });
    }
    Ok(())
}

impl Decoder {
    /// Reads a whole payload, whose length [`check_head`] has seen.
    pub(super) fn control(
        &mut self,
        kind: u16,
        flags: u8,
        payload: &[u8],
    ) -> Result<Frame, DecodeError> {
        let fin = flags & FLAG_FIN != 0;
        let mut rest = payload;
        let first = number(kind, &mut rest)?;
        let id = || StreamId::new(first & StreamId::MAX).ok_or(DecodeError::ZeroStream(kind));
        Ok(match kind {
            SYN_STREAM => {
                let associated = number(kind, &mut rest)? & StreamId::MAX;
                let Some(([priority, slot], block)) = rest.split_first_chunk() else {
                    return Err(length(kind, payload));
                };
                let headers = self.block(block)?;
                Frame::SynStream {
                    id: id()?,
                    associated,
                    priority: priority >> 5,
                    slot: *slot,
                    fin,
                    unidirectional: flags & FLAG_UNIDIRECTIONAL != 0,
                    headers,
                }
            }
            SYN_REPLY => {
                let headers = self.block(rest)?;
                Frame::SynReply {
                    id: id()?,
                    fin,
                    headers,
                }
            }
            HEADERS => {
                let headers = self.block(rest)?;
                Frame::Headers {
                    id: id()?,
                    fin,
                    headers,
                }
            }
            RST_STREAM => {
                let status = number(kind, &mut rest)?;
                if status == 0 {
                    return Err(DecodeError::Value {
                        what: "status of RST_STREAM",
                        value: 0,
                    });
                }
                Frame::RstStream {
                    id: id()?,
                    status: RstStatus(status),
                }
            }
            SETTINGS => {
                if usize::try_from(first).ok().and_then(|n| n.checked_mul(8)) != Some(rest.len()) {
                    return Err(length(kind, payload));
                }
                Frame::Settings { entries: first }
            }
            PING if first == 0 => {
                return Err(DecodeError::Value {
                    what: "id of PING",
                    value: 0,
                });
            }
            PING => Frame::Ping { id: first },
            GOAWAY => Frame::GoAway {
                last_good: first & StreamId::MAX,
                status: number(kind, &mut rest)?,
            },
            WINDOW_UPDATE => Frame::WindowUpdate {
                id: first & StreamId::MAX,
                delta: number(kind, &mut rest)? & StreamId::MAX,
            },
            _ => return Err(DecodeError::UnknownType(kind)),
        })
    }

    fn block(&mut self, block: &[u8]) -> Result<Headers, DecodeError> {
        // A walker never comes here.
        let inflate = self.inflate.get_or_insert_default();
        let inflated = inflate.block(block, &self.limits)?;
        Headers::parse(&inflated, &self.limits)
    }
}

fn number(kind: u16, payload: &mut &[u8]) -> Result<u32, DecodeError> {
    let (number, rest) = payload
        .split_first_chunk()
        .ok_or_else(|| length(kind, payload))?;
    *payload = rest;
    Ok(u32::from_be_bytes(*number))
}

fn length(kind: u16, payload: &[u8]) -> DecodeError {
    DecodeError::Length {
        kind,
        len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
    }
}
