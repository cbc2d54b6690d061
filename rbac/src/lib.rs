//! Who may do what by Kubernetes' RBAC, and why.
#![forbid(unsafe_code)]

mod aggregate;
mod index;
mod path;
mod policy;
mod question;
mod rule;
mod subject;
mod symbol;

pub use index::Index;
pub use path::{Object, ObjectKind, Path};
pub use policy::Policy;
pub use question::{Question, Resource};
pub use subject::{Subject, Who};
