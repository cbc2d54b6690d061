//! What the Secret holds.
//!
//! | key | what it is |
//! |---|---|
//! | `ca.crt`, `ca.key` | the CA that signs |
//! | `next-ca.crt`, `next-ca.key` | the one that will: known to API servers, not used yet |
//! | `old-ca.crt` | the one that did: what it signed may still be served somewhere |
//! | `tls.crt`, `tls.key` | the serving certificate of every replica |

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::issued::{Certificate, Key, Pair};

const CA: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const NEXT: &str = "next-ca.crt";
const NEXT_KEY: &str = "next-ca.key";
const OLD: &str = "old-ca.crt";
const SERVING: &str = "tls.crt";
const SERVING_KEY: &str = "tls.key";

/// Certificates and keys, as the Secret holds them. What cannot be read counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Material {
    /// The CA that signs; without its key it is only trusted.
    pub(super) signing: Option<(Certificate, Option<Key>)>,
    /// The CA that will sign.
    pub(super) next: Option<Pair>,
    /// The CA that did.
    pub(super) old: Option<Certificate>,
    /// What is served.
    pub(super) serving: Option<Pair>,
}

impl Material {
    /// Reads the Secret.
    pub(super) fn read(secret: &Secret) -> Self {
        let text = |key: &str| {
            let bytes = &secret.data.as_ref()?.get(key)?.0;
            Some(std::str::from_utf8(bytes).ok()?.to_owned())
        };
        let certificate = |key| Certificate::read(&text(key)?);
        let key = |key| {
            text(key)
                .filter(|pem| rcgen::KeyPair::from_pem(pem).is_ok())
                .map(Key)
        };
        let pair = |(name, of_key)| {
            Some(Pair {
                certificate: certificate(name)?,
                key: key(of_key)?,
            })
        };
        Self {
            signing: certificate(CA).map(|certificate| (certificate, key(CA_KEY))),
            next: pair((NEXT, NEXT_KEY)),
            old: certificate(OLD),
            serving: pair((SERVING, SERVING_KEY)),
        }
    }

    /// Writes it into `secret`; what else that holds stays.
    pub(super) fn write(&self, secret: &mut Secret) {
        let data = secret.data.get_or_insert_with(BTreeMap::new);
        let signing = self.signing.as_ref();
        let signing_key = signing.and_then(|(_, key)| key.as_ref());
        let (next, serving) = (self.next.as_ref(), self.serving.as_ref());
        for (name, text) in [
            (CA, signing.map(|(certificate, _)| &certificate.pem)),
            (CA_KEY, signing_key.map(|key| &key.0)),
            (NEXT, next.map(|pair| &pair.certificate.pem)),
            (NEXT_KEY, next.map(|pair| &pair.key.0)),
            (OLD, self.old.as_ref().map(|certificate| &certificate.pem)),
            (SERVING, serving.map(|pair| &pair.certificate.pem)),
            (SERVING_KEY, serving.map(|pair| &pair.key.0)),
        ] {
            match text {
                Some(text) => data.insert(name.to_owned(), ByteString(text.clone().into_bytes())),
                None => data.remove(name),
            };
        }
    }

    /// The CAs that API servers must trust, as `caBundle` has them.
    pub(super) fn bundle(&self) -> String {
        self.trusted()
            .map(|certificate| with_newline(&certificate.pem))
            .collect()
    }

    /// The CAs that API servers must trust.
    pub(super) fn trusted(&self) -> impl Iterator<Item = &Certificate> {
        let signing = self.signing.as_ref().map(|(certificate, _)| certificate);
        let next = self.next.as_ref().map(|pair| &pair.certificate);
        signing.into_iter().chain(next).chain(self.old.as_ref())
    }

    /// What to go on from where the Secret is gone or emptied, and `self` is what was served from it:
    /// all is to be new, but not before API servers know the new CA.
    pub(super) fn without_signing_key(&self) -> Self {
        Self {
            signing: self
                .signing
                .clone()
                .map(|(certificate, _)| (certificate, None)),
            next: None,
            ..self.clone()
        }
    }
}

fn with_newline(pem: &str) -> String {
    format!("{}\n", pem.trim_end())
}
