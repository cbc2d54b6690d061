//! TLS material that changes while connections use it.
//!
//! Files are read again every few seconds and compared by content: a kubelet's certificate is
//! replaced by a rename, a Secret's volume by a symbolic link, others are written in place, and all
//! of them show in the content. A new content that cannot be used leaves the old one in force and is
//! logged once.

mod any_client;
mod client_ca;
mod file;
mod own;

use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use any_client::{AnyClientCert, common_name};
pub use client_ca::{ClientCa, ClientCaError, ClientCertError};
pub use file::RELOAD_PERIOD;
pub use own::OwnCert;

/// When a certificate is valid, both ends included, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: i64,
    /// Last second.
    pub not_after: i64,
}

impl Validity {
    /// Reads a certificate's validity (RFC 5280 §4.1.2.5); `None` where it is no certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let validity = parsed.validity();
        Some(Self {
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// Whether `now` lies within.
    pub fn contains(self, now: UnixTime) -> bool {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        (self.not_before..=self.not_after).contains(&now)
    }
}
