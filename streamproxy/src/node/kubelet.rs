//! The kubelet behind the proxy.

use super::declared::Declared;
use crate::upstream::{Kind, Server, Tls, UrlError};

/// What the server is.
const KIND: Kind = Kind {
    noun: NOUN,
    flag: "--kubelet",
    port: 10250,
    example: "https://127.0.0.1:10250",
};

/// What it is called.
pub(super) const NOUN: &str = "the kubelet";

/// A kubelet.
#[derive(Debug)]
pub(crate) struct Kubelet {
    pub(super) server: Server,
    pub(super) declared: Declared,
}

impl Kubelet {
    /// A kubelet at `url`.
    ///
    /// # Errors
    ///
    /// Where `url` is no base URL.
    pub(super) fn new(url: &str, tls: &Tls) -> Result<Self, UrlError> {
        Ok(Self {
            server: Server::new(KIND, url, tls)?,
            declared: Declared::default(),
        })
    }
}
