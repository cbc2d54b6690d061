pub(crate) mod check;
mod roles;
