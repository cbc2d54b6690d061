//! The container images that clusters here run: `box`, made of Debian's static busybox, and the
//! stream proxy's.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::oci::{Image, Layer};
use crate::run::{self, command};

/// The box's name.
pub const NAME: &str = "docker.io/library/box:1";

/// The stream proxy's name in `config/`, without its tag. Nobody's registry: who installs it says their
/// own.
pub const STREAMPROXY: &str = "registry.invalid/streamway/streamproxy";

/// Commands that are links to busybox.
const COMMANDS: [&str; 24] = [
    "sh",
    "cat",
    "echo",
    "sleep",
    "head",
    "tail",
    "dd",
    "wc",
    "nc",
    "tee",
    "stty",
    "true",
    "false",
    "seq",
    "env",
    "ls",
    "id",
    "tar",
    "md5sum",
    "sha256sum",
    "httpd",
    "mkdir",
    "kill",
    "rm",
];

/// Writes the box's archive.
pub fn write(path: &Path) -> Result<()> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find_map(|path| std::fs::read(path).ok());
    let busybox = busybox.context("there is no busybox: apt-get install busybox-static")?;
    let mut layer = Layer::default();
    layer.folder("bin", 0o755)?;
    layer.folder("tmp", 0o1777)?;
    layer.file("bin/busybox", &busybox, 0o755)?;
    for command in COMMANDS {
        layer.link(&format!("bin/{command}"), "busybox")?;
    }
    let config = json!({ "Cmd": ["/bin/sleep", "1000000"], "Env": ["PATH=/bin"] });
    Image::new(NAME, layer, &config)?.write_archive(path)
}

/// The stream proxy's image: one static binary, no shell, no files, and a user without rights.
pub fn streamproxy(name: &str, program: &[u8]) -> Result<Image> {
    let mut layer = Layer::default();
    layer.file("streamproxy", program, 0o755)?;
    Image::new(name, layer, &streamproxy_config())
}

/// The same of a binary that is not static, as cargo builds it for tests: with its libraries.
pub fn streamproxy_with_libraries(name: &str, program: &Path) -> Result<Image> {
    let mut layer = Layer::default();
    layer.file("streamproxy", &read(program)?, 0o755)?;
    let told = run::output(&mut command("ldd", [program.to_string_lossy().as_ref()]))?;
    for library in told.split_whitespace().filter(|word| word.starts_with('/')) {
        let path = library.trim_start_matches('/');
        layer.file(path, &read(Path::new(library))?, 0o755)?;
    }
    Image::new(name, layer, &streamproxy_config())
}

fn streamproxy_config() -> Value {
    json!({
        "Entrypoint": ["/streamproxy"],
        "User": "65532:65532",
        "Labels": {
            "org.opencontainers.image.title": "streamproxy",
            "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            "org.opencontainers.image.licenses": "Apache-2.0",
        },
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_manifests_name_this_version() {
        let manifest = include_str!("../../config/base/gateway/deployment.yaml");
        let name = format!(
            "image: {}:{}\n",
            super::STREAMPROXY,
            env!("CARGO_PKG_VERSION")
        );
        assert!(manifest.contains(&name), "{name} is not in deployment.yaml");
    }
}
