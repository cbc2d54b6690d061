//! A cluster's certificates.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

/// A certificate authority, and the folder that its certificates are written to.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// A certificate's and a key's file.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority, whose certificate is `{name}.crt` and whose key is `{name}.key`.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::write(folder.join(format!("{name}.crt")), issuer.pem())?;
        let key = issuer.key().serialize_pem();
        write_key(&folder.join(format!("{name}.key")), &key)?;
        Ok(Self {
            issuer,
            folder: folder.to_owned(),
        })
    }

    /// A client's certificate, in `{file}.crt`; of two groups at most.
    pub fn client(&self, file: &str, user: &str, groups: &[&str]) -> Result<Pair> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, user);
        // rcgen holds one value of a type; it does not know that these two are the same.
        let types = [
            DnType::OrganizationName,
            DnType::CustomDnType(vec![2, 5, 4, 10]),
        ];
        ensure!(
            groups.len() <= types.len(),
            "{user} is to have more than two groups: {groups:?}"
        );
        for (group, organization) in groups.iter().zip(types) {
            params.distinguished_name.push(organization, *group);
        }
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ClientAuth);
        self.sign(file, params)
    }

    /// A server's certificate for names and addresses.
    pub fn server(&self, file: &str, hosts: &[String]) -> Result<Pair> {
        let mut params = CertificateParams::new(hosts.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, file);
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
        self.sign(file, params)
    }

    fn sign(&self, file: &str, params: CertificateParams) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let pair = Pair {
            certificate: self.folder.join(format!("{file}.crt")),
            key: self.folder.join(format!("{file}.key")),
        };
        fs::write(&pair.certificate, certificate.pem())?;
        write_key(&pair.key, &key.serialize_pem())?;
        Ok(pair)
    }
}

/// A key that signs service accounts' tokens: `sa.key`, and `sa.pub` that checks them.
pub fn service_account_key(folder: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    fs::write(folder.join("sa.pub"), key.public_key_pem())?;
    write_key(&folder.join("sa.key"), &key.serialize_pem())
}

fn write_key(path: &Path, pem: &str) -> Result<()> {
    use std::io::Write;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(pem.as_bytes())?;
    Ok(())
}
