//! The node role as a node's agent, under the controller.

pub(crate) mod beats;
mod redirect;
