//! The certificate that this process shows: to its clients, or to a server that it is a client of.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};

use super::Validity;
use super::file::{NamedFile, RELOAD_PERIOD, fingerprint};
use crate::exit::ExitError;
use crate::metrics::CertificateExpiry;

/// How long a self-signed certificate is valid; the kubelet's own is, too
/// (`k8s.io/client-go@v0.36.3/util/cert`).
const SELF_SIGNED_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);
/// Clocks of clients may be slow by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// A certificate with its key, replaced under running connections. Clones are the same.
#[derive(Debug, Clone)]
pub struct OwnCert {
    /// What it is, for the log.
    what: &'static str,
    source: Arc<Source>,
    current: Arc<ArcSwap<Loaded>>,
}

#[derive(Debug)]
enum Source {
    Files { cert: NamedFile, key: NamedFile },
    SelfSigned { hosts: Vec<String> },
}

#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    validity: Validity,
    /// Of the files' contents; a self-signed certificate has none.
    fingerprint: u64,
}

impl OwnCert {
    /// Reads `--tls-cert-file` (the certificate, then its chain) and `--tls-private-key-file`, both
    /// PEM. One file may hold both.
    ///
    /// A certificate that is expired, or not valid yet, is shown all the same, with a warning: as a
    /// kubelet does it.
    ///
    /// # Errors
    /// [`ExitError`] (64), naming flag and file, where one cannot be read, holds no certificate or
    /// key, or where they do not belong together.
    pub fn serving(cert: &Path, key: &Path) -> Result<Self, ExitError> {
        let what = "serving certificate";
        Self::from_files(
            what,
            ("--tls-cert-file", cert),
            ("--tls-private-key-file", key),
        )
    }

