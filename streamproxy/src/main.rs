//! The stream proxy.
fn main() {}
