//! Who may do what by Kubernetes' RBAC, and why.
//!
//! ```text
//!  Role  ClusterRole  RoleBinding  ClusterRoleBinding
//!     │      │             │              │
//!     └──────┴── Policy ───┴──────────────┘      read one by one, strings and rules once each
//!                   │
//!                 Index ── may, ways ──▶ Path     binding → role → rule
//!                   └───── findings ──▶ Finding   who has get without create, and the like
//! ```
//!
//! ```
//! # use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
//! use streamway_rbac::{Index, Policy, Question, Resource, Who};
//!
//! # let role: ClusterRole = serde_json::from_str(r#"{"metadata": {"name": "reader"},
//! #     "rules": [{"verbs": ["get"], "apiGroups": ["*"], "resources": ["*"]}]}"#).unwrap();
//! # let binding: ClusterRoleBinding = serde_json::from_str(r#"{"metadata": {"name": "readers"},
//! #     "roleRef": {"kind": "ClusterRole", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"},
//! #     "subjects": [{"kind": "Group", "name": "developers"}]}"#).unwrap();
//! let mut policy = Policy::of_cluster();
//! policy.add_cluster_role(&role);
//! policy.add_cluster_role_binding(&binding);
//! let index = Index::new(policy);
//!
//! let exec = Question::Resource(Resource {
//!     verb: "get",
//!     resource: "pods",
//!     subresource: "exec",
//!     namespace: "default",
//!     name: "box",
//!     ..Resource::default()
//! });
//! let path = index.may(&Who::user("jane", &["developers"]), &exec).unwrap();
//! assert_eq!(
//!     path.to_string(),
//!     "Group developers → ClusterRoleBinding readers → ClusterRole reader → rule 1"
//! );
//! let finding = &index.findings()[0];
//! assert_eq!(finding.subject.to_string(), "Group developers");
//! ```
//!
//! # Non-goals
//!
//! Other authorizers (Node, webhooks, and `system:masters`, whom the API server allows everything before
//! it asks any), constrained impersonation (`impersonate:user-info` …), files, clients of API servers.
#![forbid(unsafe_code)]

mod aggregate;
mod audit;
mod change;
mod findings;
mod index;
mod names;
mod path;
mod policy;
mod question;
mod reach;
mod right;
mod rule;
mod subject;
mod symbol;

pub use findings::{Finding, Holder, Kind};
pub use index::Index;
pub use names::Names;
pub use path::{Object, ObjectKind, Path};
pub use policy::Policy;
pub use question::{Question, Resource};
pub use reach::Reach;
pub use right::{Detour, Stream};
pub use subject::{Subject, Who};
