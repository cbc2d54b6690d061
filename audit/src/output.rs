//! Reports in others' formats.

mod html;
mod sarif;

pub use html::html;
pub use sarif::sarif;
