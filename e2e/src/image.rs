//! The container images that clusters here run: `box`, made of Debian's static busybox, and
//! Streamway's.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::oci::{Image, Layer};
use crate::run::{self, command};

/// The box's name.
pub const NAME: &str = "docker.io/library/box:1";

/// Streamway's name in `config/`, without its tag. Nobody's registry: who installs it says their own.
pub const STREAMWAY: &str = "registry.invalid/streamway/streamway";

/// The programs in Streamway's image.
pub const PROGRAMS: [&str; 3] = ["streamproxy", "controller", "webhook"];

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

/// Streamway's image: its programs, each linked statically, by their names; no shell, no other files,
/// and a user without rights.
pub fn streamway(name: &str, programs: &[(&str, Vec<u8>)]) -> Result<Image> {
    let mut layer = Layer::default();
    for (program, bytes) in programs {
        layer.file(program, bytes, 0o755)?;
    }
    Image::new(name, layer, &streamway_config())
}

/// The same of programs in a folder that are not static, as cargo builds them for tests: with their
/// libraries.
pub fn streamway_with_libraries(name: &str, folder: &Path) -> Result<Image> {
    let mut layer = Layer::default();
    let mut libraries = BTreeSet::new();
    for program in PROGRAMS {
        let path = folder.join(program);
        layer.file(program, &stripped(&path)?, 0o755)?;
        let told = run::output(&mut command("ldd", [path.to_string_lossy().as_ref()]))?;
        let words = told.split_whitespace();
        libraries.extend(
            words
                .filter(|word| word.starts_with('/'))
                .map(str::to_owned),
        );
    }
    for library in &libraries {
        let path = library.trim_start_matches('/');
        layer.file(path, &read(Path::new(library))?, 0o755)?;
    }
    Image::new(name, layer, &streamway_config())
}

/// A program without what only debuggers read, which is most of it.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("stripped");
    let mut strip = command("strip", ["--strip-debug", "-o"]);
    run::output(strip.arg(&path).arg(program))?;
    read(&path)
}

/// No entrypoint: manifests say which program they mean.
fn streamway_config() -> Value {
    json!({
        "User": "65532:65532",
        "Labels": {
            "org.opencontainers.image.title": "streamway",
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
        let name = format!(
            "image: {}:{}\n",
            super::STREAMWAY,
            env!("CARGO_PKG_VERSION")
        );
        for (file, manifest) in [
            (
                "gateway",
                include_str!("../../config/base/gateway/deployment.yaml"),
            ),
            (
                "controller",
                include_str!("../../config/base/controller/deployment.yaml"),
            ),
            (
                "webhook",
                include_str!("../../config/base/webhook/deployment.yaml"),
            ),
            (
                "agent",
                include_str!("../../config/base/agent/daemon-set.yaml"),
            ),
            (
                "withdraw",
                include_str!("../../config/base/withdraw/job.yaml"),
            ),
        ] {
            let images = manifest.matches(" image: ").count();
            assert!(images > 0, "{file} has no image");
            assert_eq!(
                manifest.matches(&name).count(),
                images,
                "{name} is not all of {file}"
            );
        }
    }
}
