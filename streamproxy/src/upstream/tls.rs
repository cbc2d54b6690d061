//! TLS toward a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use streamway_daemon::tls::OwnCert;

/// A TLS configuration toward a server.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

/// A file that cannot be read or holds nothing that fits.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {}: {reason}", path.display())]
pub(crate) struct TlsError {
    flag: &'static str,
    path: PathBuf,
    reason: String,
}

impl Tls {
    /// Checks the server's certificate by `verifier`, for `server_name` where it is not the URL's host,
    /// and shows `client`'s certificate or none.
    pub(crate) fn new(
        verifier: Arc<dyn ServerCertVerifier>,
        client: Option<OwnCert>,
        server_name: Option<String>,
    ) -> Self {
        let builder = ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some(certificate) => builder.with_client_cert_resolver(Arc::new(certificate)),
        };
        Self::of(config, server_name)
    }

    /// A configuration that somebody else made.
    pub(crate) fn of(mut config: ClientConfig, server_name: Option<String>) -> Self {
        // An upgrade needs HTTP/1.1, and the server would choose HTTP/2.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            config: Arc::new(config),
            server_name,
        }
    }

    /// The same for a server that may choose HTTP/2.
    pub(super) fn with_http2(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            config: Arc::new(config),
            server_name: self.server_name.clone(),
        }
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    pub(super) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
}

/// Checks a server's certificate by the authorities in the file that a flag names, or not at all.
///
/// # Errors
///
/// Names the flag and the file that cannot be used.
pub(crate) fn verifier(
    authority: Option<(&'static str, &Path)>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let Some((flag, path)) = authority else {
        return Ok(Arc::new(AnyServerCert(provider)));
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(flag, path)? {
        roots
            .add(certificate)
            .map_err(|error| file(flag, path, &error))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| file(flag, path, &error))?;
    Ok(verifier)
}

fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| file(flag, path, &error))?;
    if chain.is_empty() {
        return Err(file(flag, path, &"it holds no certificate"));
    }
    Ok(chain)
}

fn file(flag: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError {
        flag,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Any certificate, but its key must be the peer's.
#[derive(Debug)]
struct AnyServerCert(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServerCert {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
