//! The user that a client's certificate names.

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::UserInfo;

/// The chain that a client showed, its own certificate first. That it holds the key is proven, who
/// signed it is not.
#[derive(Debug, Clone)]
pub struct PeerCertificates(pub Vec<CertificateDer<'static>>);

impl PeerCertificates {
    /// The user that the certificate names: its common name, its organizations as groups, its UID
    /// attribute, and its hash among the extras, as `CommonNameUserConversion` of
    /// `k8s.io/apiserver@v0.36.3/pkg/authentication/request/x509` reads them.
    ///
    /// `None` without a common name, and where the UID is empty or there are two.
    pub(crate) fn user(&self) -> Option<UserInfo> {
        let der = self.0.first()?;
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().last()?.as_str().ok()?.to_owned();
        if name.is_empty() {
            return None;
        }
        let organizations = subject
            .iter_organization()
            .filter_map(|name| name.as_str().ok());
        let groups = organizations.map(str::to_owned).collect();
        let mut uids = subject
            .iter_attributes()
            .filter(|attribute| attribute.attr_type().to_id_string() == UID);
        let uid = match (uids.next(), uids.next()) {
            (None, _) => "",
            (Some(uid), None) => uid.as_str().ok().filter(|uid| !uid.is_empty())?,
            (Some(_), Some(_)) => return None,
        };
        let hash = Sha256::digest(der);
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let extra = [(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={hash}")])];
        Some(UserInfo {
            name,
            uid: uid.to_owned(),
            groups,
            extra: extra.into(),
        })
    }
}

/// Kubernetes' attribute for a user's UID (`k8s.io/apimachinery@v0.36.3/pkg/apis/asn1`).
const UID: &str = "1.3.6.1.4.1.57683.2";

/// The extra that says by which credential a user came.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
