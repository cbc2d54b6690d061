//! Streamway's Kubernetes API, group `streamway.dev/v1alpha1`, all cluster-scoped:
//!
//! | kind | short | who writes it | what it is |
//! |---|---|---|---|
//! | [`StreamingRollout`] | `sroll` | administrators | which nodes stream by WebSocket, in which order |
//! | [`NodeStreaming`] | `nstream` | the controller; its agent's part, the agent | how one node streams, wanted and real |
//! | [`RolloutAction`] | `sact` | administrators | one verb on a rollout: promote, pause, abort … |
//! | [`AccessExemption`] | `aexempt` | administrators | who may go on without `create`, why, until when |
//! | [`AccessReport`] | `sreport` | the controller | who has too much or too little to open sessions |
//!
//! Also every name that more than one of our programs must agree on, in [`names`].
//!
//! What it is not: a client. Nothing here talks to an API server, reads a clock or decides anything;
//! the controller's plan does, with these types. The doc comment of a field is what `kubectl explain`
//! prints, so it is written for administrators.
//!
//! ```
//! use streamway_crds::StreamingRollout;
//! let rollout: StreamingRollout = serde_json::from_value(serde_json::json!({
//!     "apiVersion": "streamway.dev/v1alpha1",
//!     "kind": "StreamingRollout",
//!     "metadata": {"name": "all"},
//!     "spec": {"waves": [{"name": "all", "nodes": {"percent": 100}}]},
//! }))?;
//! assert_eq!(rollout.spec.progress_deadline.to_string(), "10m");
//! # Ok::<(), serde_json::Error>(())
//! ```

#![forbid(unsafe_code)]
// clippy takes two columns of one type for a mistake.
#![allow(clippy::duplicated_attributes)]

mod access_exemption;
mod access_report;
pub mod conditions;
mod definitions;
mod duration;
mod int_or_percent;
pub mod names;
mod node_streaming;
mod percentage;
mod period;
mod rollout_action;
mod rules;
mod streaming_rollout;

pub use access_exemption::{
    AccessExemption, AccessExemptionSpec, ExemptResource, ExemptSubject, ExemptSubjectKind,
};
pub use access_report::{
    ACCESS_REPORT, AccessFinding, AccessReport, AccessReportSpec, AccessReportStatus,
    LISTED_FINDINGS, SeverityCounts,
};
pub use definitions::definitions;
pub use duration::{Duration, DurationError};
pub use int_or_percent::{IntOrPercent, IntOrPercentError};
pub use node_streaming::{
    AgentStatus, Feature, LastProbe, NodeMode, NodeState, NodeStreaming, NodeStreamingSpec,
    NodeStreamingStatus, ProbeDurations, ProbeResult, Traffic, Transition,
};
pub use percentage::{Percentage, PercentageError};
pub use period::{Day, Period, TimeOfDay, TimeOfDayError, Weekday};
pub use rollout_action::{
    ActionResult, RolloutAction, RolloutActionSpec, RolloutActionStatus, Verb,
};
pub use streaming_rollout::{
    Adopt, Analysis, AnalysisStatus, Approval, ExcludedNode, Indicator, LastAction, Mode,
    NextTransition, NodeCounts, Objective, ObjectiveStatus, OnFailure, Phase, Prober,
    RollbackScope, StreamingRollout, StreamingRolloutSpec, StreamingRolloutStatus, Wave, WaveNodes,
    WavePhase, WaveStatus, Way,
};
