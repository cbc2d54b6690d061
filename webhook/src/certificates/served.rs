//! The certificate that connections are shown, changed without a restart.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::ring::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::issued::Pair;

/// The certificate in force; none until there is one. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Served(Arc<ArcSwapOption<CertifiedKey>>);

impl Served {
    /// New connections are shown `pair`.
    ///
    /// # Errors
    /// It is no certificate with its key; the one before stays.
    pub(super) fn replace(&self, pair: &Pair) -> Result<(), Box<dyn std::error::Error>> {
        let chain = CertificateDer::pem_slice_iter(pair.certificate.pem.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(pair.key.0.as_bytes())?;
        let certified = CertifiedKey::from_der(chain, key, &default_provider())?;
        self.0.store(Some(Arc::new(certified)));
        Ok(())
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}
