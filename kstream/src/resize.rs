//! Terminal sizes: JSON values, one after another, on the resize channel.

use serde::{Deserialize, Serialize};

/// A terminal's size in characters, as client-go writes it (`tools/remotecommand/resize.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Columns.
    #[serde(rename = "Width")]
    pub width: u16,
    /// Rows.
    #[serde(rename = "Height")]
    pub height: u16,
}

impl TerminalSize {
    /// The message for the channel, without the channel's byte.
    pub fn to_json(self) -> Vec<u8> {
        format!("{{\"Width\":{},\"Height\":{}}}\n", self.width, self.height).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_client_go_writes_it() {
        let size = TerminalSize {
            width: 80,
            height: 24,
        };
        assert_eq!(size.to_json(), b"{\"Width\":80,\"Height\":24}\n");
        assert_eq!(
            serde_json::from_slice::<TerminalSize>(&size.to_json()).unwrap(),
            size
        );
    }
}
