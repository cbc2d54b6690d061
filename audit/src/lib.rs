//! What an audit of RBAC says: findings with severity, evidence and fixes, from a cluster or from
//! manifests.
//!
//! ```text
//!  rbac::Index ──┐
//!  Server ───────┼── Report::of ──▶ Report ──▶ a table, JSON, SARIF, HTML, an AccessReport
//!  Locate ───────┘                    ▲
//!                                     └── join (evidence), exempt and accept (baseline), keep (filters)
//! ```
//!
//! ```
//! # use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
//! use streamway_audit::{Nowhere, Report, Server, Severity, Version};
//! use streamway_rbac::{Index, Policy};
//!
//! # let role: ClusterRole = serde_json::from_str(r#"{"metadata": {"name": "reader"},
//! #     "rules": [{"verbs": ["get"], "apiGroups": ["*"], "resources": ["*"]}]}"#).unwrap();
//! # let binding: ClusterRoleBinding = serde_json::from_str(r#"{"metadata": {"name": "readers"},
//! #     "roleRef": {"kind": "ClusterRole", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"},
//! #     "subjects": [{"kind": "Group", "name": "developers"}]}"#).unwrap();
//! let mut policy = Policy::of_cluster();
//! policy.add_cluster_role(&role);
//! policy.add_cluster_role_binding(&binding);
//! let server = Server::of(Version::parse("v1.34.4").ok());
//!
//! let report = Report::of(&Index::new(policy), server, &Nowhere);
//! let worst = &report.findings[0];
//! assert_eq!(worst.severity, Severity::High);
//! assert_eq!(worst.title, "Group developers has get but not create on pods/exec");
//! ```
//!
//! # Non-goals
//!
//! Reading files, talking to API servers, clocks: the callers' part.
#![forbid(unsafe_code)]

mod baseline;
mod build;
pub mod doctor;
mod evidence;
mod exemption;
mod exposure;
mod filter;
mod finding;
mod fix;
mod location;
pub mod log;
pub mod manifests;
mod output;
mod probe;
mod proposal;
mod reach;
mod report;
mod rules;
mod server;
mod severity;
mod subject;
mod version;

pub use baseline::{Accepted, BASELINE_KIND, BadBaseline, Baseline};
pub use evidence::{Evidence, Log, Use};
pub use exemption::{Exemption, Exemptions};
pub use exposure::{Exposure, State};
pub use filter::{Filter, NoSuchRule, RulePattern, SubjectPattern};
pub use finding::{AcceptedBy, Finding, ObjectRef, Path, Pods, Suppression, Verdict};
pub use fix::{Fix, FixKind};
pub use location::{Locate, Location, Nowhere};
pub use output::{html, sarif};
pub use probe::Probe;
pub use proposal::{Change, DryRun, Effect, Left, PROPOSAL_KIND, Proposal};
pub use reach::{Names, Reach};
pub use report::{API_VERSION, Counts, KIND, Report, Source, Warning};
pub use rules::{Rule, RuleId, UnknownRule};
pub use server::{CREATE_CHECK, Gate, Origin, Server};
pub use severity::Severity;
pub use subject::{Subject, SubjectKind};
pub use version::{BadVersion, Version};
