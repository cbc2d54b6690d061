//! Who may ask at `/authorize`: API servers, by their client certificate.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};
use streamway_daemon::tls::{ClientCa, common_name};

use crate::body::Refusal;

/// The certificates that a connection's client showed, its own first. That it holds the key is proven,
/// who signed it is not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller(pub(crate) Arc<[CertificateDer<'static>]>);

/// Who may ask.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    authorities: ClientCa,
    /// Common names; without any, all that the authorities signed.
    names: Vec<String>,
}

impl Callers {
    pub(crate) fn new(authorities: ClientCa, names: Vec<String>) -> Self {
        Self { authorities, names }
    }

    /// Whether a caller is one of them. Looked at with each request: certificates end, and authorities
    /// are replaced.
    ///
    /// # Errors
    /// 403, with what to change.
    pub(crate) fn check(&self, caller: &Caller) -> Result<(), Refusal> {
        let verified = self.authorities.verify(&caller.0, UnixTime::now());
        verified.map_err(|error| {
            Refusal::forbidden(format!(
                "{error}; the API server's kubeconfig for this webhook needs a client-certificate that \
                 --client-ca-file signed"
            ))
        })?;
        let name = caller.0.first().and_then(common_name).unwrap_or_default();
        if self.names.is_empty() || self.names.contains(&name) {
            return Ok(());
        }
        Err(Refusal::forbidden(format!(
            "{name:?} is not one of --client-allowed-names {}",
            self.names.join(",")
        )))
    }
}

#[cfg(test)]
mod tests;
