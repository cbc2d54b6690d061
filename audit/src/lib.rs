//! What an audit of RBAC says: findings with severity and fixes, from a cluster or from manifests.
#![forbid(unsafe_code)]

pub mod manifests;
