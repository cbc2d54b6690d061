//! What a peer may make us hold.

/// Limits of one connection. A frame beyond one of them ends the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest payload of a control frame in bytes, compressed. Default 64 KiB; spdystream takes
    /// 16 MiB. It is collected as it arrives, never allocated on the announced length.
    pub max_control_payload: u32,
    /// Most headers in a block. Default 128; Kubernetes sends at most four.
    pub max_headers: u32,
    /// Longest header block in bytes, inflated. Default 64 KiB. A few hundred compressed bytes can
    /// stand for megabytes (CVE-2026-35469), so inflating stops here.
    pub max_header_block: usize,
    /// Longest payload of a DATA frame in bytes. Default 2^24 - 1, the most that fits: data is
    /// handed on as it arrives, so its length costs nothing.
    pub max_data_payload: u32,
    /// Most streams of a session that may be open, the peer's and our own together. Default 8192.
    /// Streams of the peer's beyond that are refused (REFUSED_STREAM).
    pub max_streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_control_payload: 64 << 10,
            max_headers: 128,
            max_header_block: 64 << 10,
            max_data_payload: (1 << 24) - 1,
            max_streams: 8192,
        }
    }
}