    /// Reads a client certificate and its key, each from the file that a flag names; otherwise as
    /// [`serving`](Self::serving).
    ///
    /// # Errors
    /// As [`serving`](Self::serving).
    pub fn client(
        cert: (&'static str, &Path),
        key: (&'static str, &Path),
    ) -> Result<Self, ExitError> {
        Self::from_files("client certificate", cert, key)
    }

    fn from_files(
        what: &'static str,
        cert: (&'static str, &Path),
        key: (&'static str, &Path),
    ) -> Result<Self, ExitError> {
        let cert = NamedFile::new(cert.0, cert.1);
        let key = NamedFile::new(key.0, key.1);
        let loaded = load(&cert, &cert.read()?, &key, &key.read()?)?;
        Ok(Self::new(what, Source::Files { cert, key }, loaded))
    }

    /// Makes a certificate for `hosts`, names and addresses alike, with a key of its own (ECDSA
    /// P-256). It is valid for a year and made anew in time by [`watch`](Self::watch).
    ///
    /// # Errors
    /// [`ExitError`] (64) for a host that is no name and no address.
    pub fn self_signed(hosts: &[String]) -> Result<Self, ExitError> {
        let loaded = self_sign(hosts)?;
        let hosts = hosts.to_vec();
        let source = Source::SelfSigned { hosts };
        Ok(Self::new("serving certificate", source, loaded))
    }

    fn new(what: &'static str, source: Source, loaded: Loaded) -> Self {
        Self {
            what,
            source: Arc::new(source),
            current: Arc::new(ArcSwap::from_pointee(loaded)),
        }
    }

    /// The certificate in force, and the chain behind it.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.current.load().key.cert.clone()
    }

    /// When the certificate in force is valid.
    pub fn validity(&self) -> Validity {
        self.current.load().validity
    }

    /// Keeps the certificate current, and `expiry`'s gauge `name` with it. Runs until dropped.
    pub async fn watch(&self, name: &'static str, expiry: CertificateExpiry) {
        let mut refused = None;
        loop {
            expiry.set(name, self.validity().not_after);
            tokio::time::sleep(RELOAD_PERIOD).await;
            let this = self.clone();
            let reload = move || this.reload(refused);
            // The error is a runtime that ends.
            let Ok(outcome) = tokio::task::spawn_blocking(reload).await else {
                return;
            };
            refused = outcome;
        }
    }

    /// Reads the files again. `refused` is the content that was logged as unusable already; the
    /// one that is unusable now is returned.
    fn reload(&self, refused: Option<u64>) -> Option<u64> {
        let (found, loaded) = match &*self.source {
            Source::SelfSigned { hosts } => {
                let left = self.validity().not_after - seconds(SystemTime::now());
                let half = i64::try_from(SELF_SIGNED_VALIDITY.as_secs() / 2).unwrap_or(i64::MAX);
                if left > half {
                    return None;
                }
                (0, self_sign(hosts))
            }
            Source::Files { cert, key } => {
                let contents = cert.read().and_then(|certs| Ok((certs, key.read()?)));
                let found = match &contents {
                    Ok((certs, key)) => fingerprint(&[certs, key]),
                    // Any other content differs from "unreadable".
                    Err(_) => 0,
                };
                if found == self.current.load().fingerprint || Some(found) == refused {
                    return refused.filter(|refused| *refused == found);
                }
                let loaded = contents.and_then(|(certs, keys)| load(cert, &certs, key, &keys));
                (found, loaded)
            }
        };
        match loaded {
            Ok(loaded) => {
                let not_after = loaded.validity.not_after;
                self.current.store(Arc::new(loaded));
                tracing::info!(not_after, "{} replaced", self.what);
                None
            }
            Err(error) => {
                tracing::warn!(%error, "{} kept: the new one cannot be used", self.what);
                Some(found)
            }
        }
    }
}

impl ResolvesServerCert for OwnCert {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

impl ResolvesClientCert for OwnCert {
    /// Whatever authorities the server names: it knows best whom it trusts, and says so.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn load(
    cert_file: &NamedFile,
    certs: &[u8],
    key_file: &NamedFile,
    key: &[u8],
) -> Result<Loaded, ExitError> {
    let fingerprint = fingerprint(&[certs, key]);
    let chain = CertificateDer::pem_slice_iter(certs)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| cert_file.wrong(&format!("is no PEM: {error}"), "write PEM into it"))?;
    let validity = chain.first().ok_or_else(|| {
        cert_file.wrong(
            "holds no certificate",
            "it needs a section BEGIN CERTIFICATE",
        )
    })?;
    let validity = Validity::of(validity)
        .ok_or_else(|| cert_file.wrong("holds something that is no X.509", "write it anew"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
        let what = format!("holds no private key: {error}");
        key_file.wrong(&what, "it needs a section BEGIN PRIVATE KEY")
    })?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => key_file.wrong(
            &format!(
                "does not belong to {} {}",
                cert_file.flag,
                cert_file.path.display()
            ),
            "give the key that the certificate was made for",
        ),
        error => key_file.wrong(
            &format!("cannot be used: {error}"),
            "use an RSA, ECDSA P-256 or P-384, or Ed25519 key",
        ),
    })?;
    if !validity.contains(UnixTime::now()) {
        let Validity {
            not_before,
            not_after,
        } = validity;
        let path = cert_file.path.display();
        tracing::warn!(%path, not_before, not_after, "certificate is not valid now");
    }
    Ok(Loaded {
        key: Arc::new(key),
        validity,
        fingerprint,
    })
}

fn self_sign(hosts: &[String]) -> Result<Loaded, ExitError> {
    let failed = |error: &dyn std::fmt::Display| {
        ExitError::usage(format_args!(
            "cannot make a self-signed certificate for {hosts:?}: {error}; \
             give --tls-cert-file and --tls-private-key-file"
        ))
    };
    let now = SystemTime::now();
    let (from, until) = (now - CLOCK_SKEW, now + SELF_SIGNED_VALIDITY);
    let key = rcgen::KeyPair::generate().map_err(|error| failed(&error))?;
    let mut params =
        rcgen::CertificateParams::new(hosts.to_vec()).map_err(|error| failed(&error))?;
    params.not_before = from.into();
    params.not_after = until.into();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let name = hosts.first().map_or("streamway", String::as_str);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![certificate.der().clone()];
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| failed(&error))?;
    let validity = Validity {
        not_before: seconds(from),
        not_after: seconds(until),
    };
    Ok(Loaded {
        key: Arc::new(key),
        validity,
        fingerprint: 0,
    })
}

fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().map_or_else(
        || Arc::new(rustls::crypto::ring::default_provider()),
        Arc::clone,
    )
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> i64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
