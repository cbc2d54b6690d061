//! TLS toward the kubelet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// What the flags say.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsOptions {
    /// `--kubelet-certificate-authority`
    pub(crate) certificate_authority: Option<PathBuf>,
    /// `--kubelet-insecure-skip-tls-verify`
    pub(crate) insecure_skip_verify: bool,
    /// `--kubelet-client-certificate` and `--kubelet-client-key`
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    /// `--kubelet-tls-server-name`
    pub(crate) server_name: Option<String>,
}

/// A TLS configuration toward the kubelet.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TlsError {
    /// A file that cannot be read or holds nothing that fits.
    #[error("{flag} {}: {reason}", path.display())]
    File {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Neither a CA nor the wish to go without.
    #[error(
        "the kubelet's certificate cannot be checked: give --kubelet-certificate-authority, or \
         --kubelet-insecure-skip-tls-verify where nobody else can listen on its address"
    )]
    NoAuthority,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Names the flag and the file that cannot be used.
    pub(crate) fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        let verifier = verifier(options)?;
        let builder = ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &options.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("--kubelet-client-certificate", certificate)?;
                let flag = "--kubelet-client-key";
                let key_der =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| file(flag, key, &error))?;
                builder
                    .with_client_auth_cert(chain, key_der)
                    .map_err(|error| file(flag, key, &error))?
            }
        };
        // An upgrade needs HTTP/1.1, and the kubelet would choose HTTP/2.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            server_name: options.server_name.clone(),
        })
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
}

fn verifier(options: &TlsOptions) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    if options.insecure_skip_verify {
        return Ok(Arc::new(AnyServerCert(provider)));
    }
    let path = options
        .certificate_authority
        .as_ref()
        .ok_or(TlsError::NoAuthority)?;
    let flag = "--kubelet-certificate-authority";
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
    TlsError::File {
        flag,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// `--kubelet-insecure-skip-tls-verify`: any certificate, but its key must be the peer's.
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
