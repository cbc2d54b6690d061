//! The node role as a node's agent, under the controller.

mod redirect;
