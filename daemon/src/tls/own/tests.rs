use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tempfile::TempDir;

use super::*;

/// A folder with `tls.crt` and `tls.key`.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, cert: &str, key: &str) -> &Self {
        std::fs::write(self.0.path().join("tls.crt"), cert).unwrap();
        std::fs::write(self.0.path().join("tls.key"), key).unwrap();
        self
    }

    fn load(&self) -> Result<OwnCert, ExitError> {
        OwnCert::serving(
            &self.0.path().join("tls.crt"),
            &self.0.path().join("tls.key"),
        )
    }

    fn refused(&self, cert: &str, key: &str) -> String {
        let error = self.write(cert, key).load().unwrap_err();
        assert_eq!(error.code(), crate::exit::USAGE);
        let folder = format!("{}/", self.0.path().display());
        error.to_string().replace(&folder, "")
    }
}

/// Certificate and key as PEM, for a name.
fn pair(name: &str) -> (String, String) {
    pair_until(name, SystemTime::now() + Duration::from_secs(3600))
}

fn pair_until(name: &str, until: SystemTime) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = (SystemTime::now() - Duration::from_secs(7200)).into();
    params.not_after = until.into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn files_are_served_one_file_for_both_as_well() {
    let (cert, key) = pair("node");
    let (chain, _) = pair("issuer");
    let files = Files::new();
    let serving = files.write(&format!("{cert}{chain}"), &key).load().unwrap();
    assert_eq!(serving.chain(), [der(&cert), der(&chain)]);
    let both = format!("{cert}{key}");
    assert_eq!(
        files.write(&both, &both).load().unwrap().chain(),
        [der(&cert)]
    );
}

#[test]
fn what_is_wrong_names_flag_and_file() {
    let (cert, key) = pair("node");
    let (_, other_key) = pair("other");
    let files = Files::new();
    let missing = files.load().unwrap_err().to_string();
    assert!(
        missing.starts_with("--tls-cert-file ") && missing.contains("no such file"),
        "{missing}"
    );
    for (cert, key, text) in [
        (
            "",
            &*key,
            "--tls-cert-file tls.crt is empty; write PEM into it",
        ),
        (
            &*cert,
            "",
            "--tls-private-key-file tls.key is empty; write PEM into it",
        ),
        (
            &*key,
            &*key,
            "--tls-cert-file tls.crt holds no certificate; \
             it needs a section BEGIN CERTIFICATE",
        ),
        (
            &*cert,
            &*other_key,
            "--tls-private-key-file tls.key does not belong to --tls-cert-file tls.crt; \
             give the key that the certificate was made for",
        ),
    ] {
        assert!(
            files.refused(cert, key).ends_with(text),
            "{}",
            files.refused(cert, key)
        );
    }
    let no_key = files.refused(&cert, &cert);
    assert!(
        no_key.starts_with("--tls-private-key-file tls.key holds no private key"),
        "{no_key}"
    );
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let garbage = files.refused(garbage, &key);
    assert!(
        garbage.contains("holds something that is no X.509"),
        "{garbage}"
    );
}

#[test]
fn an_expired_certificate_is_served() {
    let (cert, key) = pair_until("node", SystemTime::now() - Duration::from_secs(3600));
    let serving = Files::new().write(&cert, &key).load().unwrap();
    assert!(!serving.validity().contains(UnixTime::now()));
}

#[test]
fn a_new_pair_is_taken_and_half_a_pair_is_not() {
    let ((old, old_key), (new, new_key)) = (pair("old"), pair("new"));
    let files = Files::new();
    let serving = files.write(&old, &old_key).load().unwrap();
    assert_eq!(serving.reload(None), None, "nothing changed");

    files.write(&new, &old_key).load().unwrap_err();
    let refused = serving.reload(None);
    assert!(refused.is_some(), "the pair is broken");
    assert_eq!(serving.chain(), [der(&old)], "the old one stays");
    assert_eq!(
        serving.reload(refused),
        refused,
        "and is not complained about again"
    );

    files.write(&new, &new_key).load().unwrap();
    assert_eq!(serving.reload(refused), None);
    assert_eq!(serving.chain(), [der(&new)]);

    std::fs::remove_file(files.0.path().join("tls.crt")).unwrap();
    assert!(serving.reload(None).is_some());
    assert_eq!(
        serving.chain(),
        [der(&new)],
        "an unreadable file takes nothing away"
    );
}

#[tokio::test(start_paused = true)]
async fn watching_takes_new_files_and_measures_them() {
    let ((old, old_key), (new, new_key)) = (pair("old"), pair("new"));
    let files = Files::new();
    let serving = files.write(&old, &old_key).load().unwrap();
    let mut registry = prometheus_client::registry::Registry::default();
    let expiry = CertificateExpiry::register(&mut registry);
    let watched = serving.clone();
    let watch = tokio::spawn(async move { watched.watch("serving", expiry).await });
    files.write(&new, &new_key).load().unwrap();
    let replaced = async {
        while serving.chain() != [der(&new)] {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), replaced)
        .await
        .unwrap();
    let text = crate::metrics::encode(&registry).unwrap();
    let line = "streamway_certificate_expiry_timestamp_seconds{name=\"serving\"} ";
    assert!(text.contains(line), "{text}");
    watch.abort();
}

#[test]
fn a_self_signed_certificate_is_for_its_hosts() {
    let hosts = ["node-1".to_owned(), "10.0.0.1".to_owned()];
    let serving = OwnCert::self_signed(&hosts).unwrap();
    let [certificate] = serving.chain().try_into().unwrap();
    let certificate = webpki::EndEntityCert::try_from(&certificate).unwrap();
    for host in ["node-1", "10.0.0.1"] {
        let name = rustls_pki_types::ServerName::try_from(host).unwrap();
        certificate.verify_is_valid_for_subject_name(&name).unwrap();
    }
    let stranger = rustls_pki_types::ServerName::try_from("node-2").unwrap();
    certificate
        .verify_is_valid_for_subject_name(&stranger)
        .unwrap_err();
    assert!(serving.validity().contains(UnixTime::now()));
    assert_eq!(serving.reload(None), None, "half a year is left");

    let error = OwnCert::self_signed(&["nö".to_owned()]).unwrap_err();
    assert!(
        error.to_string().contains("give --tls-cert-file"),
        "{error}"
    );
}
