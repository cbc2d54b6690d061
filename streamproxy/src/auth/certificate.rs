//! Clients' certificates: taken in the handshake, judged with the request.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::UserInfo;

/// The chain that a client showed, its own certificate first. That it holds the key is proven, who
/// signed it is not.
#[derive(Debug, Clone)]
pub struct PeerCertificates(pub Vec<CertificateDer<'static>>);

impl PeerCertificates {
    /// The user that the certificate names: its common name, and its organizations as groups
    /// (`k8s.io/apiserver/pkg/authentication/request/x509`). `None` without a common name.
    pub(super) fn user(&self) -> Option<UserInfo> {
        let (_, certificate) = X509Certificate::from_der(self.0.first()?).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().last()?.as_str().ok()?.to_owned();
        if name.is_empty() {
            return None;
        }
        let organizations = subject
            .iter_organization()
            .filter_map(|name| name.as_str().ok());
        let groups = organizations.map(str::to_owned).collect();
        Some(UserInfo {
            name,
            groups,
            ..UserInfo::default()
        })
    }
}

/// Asks for a certificate and takes any, as a kubelet does (`tls.RequestClientCert`): a wrong one is
/// to be answered 401, not to fail the handshake.
#[derive(Debug)]
pub(crate) struct AnyClientCert(CryptoProvider);

impl AnyClientCert {
    pub(crate) fn new() -> Self {
        Self(rustls::crypto::ring::default_provider())
    }
}

impl ClientCertVerifier for AnyClientCert {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
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
