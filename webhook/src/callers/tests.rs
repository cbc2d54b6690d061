#![allow(clippy::unwrap_used)]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn issuer() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn client(issuer: &Issuer, name: &str) -> Caller {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    Caller([certificate.der().clone()].into())
}

fn callers(issuer: &Issuer, names: &[&str]) -> Callers {
    let authorities = ClientCa::empty();
    authorities.replace(issuer.pem().as_bytes()).unwrap();
    let names = names.iter().map(|&name| name.to_owned()).collect();
    Callers::new(authorities, names)
}

#[test]
fn only_who_was_signed_may_ask() {
    let (own, other) = (issuer(), issuer());
    let callers = callers(&own, &[]);
    assert_eq!(callers.check(&client(&own, "anyone")), Ok(()));
    for caller in [Caller::default(), client(&other, "anyone")] {
        let refusal = callers.check(&caller).unwrap_err();
        assert_eq!(refusal.status, 403);
        assert!(
            refusal.message.contains("--client-ca-file"),
            "{}",
            refusal.message
        );
    }
}

#[test]
fn names_are_looked_at_where_there_are_some() {
    let own = issuer();
    let callers = callers(&own, &["front-proxy-client", "apiserver"]);
    assert_eq!(callers.check(&client(&own, "apiserver")), Ok(()));
    let refusal = callers.check(&client(&own, "jane")).unwrap_err();
    assert_eq!(refusal.status, 403);
    let words = "\"jane\" is not one of --client-allowed-names front-proxy-client,apiserver";
    assert_eq!(refusal.message, words);
}
