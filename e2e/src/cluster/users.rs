//! Users, and their kubeconfigs.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use super::Cluster;
use crate::kubectl::NO_USER;
use crate::pki::Pair;

/// Users by token, and their groups. What each but the first may do is for tests to say.
const BY_TOKEN: [(&str, &str); 4] = [
    ("admin", "system:masters"),
    ("dev", ""),
    ("reader", ""),
    ("nobody", ""),
];

/// Users by client certificate, and their groups. What the second may do is for tests to say.
const BY_CERTIFICATE: [(&str, &[&str]); 2] = [
    ("cert-admin", &["system:masters"]),
    ("cert-dev", &["team-a", "team-b"]),
];

impl Cluster {
    /// A user's bearer token.
    pub fn token(user: &str) -> String {
        format!("{user}-token")
    }

    /// Makes tokens and certificates, and the kubeconfigs of the administrator and of stream proxies.
    pub(super) fn write_users(&self) -> Result<()> {
        let mut tokens = String::new();
        for (user, groups) in BY_TOKEN {
            let _ = write!(tokens, "{},{user},{user}", Self::token(user));
            // An empty column would be a group without a name.
            if !groups.is_empty() {
                let _ = write!(tokens, ",\"{groups}\"");
            }
            tokens.push('\n');
        }
        fs::write(self.file("tokens.csv"), tokens)?;
        for (user, groups) in BY_CERTIFICATE {
            self.authority.client(user, user, groups)?;
        }
        self.authority.client(
            "apiserver-kubelet",
            "kube-apiserver-kubelet-client",
            &["system:masters"],
        )?;
        fs::write(self.kubeconfig(), self.users_kubeconfig(&self.url()))?;
        let proxy = self.authority.client("proxy", "streamproxy", &[])?;
        self.write_kubeconfig("proxy", &proxy).map(drop)
    }

    /// A kubeconfig with a context for each user, for a server with a certificate of the cluster's.
    pub(super) fn users_kubeconfig(&self, server: &str) -> String {
        let mut users = String::new();
        let mut contexts = format!("- {{name: {NO_USER}, context: {{cluster: c}}}}\n");
        let mut add = |user: &str, credential: String| {
            let _ = writeln!(users, "- {{name: {user}, user: {{{credential}}}}}");
            let _ = writeln!(
                contexts,
                "- {{name: {user}, context: {{cluster: c, user: {user}}}}}"
            );
        };
        for (user, _) in BY_TOKEN {
            add(user, format!("token: {}", Self::token(user)));
        }
        for (user, _) in BY_CERTIFICATE {
            add(user, self.by_certificate(&self.pair(user)));
        }
        self.kubeconfig_of(server, &users, &contexts, "admin")
    }

    /// Writes `NAME.kubeconfig`, for the one user of a certificate.
    pub(super) fn write_kubeconfig(&self, name: &str, certificate: &Pair) -> Result<PathBuf> {
        let users = format!(
            "- {{name: u, user: {{{}}}}}\n",
            self.by_certificate(certificate)
        );
        let contexts = "- {name: u, context: {cluster: c, user: u}}\n";
        let path = self.file(&format!("{name}.kubeconfig"));
        fs::write(
            &path,
            self.kubeconfig_of(&self.url(), &users, contexts, "u"),
        )?;
        Ok(path)
    }

    fn kubeconfig_of(&self, server: &str, users: &str, contexts: &str, current: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- {{name: c, cluster: {{server: \"{server}\", \
             certificate-authority: {}}}}}\nusers:\n{users}contexts:\n{contexts}\
             current-context: {current}\n",
            self.file("ca.crt").display()
        )
    }

    fn by_certificate(&self, pair: &Pair) -> String {
        format!(
            "client-certificate: {}, client-key: {}",
            pair.certificate.display(),
            pair.key.display()
        )
    }

    /// The certificate of a user by certificate, or of what else was signed under this name.
    pub fn pair(&self, name: &str) -> Pair {
        Pair {
            certificate: self.file(&format!("{name}.crt")),
            key: self.file(&format!("{name}.key")),
        }
    }
}
