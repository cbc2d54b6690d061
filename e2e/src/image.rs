//! A container image, `docker.io/library/box:1`, made of Debian's static busybox: an OCI archive
//! without a builder.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

/// The image's name.
pub const NAME: &str = "docker.io/library/box:1";

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

/// Writes the archive.
pub fn write(path: &Path) -> Result<()> {
    let layer = layer()?;
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": { "Cmd": ["/bin/sleep", "1000000"], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    })
    .to_string()
    .into_bytes();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    })
    .to_string()
    .into_bytes();
    let named = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(&manifest),
        "size": manifest.len(),
        "annotations": { "io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": NAME },
    });
    let index = json!({ "schemaVersion": 2, "manifests": [named] })
        .to_string()
        .into_bytes();

    let mut archive = tar::Builder::new(std::fs::File::create(path)?);
    add(
        &mut archive,
        "oci-layout",
        br#"{"imageLayoutVersion":"1.0.0"}"#,
        0o644,
    )?;
    add(&mut archive, "index.json", &index, 0o644)?;
    for blob in [&config, &manifest, &layer] {
        let name = digest(blob).replace(':', "/");
        add(&mut archive, &format!("blobs/{name}"), blob, 0o644)?;
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

fn layer() -> Result<Vec<u8>> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find_map(|path| std::fs::read(path).ok());
    let busybox = busybox.context("there is no busybox: apt-get install busybox-static")?;
    let mut layer = tar::Builder::new(Vec::new());
    for folder in ["bin/", "tmp/"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(if folder == "tmp/" { 0o1777 } else { 0o755 });
        header.set_size(0);
        layer.append_data(&mut header, folder, std::io::empty())?;
    }
    add(&mut layer, "bin/busybox", &busybox, 0o755)?;
    for command in COMMANDS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        layer.append_link(&mut header, format!("bin/{command}"), "busybox")?;
    }
    Ok(layer.into_inner()?)
}

fn add<W: Write>(archive: &mut tar::Builder<W>, name: &str, data: &[u8], mode: u32) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, name, data)?;
    Ok(())
}

fn descriptor(media_type: &str, blob: &[u8]) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

fn digest(blob: &[u8]) -> String {
    let hex: String = Sha256::digest(blob)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}
