//! What an audit log of the API server says of findings.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Who really used what was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// How often: sessions that the API server let through.
    pub uses: u64,
    /// When first, in this log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// When last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// By whom, those with the most uses first; 20 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<Use>,
    /// Users beyond those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_users: u64,
}

/// Uses by a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// The user's name, as authenticated.
    pub user: String,
    /// How often.
    pub uses: u64,
    /// When last.
    pub last: Timestamp,
    /// Whether all of it would be answered 403 where `create` is asked for as well: by the roles and
    /// bindings that were read, with the groups that the log tells.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub will_be_refused: bool,
}

/// What was read of audit logs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Log {
    /// Events, of any kind.
    pub events: u64,
    /// Lines that are no event.
    pub unreadable: u64,
    /// The time of the first event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The time of the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
