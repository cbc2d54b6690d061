//! STUB of the lead, only so that the rest compiles; the auth engineer replaces this file wholesale.
#![allow(missing_docs, missing_debug_implementations)]
use rustls_pki_types::CertificateDer;
use std::collections::BTreeMap;
#[derive(Debug, Clone, Default)]
pub struct UserInfo {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}
#[derive(Debug)]
pub struct PeerCertificates(pub Vec<CertificateDer<'static>>);
#[derive(Debug)]
pub struct Authenticator;
#[derive(Debug)]
pub struct Authorizer;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct E;
impl E {
    pub fn status(&self) -> http::StatusCode {
        http::StatusCode::FORBIDDEN
    }
}
impl Authenticator {
    pub async fn authenticate(
        &self,
        _p: Option<&PeerCertificates>,
        _h: &http::HeaderMap,
    ) -> Result<UserInfo, E> {
        Ok(UserInfo {
            name: "system:anonymous".into(),
            ..Default::default()
        })
    }
}
impl Authorizer {
    pub async fn authorize(
        &self,
        _u: &UserInfo,
        _m: &http::Method,
        _uri: &http::Uri,
        _h: &http::HeaderMap,
    ) -> Result<(), E> {
        Ok(())
    }
}
pub struct Auth {
    pub authenticator: Authenticator,
    pub authorizer: Authorizer,
}
pub async fn configure(
    _a: &crate::args::NodeArgs,
    _n: &str,
    _g: streamway_daemon::gates::FeatureGates,
    _r: &mut prometheus_client::registry::Registry,
) -> Result<Auth, streamway_daemon::exit::ExitError> {
    Ok(Auth {
        authenticator: Authenticator,
        authorizer: Authorizer,
    })
}
#[derive(Debug)]
pub struct AnyClientCert;
impl AnyClientCert {
    pub fn new() -> Self {
        Self
    }
}
impl rustls::server::danger::ClientCertVerifier for AnyClientCert {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    fn verify_client_cert(
        &self,
        _e: &CertificateDer<'_>,
        _i: &[CertificateDer<'_>],
        _n: rustls_pki_types::UnixTime,
    ) -> Result<rustls::server::danger::ClientCertVerified, rustls::Error> {
        Ok(rustls::server::danger::ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            m,
            c,
            d,
            &rustls::crypto::ring::default_provider().signature_verification_algorithms,
        )
    }
    fn verify_tls13_signature(
        &self,
        m: &[u8],
        c: &CertificateDer<'_>,
        d: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            m,
            c,
            d,
            &rustls::crypto::ring::default_provider().signature_verification_algorithms,
        )
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
