//! Certificates and keys, as text and as what they mean.

use std::fmt;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use streamway_daemon::tls::Validity;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// Clocks of API servers may be slow by this many seconds.
const CLOCK_SKEW: i64 = 3600;

/// A certificate.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) pem: String,
    der: CertificateDer<'static>,
    validity: Validity,
}

/// A private key, in PEM. It does not show in logs.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(pub(super) String);

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) certificate: Certificate,
    pub(super) key: Key,
}

impl Certificate {
    /// The first certificate of a PEM text.
    pub(super) fn read(pem: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let validity = Validity::of(&der)?;
        Some(Self {
            pem: pem.to_owned(),
            der,
            validity,
        })
    }

    /// When it was made, in seconds since 1970.
    pub(super) fn made(&self) -> i64 {
        self.validity.not_before + CLOCK_SKEW
    }

    /// The last second that it is valid.
    pub(super) fn ends(&self) -> i64 {
        self.validity.not_after
    }

    /// When there should be a new one: after two thirds of its time.
    pub(super) fn due(&self) -> i64 {
        self.made() + (self.ends() - self.made()) * 2 / 3
    }

    /// Whether an API server that trusts `authority` takes it for each of `hosts` at `now`.
    pub(super) fn serves(&self, authority: &Self, hosts: &[String], now: i64) -> bool {
        let Ok(anchor) = anchor_from_trusted_cert(&authority.der) else {
            return false;
        };
        let Ok(certificate) = EndEntityCert::try_from(&self.der) else {
            return false;
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.max(0).unsigned_abs()));
        let usage = KeyUsage::server_auth();
        let anchors = [anchor];
        let path = certificate.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &[],
            now,
            usage,
            None,
            None,
        );
        path.is_ok()
            && hosts.iter().all(|host| {
                ServerName::try_from(host.as_str())
                    .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok())
            })
    }
}

impl Pair {
    /// A CA that is valid from `now` on, for `lifetime`.
    ///
    /// # Errors
    /// What rcgen says; none is known.
    pub(super) fn authority(now: i64, lifetime: Duration) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        // Each has a name of its own, so that of two in a caBundle the right one is found at once.
        params.distinguished_name = name(&format!("streamway-webhook-ca@{now}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut params, now, now.saturating_add(seconds(lifetime)))?;
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Self::new(&certificate, &key)
    }

    /// A serving certificate by this CA for `hosts`, valid from `now` on, for `lifetime` or as long as
    /// the CA.
    ///
    /// # Errors
    /// What rcgen says of a key that is none, or a host that is no name and no address.
    pub(super) fn issue(
        &self,
        hosts: &[String],
        now: i64,
        lifetime: Duration,
    ) -> Result<Self, rcgen::Error> {
        let issuer =
            Issuer::from_ca_cert_der(&self.certificate.der, KeyPair::from_pem(&self.key.0)?)?;
        let mut params = CertificateParams::new(hosts.to_vec())?;
        params.distinguished_name = name("streamway-webhook");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let ends = now
            .saturating_add(seconds(lifetime))
            .min(self.certificate.ends());
        validity(&mut params, now, ends)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Self::new(&certificate, &key)
    }

    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Result<Self, rcgen::Error> {
        let certificate = Certificate::read(&certificate.pem());
        Ok(Self {
            certificate: certificate.ok_or(rcgen::Error::CouldNotParseCertificate)?,
            key: Key(key.serialize_pem()),
        })
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn validity(params: &mut CertificateParams, made: i64, ends: i64) -> Result<(), rcgen::Error> {
    let time = |seconds: i64| {
        let since = Duration::from_secs(seconds.max(0).unsigned_abs());
        std::time::SystemTime::UNIX_EPOCH
            .checked_add(since)
            .ok_or(rcgen::Error::Time)
    };
    params.not_before = time(made - CLOCK_SKEW)?.into();
    params.not_after = time(ends)?.into();
    Ok(())
}

/// Whole seconds.
pub(super) fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.validity).finish()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}
