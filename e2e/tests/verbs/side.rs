//! One side of the comparison: a shell in which `kubectl` is one that talks to the API server, or to
//! the gateway before it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair};
use streamway_e2e::image;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::run;

use super::normal::{Normal, Objects};

/// Longest time in seconds that a command may take.
const DEADLINE: &str = "180";

/// Files that commands find in their folder. NODE is the side's node.
const FILES: [(&str, &str); 6] = [
    ("web.yaml", include_str!("web.yaml")),
    ("settings.yaml", include_str!("settings.yaml")),
    ("pods.yaml", include_str!("pods.yaml")),
    ("drained.yaml", include_str!("drained.yaml")),
    ("held.yaml", include_str!("held.yaml")),
    ("refused.yaml", include_str!("refused.yaml")),
];

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A shell with one kubectl.
#[derive(Debug)]
pub(crate) struct Side {
    folder: tempfile::TempDir,
    shell: Vec<(String, String)>,
    normal: Normal,
}

/// What a side works on. The names of two sides have the same length, so that tables do.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) node: String,
    /// Ends what is named and has no namespace.
    pub(crate) suffix: &'static str,
}

impl Side {
    /// A folder with the files, a program `kubectl`, and a cache of its own: a discovery that was kept
    /// from another cluster at this address would be a difference.
    pub(crate) fn new(
        kubectl: &Kubectl,
        place: &Place,
        server: &str,
        objects: Objects,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let here = |name: &str| folder.path().join(name);
        for (name, text) in FILES {
            fs::write(here(name), text.replace("NODE", &place.node))?;
        }
        fs::write(here("csr.yaml"), signing_request(place.suffix)?)?;
        fs::create_dir(here("bin"))?;
        let command = kubectl.command(&["-n", &place.namespace]);
        let program = command.get_program().to_string_lossy();
        let args: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        let script = format!(
            "#!/bin/sh\nexec '{program}' '{}' \"$@\"\n",
            args.join("' '")
        );
        fs::write(here("bin/kubectl"), script)?;
        fs::set_permissions(here("bin/kubectl"), fs::Permissions::from_mode(0o755))?;

        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", here("bin").display());
        let own = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
        let cache = here("cache");
        let shell = [
            ("PATH", &*path),
            ("KUBECTL", &program),
            ("KUBECACHEDIR", &cache.to_string_lossy()),
            ("NS", &place.namespace),
            ("NODE", &place.node),
            ("SIDE", place.suffix),
            ("IMAGE", image::NAME),
        ];
        let shell = shell
            .into_iter()
            .chain(own)
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut names = vec![
            (folder.path().to_string_lossy().into_owned(), "FOLDER"),
            (server.to_owned(), "SERVER"),
        ];
        if objects == Objects::Equal {
            names.extend([
                (place.namespace.clone(), "NAMESPACE"),
                (place.node.clone(), "NODE"),
                (format!("-{}", place.suffix), "-SIDE"),
            ]);
        }
        let normal = Normal::new(objects, &names);
        Ok(Self {
            folder,
            shell,
            normal,
        })
    }

    /// Runs a command of the table, and tells how it ended, but for what must differ.
    pub(crate) fn run(&self, script: &str) -> Result<Ended> {
        let mut command = Command::new("timeout");
        command.args([DEADLINE, "bash", "-o", "pipefail", "-c", script]);
        command
            .current_dir(self.folder.path())
            .envs(self.shell.iter().map(|(name, value)| (name, value)))
            .env_remove("HTTPS_PROXY");
        let output = run::complete(&mut command)?;
        let text = |bytes: &[u8]| self.normal.of(&String::from_utf8_lossy(bytes));
        Ok(Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }
}

/// `csr.yaml`: a request of jane's.
fn signing_request(suffix: &str) -> Result<String> {
    let mut jane = CertificateParams::default();
    jane.distinguished_name.push(DnType::CommonName, "jane");
    let request = jane.serialize_request(&KeyPair::generate()?)?.pem()?;
    Ok(include_str!("csr.yaml")
        .replace("SIDE", suffix)
        .replace("REQUEST", &STANDARD.encode(request)))
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            code,
            stdout,
            stderr,
        } = self;
        write!(f, "exit {code}\n{stdout}--- stderr\n{stderr}")
    }
}
