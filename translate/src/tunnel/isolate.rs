//! Reads the SPDY inside a tunnel, and takes the text of error streams out.
//!
//! Sources: client-go `tools/portforward/portforward.go` (opens an error and a data stream for each
//! connection; any text on the error stream closes everything), cri-streaming
//! `portforward/httpstream.go` (what is written on the error stream, and when both are reset).

use std::collections::BTreeMap;
use std::ops::Range;

use streamway_kstream::portforward::{PortForwardStream, StreamKind};
use streamway_spdy::{
    self as spdy, DecodeError, Decoder, Event, Frame, Limits, RstStatus, StreamId,
};

use super::Refusals;
use crate::Refusal;

/// Connections that are kept track of at a time. Beyond that the error streams of new ones go
/// through as they are.
const MAX_CONNECTIONS: usize = 4096;

/// Text that is kept of one refusal.
const MAX_TEXT: usize = 4 << 10;

/// Refusals that wait to be reported; more are counted by nobody but their own streams' end.
const MAX_REFUSALS: usize = 64;

/// What goes to the client: bytes of ours, then a range of the upstream's.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    pub(super) before: &'a [u8],
    pub(super) range: Range<usize>,
}

#[derive(Debug)]
pub(super) struct Isolation {
    client: Decoder,
    upstream: Decoder,
    /// By the connection's request id.
    connections: BTreeMap<u64, Connection>,
    errors: BTreeMap<StreamId, u64>,
    data: BTreeMap<StreamId, u64>,
    pub(super) refusals: Refusals,
}

#[derive(Debug)]
struct Connection {
    port: u16,
    error: Option<StreamId>,
    data: Option<StreamId>,
    text: Vec<u8>,
}

impl Isolation {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            client: Decoder::new(limits.clone()),
            upstream: Decoder::new_walker(limits),
            connections: BTreeMap::new(),
            errors: BTreeMap::new(),
            data: BTreeMap::new(),
            refusals: Refusals::new(),
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Learns from what the client sends which stream is which.
    pub(super) fn client_bytes(&mut self, mut input: &[u8]) -> Result<(), DecodeError> {
        while !input.is_empty() {
            let decoded = self.client.decode(input)?;
            match decoded.event {
                Some(Event::Control {
                    frame: Frame::SynStream { id, headers, .. },
                    ..
                }) => {
                    let pairs = headers.iter();
                    if let Ok(stream) = PortForwardStream::parse(id.get(), pairs) {
                        self.opened(id, &stream);
                    }
                }
                Some(Event::Control {
                    frame: Frame::RstStream { id, .. },
                    ..
                }) => self.ended(id),
                None if decoded.consumed == 0 => return Ok(()),
                _ => {}
            }
            input = input.get(decoded.consumed..).unwrap_or_default();
        }
        Ok(())
    }

    /// Hands on what the upstream sends, in order, without the text of error streams.
    pub(super) fn upstream_bytes(
        &mut self,
        input: &[u8],
        mut pass: impl FnMut(Pass<'_>),
    ) -> Result<(), DecodeError> {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            let decoded = self.upstream.decode(rest)?;
            match decoded.event {
                Some(Event::Data {
                    stream,
                    range,
                    end,
                    fin,
                    ..
                }) => {
                    let text = rest.get(range.clone()).unwrap_or_default();
                    if self.errors.contains_key(&stream) {
                        self.error_run(stream, text, end && fin, &mut pass);
                    } else {
                        // Each run as a frame of its own, so that a frame of ours can follow it.
                        let fin = end && fin;
                        let len = u32::try_from(range.len()).unwrap_or_default();
                        if len > 0 || fin {
                            let head = spdy::data_head(stream, len, fin);
                            pass(Pass {
                                before: &head,
                                range: at + range.start..at + range.end,
                            });
                        }
                        if fin {
                            self.data_ended(stream);
                        }
                    }
                }
                Some(Event::Opaque {
                    head,
                    stream,
                    range,
                    start,
                    end,
                    kind,
                    ..
                }) => {
                    let before: &[u8] = if start { &head } else { &[] };
                    pass(Pass {
                        before,
                        range: at + range.start..at + range.end,
                    });
                    if let (true, spdy::frame::RST_STREAM, Some(id)) = (end, kind, stream) {
                        self.ended(id);
                    }
                }
                None if decoded.consumed == 0 => return Ok(()),
                _ => {}
            }
            at += decoded.consumed;
        }
        Ok(())
    }

    fn opened(&mut self, id: StreamId, stream: &PortForwardStream) {
        let request = u64::from(stream.request_id);
        if !self.connections.contains_key(&request) && self.connections.len() >= MAX_CONNECTIONS {
            return;
        }
        let connection = self
            .connections
            .entry(request)
            .or_insert_with(|| Connection {
                port: stream.port,
                error: None,
                data: None,
                text: Vec::new(),
            });
        match stream.kind {
            StreamKind::Error => {
                connection.error = Some(id);
                self.errors.insert(id, request);
            }
            StreamKind::Data => {
                connection.data = Some(id);
                self.data.insert(id, request);
            }
        }
    }

    /// A run of an error stream. The first text resets the connection's data stream; the end of the
    /// error stream goes through, without the text.
    fn error_run(&mut self, id: StreamId, text: &[u8], fin: bool, pass: &mut impl FnMut(Pass<'_>)) {
        let request = self.errors.get(&id).copied();
        if let Some(connection) = request.and_then(|request| self.connections.get_mut(&request))
            && !text.is_empty()
        {
            let first = connection.text.is_empty();
            let room = MAX_TEXT - connection.text.len().min(MAX_TEXT);
            connection
                .text
                .extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
            if let Some(data) = connection.data.filter(|_| first) {
                let mut reset = Vec::with_capacity(16);
                spdy::rst_stream(&mut reset, data, RstStatus::CANCEL);
                pass(Pass {
                    before: &reset,
                    range: 0..0,
                });
            }
        }
        if fin {
            pass(Pass {
                before: &spdy::data_head(id, 0, true),
                range: 0..0,
            });
            self.ended(id);
        }
    }

    /// A stream is over for both sides.
    fn ended(&mut self, id: StreamId) {
        if let Some(request) = self.errors.remove(&id) {
            self.report(request);
            if let Some(connection) = self.connections.get_mut(&request) {
                connection.error = None;
            }
            self.forget(request);
        }
        self.data_ended(id);
    }

    fn data_ended(&mut self, id: StreamId) {
        if let Some(request) = self.data.remove(&id) {
            if let Some(connection) = self.connections.get_mut(&request) {
                connection.data = None;
            }
            self.forget(request);
        }
    }

    fn forget(&mut self, request: u64) {
        let gone =
            |connection: &Connection| connection.error.is_none() && connection.data.is_none();
        if self.connections.get(&request).is_some_and(gone) {
            self.connections.remove(&request);
        }
    }

    fn report(&mut self, request: u64) {
        let Some(connection) = self.connections.get_mut(&request) else {
            return;
        };
        if connection.text.is_empty() || self.refusals.len() >= MAX_REFUSALS {
            return;
        }
        let text = String::from_utf8_lossy(&connection.text).into_owned();
        connection.text = Vec::new();
        self.refusals.push_back(Refusal {
            port: connection.port,
            text,
        });
    }
}
