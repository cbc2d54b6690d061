use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

struct Signer {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (SystemTime::now() - HOUR).into();
    params.not_after = (SystemTime::now() + HOUR).into();
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn root(params: CertificateParams) -> Signer {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Signer {
        certificate,
        issuer: Issuer::new(params, key),
    }
}

impl Signer {
    fn intermediate(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = params("client");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    fn trusted(&self) -> ClientCa {
        let ca = ClientCa::empty();
        assert!(ca.replace(self.certificate.pem().as_bytes()).unwrap());
        ca
    }
}

fn invalid(ca: &ClientCa, chain: &[CertificateDer<'_>], now: UnixTime) -> webpki::Error {
    match ca.verify(chain, now) {
        Err(ClientCertError::Invalid(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_clients_certificate_holds() {
    let root = root(ca_params("root"));
    let ca = root.trusted();
    ca.verify(&[root.leaf(|_| {})], UnixTime::now()).unwrap();
    let any_usage = root.leaf(|params| params.extended_key_usages.clear());
    ca.verify(&[any_usage], UnixTime::now()).unwrap();

    let intermediate = root.intermediate(ca_params("intermediate"));
    let leaf = intermediate.leaf(|_| {});
    let chain = [leaf.clone(), intermediate.certificate.der().clone()];
    ca.verify(&chain, UnixTime::now()).unwrap();
    assert!(matches!(
        invalid(&ca, &[leaf], UnixTime::now()),
        webpki::Error::UnknownIssuer
    ));
}

#[test]
fn what_does_not_hold() {
    let trusted = root(ca_params("root"));
    let ca = trusted.trusted();
    let now = UnixTime::now();
    // The name is the root's; the key is not.
    let impostor = root(ca_params("root"));
    ca.verify(&[impostor.leaf(|_| {})], now).unwrap_err();
    let servers = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    let servers = invalid(&ca, &[trusted.leaf(servers)], now);
    assert!(
        matches!(servers, webpki::Error::RequiredEkuNotFoundContext(_)),
        "{servers:?}"
    );
    let expired = |params: &mut CertificateParams| {
        params.not_after = (SystemTime::now() - Duration::from_secs(60)).into();
    };
    let expired = invalid(&ca, &[trusted.leaf(expired)], now);
    assert!(
        matches!(expired, webpki::Error::CertExpired { .. }),
        "{expired:?}"
    );
    let early = |params: &mut CertificateParams| {
        params.not_before = (SystemTime::now() + Duration::from_secs(60)).into();
    };
    let early = invalid(&ca, &[trusted.leaf(early)], now);
    assert!(
        matches!(early, webpki::Error::CertNotValidYet { .. }),
        "{early:?}"
    );
    // A client's certificate signs nothing.
    let client = trusted.intermediate(params("client"));
    let chain = [client.leaf(|_| {}), client.certificate.der().clone()];
    ca.verify(&chain, now).unwrap_err();
    let garbage = CertificateDer::from(vec![0x30, 0x00]);
    ca.verify(&[garbage], now).unwrap_err();
}

#[test]
fn an_expired_authority_is_none() {
    let mut old = ca_params("root");
    old.not_after = (SystemTime::now() - Duration::from_secs(60)).into();
    let root = root(old);
    let leaf = root.leaf(|_| {});
    let error = invalid(&root.trusted(), &[leaf], UnixTime::now());
    assert!(matches!(error, webpki::Error::UnknownIssuer), "{error:?}");
}

#[test]
fn no_chain_no_authority_and_endless_chains() {
    let root = root(ca_params("root"));
    let leaf = root.leaf(|_| {});
    let now = UnixTime::now();
    let empty = ClientCa::empty();
    assert!(!empty.is_loaded());
    assert!(matches!(
        empty.verify(std::slice::from_ref(&leaf), now),
        Err(ClientCertError::NoAuthority)
    ));
    let ca = root.trusted();
    assert!(matches!(ca.verify(&[], now), Err(ClientCertError::Missing)));
    let chain = vec![leaf; 2 + MAX_INTERMEDIATES];
    assert!(matches!(
        ca.verify(&chain, now),
        Err(ClientCertError::TooLong { length: 10 })
    ));
}

#[test]
fn a_bundle_is_replaced_whole_and_a_broken_one_is_not_taken() {
    let (old, new) = (root(ca_params("old")), root(ca_params("new")));
    let both = format!("# both\n{}{}", old.certificate.pem(), new.certificate.pem());
    let ca = old.trusted();
    let now = UnixTime::now();
    ca.verify(&[new.leaf(|_| {})], now).unwrap_err();
    assert!(ca.replace(both.as_bytes()).unwrap());
    assert!(!ca.replace(both.as_bytes()).unwrap(), "the same again");
    for authority in [&old, &new] {
        ca.verify(&[authority.leaf(|_| {})], now).unwrap();
    }
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(ca.replace(b""), Err(ClientCaError::Empty)));
    assert!(matches!(
        ca.replace(broken.as_bytes()),
        Err(ClientCaError::Unusable(_))
    ));
    ca.verify(&[old.leaf(|_| {})], now).unwrap();
    assert!(ca.replace(new.certificate.pem().as_bytes()).unwrap());
    ca.verify(&[old.leaf(|_| {})], now).unwrap_err();
}

#[test]
fn a_file_is_read_again() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("ca.crt");
    let missing = ClientCa::from_file("--client-ca-file", &path).unwrap_err();
    assert_eq!(missing.code(), crate::exit::USAGE);
    assert!(
        missing.to_string().contains("cannot be read: no such file"),
        "{missing}"
    );

    let (old, new) = (root(ca_params("old")), root(ca_params("new")));
    std::fs::write(&path, old.certificate.pem()).unwrap();
    let ca = ClientCa::from_file("--client-ca-file", &path).unwrap();
    std::fs::write(&path, "no PEM").unwrap();
    assert_eq!(ca.reload(), Err("holds no certificate".to_owned()));
    ca.verify(&[old.leaf(|_| {})], UnixTime::now()).unwrap();
    std::fs::write(&path, new.certificate.pem()).unwrap();
    ca.reload().unwrap();
    ca.verify(&[new.leaf(|_| {})], UnixTime::now()).unwrap();
}
