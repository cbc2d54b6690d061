//! The authorities that may sign clients' certificates.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use thiserror::Error;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::Validity;
use super::file::{NamedFile, RELOAD_PERIOD, fingerprint};
use crate::exit::ExitError;
use crate::metrics::CertificateExpiry;

/// Certificates that a client may send behind its own. Chains of the size that TLS allows would
/// make a handshake's cost the client's choice.
const MAX_INTERMEDIATES: usize = 8;

/// A bundle of authorities, replaced under running servers. Clones are the same.
#[derive(Debug, Clone)]
pub struct ClientCa {
    file: Option<NamedFile>,
    current: Arc<ArcSwapOption<Bundle>>,
}

#[derive(Debug)]
struct Bundle {
    authorities: Vec<Authority>,
    fingerprint: u64,
}

#[derive(Debug)]
struct Authority {
    anchor: TrustAnchor<'static>,
    validity: Validity,
}

impl ClientCa {
    /// Reads a PEM bundle that `flag` names; [`watch`](Self::watch) reads it again.
    ///
    /// # Errors
    /// [`ExitError`] (64) where it cannot be read or holds no usable certificate.
    pub fn from_file(flag: &'static str, path: &Path) -> Result<Self, ExitError> {
        let file = NamedFile::new(flag, path);
        let ca = Self {
            file: Some(file.clone()),
            ..Self::empty()
        };
        ca.replace(&file.read()?)
            .map_err(|error| file.wrong(&error.to_string(), "write PEM certificates into it"))?;
        Ok(ca)
    }

    /// A bundle without authorities, to be filled by [`replace`](Self::replace). Until then it
    /// [is not loaded](Self::is_loaded) and verifies nobody.
    pub fn empty() -> Self {
        Self {
            file: None,
            current: Arc::new(ArcSwapOption::empty()),
        }
    }

    /// Whether there are authorities.
    pub fn is_loaded(&self) -> bool {
        self.current.load().is_some()
    }

    /// Puts the certificates of `pem` into force, and says whether they differ from those before.
    ///
    /// # Errors
    /// [`ClientCaError`] for what is no PEM, holds no certificate, or holds one that is no usable
    /// authority; what was in force stays.
    pub fn replace(&self, pem: &[u8]) -> Result<bool, ClientCaError> {
        let fingerprint = fingerprint(&[pem]);
        if self
            .current
            .load()
            .as_ref()
            .is_some_and(|now| now.fingerprint == fingerprint)
        {
            return Ok(false);
        }
        let authorities = CertificateDer::pem_slice_iter(pem)
            .map(|certificate| authority(&certificate?))
            .collect::<Result<Vec<_>, _>>()?;
        if authorities.is_empty() {
            return Err(ClientCaError::Empty);
        }
        self.current.store(Some(Arc::new(Bundle {
            authorities,
            fingerprint,
        })));
        Ok(true)
    }

    /// Checks that `chain`, a client's certificate and what it sent behind it, leads to one of the
    /// authorities, is valid at `now`, and may be used for clients.
    ///
    /// As Go's `x509.Verify` with `ExtKeyUsageClientAuth`, with these differences, all of them
    /// stricter: extended key usage `any` does not stand for clientAuth, an authority's own
    /// certificate is no client certificate, at most 8 intermediates, and no P-521 keys.
    ///
    /// # Errors
    /// [`ClientCertError`] saying what is wrong with the chain.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), ClientCertError> {
        let bundle = self.current.load();
        let bundle = bundle.as_ref().ok_or(ClientCertError::NoAuthority)?;
        let (leaf, intermediates) = chain.split_first().ok_or(ClientCertError::Missing)?;
        if intermediates.len() > MAX_INTERMEDIATES {
            return Err(ClientCertError::TooLong {
                length: chain.len(),
            });
        }
        // webpki does not look at an anchor's validity; Go does.
        let anchors: Vec<TrustAnchor<'_>> = bundle
            .authorities
            .iter()
            .filter(|authority| authority.validity.contains(now))
            .map(|authority| authority.anchor.clone())
            .collect();
        EndEntityCert::try_from(leaf)
            .and_then(|leaf| {
                leaf.verify_for_usage(
                    ALL_VERIFICATION_ALGS,
                    &anchors,
                    intermediates,
                    now,
                    KeyUsage::client_auth(),
                    None,
                    None,
                )
                .map(|_| ())
            })
            .map_err(ClientCertError::Invalid)
    }

    /// When the first of the authorities ends to be valid, in seconds since 1970.
    pub fn not_after(&self) -> Option<i64> {
        let bundle = self.current.load();
        bundle
            .as_ref()?
            .authorities
            .iter()
            .map(|authority| authority.validity.not_after)
            .min()
    }

    /// Keeps the bundle as its file is, and `expiry`'s gauge `name` with it. Runs until dropped; a
    /// bundle without a file is only measured.
    pub async fn watch(&self, name: &'static str, expiry: CertificateExpiry) {
        let mut logged = None;
        loop {
            if let Some(not_after) = self.not_after() {
                expiry.set(name, not_after);
            }
            tokio::time::sleep(RELOAD_PERIOD).await;
            let this = self.clone();
            // The error is a runtime that ends.
            let Ok(outcome) = tokio::task::spawn_blocking(move || this.reload()).await else {
                return;
            };
            let failure = outcome.err();
            if let Some(error) = failure
                .as_ref()
                .filter(|error| logged.as_ref() != Some(*error))
            {
                tracing::warn!(%error, "client CA kept: the new one cannot be used");
            }
            logged = failure;
        }
    }

    /// Reads the file again.
    fn reload(&self) -> Result<(), String> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let pem = file.read().map_err(|error| error.to_string())?;
        let replaced = self.replace(&pem).map_err(|error| error.to_string())?;
        if replaced {
            tracing::info!(path = %file.path.display(), "client CA replaced");
        }
        Ok(())
    }
}

fn authority(certificate: &CertificateDer<'_>) -> Result<Authority, ClientCaError> {
    let anchor = anchor_from_trusted_cert(certificate)
        .map_err(ClientCaError::Unusable)?
        .to_owned();
    let validity =
        Validity::of(certificate).ok_or(ClientCaError::Unusable(webpki::Error::BadDer))?;
    Ok(Authority { anchor, validity })
}

/// Why a bundle was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientCaError {
    /// The bytes are no PEM.
    #[error("is no PEM: {0}")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// There is no section `BEGIN CERTIFICATE`.
    #[error("holds no certificate")]
    Empty,
    /// A certificate cannot be an authority.
    #[error("holds a certificate that cannot be used: {0}")]
    Unusable(#[source] webpki::Error),
}

/// Why a client's certificate was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientCertError {
    /// The client sent none.
    #[error("no client certificate")]
    Missing,
    /// No authority is known yet.
    #[error("no client CA is loaded")]
    NoAuthority,
    /// More certificates than are looked at.
    #[error("chain of {length} certificates is too long")]
    TooLong {
        /// The client's certificate included.
        length: usize,
    },
    /// The chain does not hold.
    #[error("client certificate cannot be verified: {0}")]
    Invalid(#[source] webpki::Error),
}

#[cfg(test)]
mod tests;
