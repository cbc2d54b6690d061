pub(crate) mod check;
