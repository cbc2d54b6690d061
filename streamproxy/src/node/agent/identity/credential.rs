//! A client certificate with its key, and whether it is any good. Pure.

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use streamway_crds::names;
use streamway_daemon::tls::Validity;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What the key's part of a file begins with.
const KEY: &str = "-----BEGIN PRIVATE KEY-----";

/// A certificate and its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credential {
    /// With the chain, if any.
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) validity: Validity,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Credential").field(&self.validity).finish()
    }
}

/// Why a credential cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub(super) enum Unusable {
    #[error("it holds no certificate and key")]
    Nothing,
    #[error("its key is not the certificate's")]
    OtherKey,
    #[error("it is of {0}")]
    OtherSubject(String),
    #[error("it is not valid before {}", time(*.0))]
    TooEarly(i64),
    #[error("it was valid until {}", time(*.0))]
    TooLate(i64),
}

impl Credential {
    /// Takes one that is `user`'s of [`names::AGENT_GROUP`], and valid `now`.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub(super) fn new(
        certificate: &str,
        key: &str,
        user: &str,
        now: UnixTime,
    ) -> Result<Self, Unusable> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| Unusable::Nothing)?;
        let leaf = chain.first().ok_or(Unusable::Nothing)?;
        let validity = Validity::of(leaf).ok_or(Unusable::Nothing)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| Unusable::Nothing)?;
        let subject = parsed.subject();
        let name = subject.iter_common_name().next();
        let group = subject.iter_organization().next();
        let same = [(name, user), (group, names::AGENT_GROUP)]
            .into_iter()
            .all(|(is, should)| is.is_some_and(|is| is.as_str() == Ok(should)));
        if !same {
            return Err(Unusable::OtherSubject(subject.to_string()));
        }
        let der = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| Unusable::Nothing)?;
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, der, &provider).map_err(|_| Unusable::OtherKey)?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if seconds < validity.not_before {
            return Err(Unusable::TooEarly(validity.not_before));
        }
        if seconds > validity.not_after {
            return Err(Unusable::TooLate(validity.not_after));
        }
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            validity,
        })
    }

    /// The same of a file's content.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(super) fn parse(text: &str, user: &str, now: UnixTime) -> Result<Self, Unusable> {
        let at = text.find(KEY).ok_or(Unusable::Nothing)?;
        let (certificate, key) = text.split_at(at);
        Self::new(certificate, key, user, now)
    }

    /// A file's content.
    pub(super) fn to_pem(&self) -> String {
        format!("{}\n{}", self.certificate.trim_end(), self.key)
    }

    /// When it is to be replaced: between 70 and 90 % of its life, by `chance` (0 to 1), as a kubelet
    /// does it (`k8s.io/client-go@v0.36.3/util/certificate`, `nextRotationDeadline`). In seconds since
    /// 1970.
    pub(super) fn rotation(&self, chance: f64) -> i64 {
        let Validity {
            not_before,
            not_after,
        } = self.validity;
        // Seconds of a life fit a double, and a second more or less is none.
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
        let after = ((not_after - not_before) as f64 * (0.7 + 0.2 * chance)).round() as i64;
        not_before.saturating_add(after)
    }
}

/// In words.
fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    const USER: &str = "streamway:node:one";

    pub(in super::super) fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    /// Certificate and key, valid from 1000 to 2000.
    pub(in super::super) fn pair(user: &str, group: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_before = std::time::SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(1000))
            .unwrap()
            .into();
        params.not_after = std::time::SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(2000))
            .unwrap()
            .into();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, group);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, user);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn a_good_one_is_written_and_read() {
        let (certificate, key) = pair(USER, names::AGENT_GROUP);
        let credential = Credential::new(&certificate, &key, USER, at(1500)).unwrap();
        let read = Credential::parse(&credential.to_pem(), USER, at(1500)).unwrap();
        assert_eq!(read.validity, credential.validity);
        assert_eq!(read.key, credential.key);
        assert!(!format!("{read:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let (certificate, key) = pair(USER, names::AGENT_GROUP);
        let (_, other) = pair(USER, names::AGENT_GROUP);
        let refused = |certificate: &str, key: &str, user: &str, now| {
            Credential::new(certificate, key, user, at(now)).unwrap_err()
        };
        assert_eq!(
            refused(&certificate, &other, USER, 1500),
            Unusable::OtherKey
        );
        assert_eq!(refused("", &key, USER, 1500), Unusable::Nothing);
        assert_eq!(refused(&certificate, "", USER, 1500), Unusable::Nothing);
        assert_eq!(
            refused(&certificate, &key, USER, 999),
            Unusable::TooEarly(1000)
        );
        assert_eq!(
            refused(&certificate, &key, USER, 2001),
            Unusable::TooLate(2000)
        );
        let of_another = refused(&certificate, &key, "streamway:node:two", 1500);
        assert_eq!(
            of_another.to_string(),
            "it is of O=streamway:nodes, CN=streamway:node:one"
        );
        let (certificate, key) = pair(USER, "system:masters");
        assert!(matches!(
            refused(&certificate, &key, USER, 1500),
            Unusable::OtherSubject(_)
        ));
        assert_eq!(
            Credential::parse("", USER, at(1500)),
            Err(Unusable::Nothing)
        );
        assert_eq!(
            Unusable::TooLate(0).to_string(),
            "it was valid until 1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn it_is_replaced_late_in_its_life_but_in_time() {
        let (certificate, key) = pair(USER, names::AGENT_GROUP);
        let credential = Credential::new(&certificate, &key, USER, at(1500)).unwrap();
        assert_eq!(credential.rotation(0.0), 1700);
        assert_eq!(credential.rotation(0.5), 1800);
        assert_eq!(credential.rotation(1.0), 1900);
    }
}
