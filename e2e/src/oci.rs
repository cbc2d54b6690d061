//! Container images of one layer, put together without a builder: as an archive that containerd and
//! registries' tools import, or as a folder. The same content gives the same bytes.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What is in the image. Owners are root and times are none, whatever they are on this machine.
pub struct Layer(tar::Builder<Vec<u8>>);

/// An image.
#[derive(Debug)]
pub struct Image {
    /// By path in the layout.
    files: Vec<(String, Vec<u8>)>,
    digest: String,
}

impl Default for Layer {
    fn default() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }
}

impl std::fmt::Debug for Layer {
    /// Not its bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Layer")
    }
}

impl Layer {
    /// Adds a folder, whose parents are there.
    pub fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        let mut header = header(0, mode);
        header.set_entry_type(tar::EntryType::Directory);
        self.0
            .append_data(&mut header, format!("{path}/"), std::io::empty())?;
        Ok(())
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, data: &[u8], mode: u32) -> Result<()> {
        let mut header = header(data.len(), mode);
        self.0.append_data(&mut header, path, data)?;
        Ok(())
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let mut header = header(0, 0o777);
        header.set_entry_type(tar::EntryType::Symlink);
        self.0.append_link(&mut header, path, target)?;
        Ok(())
    }
}

impl Image {
    /// An image `name` (`registry/repository:tag`) of a layer; `config` is what OCI's image
    /// specification calls so: `Entrypoint`, `User`, `Env` ….
    pub fn new(name: &str, layer: Layer, config: &Value) -> Result<Self> {
        let layer = layer.0.into_inner()?;
        let config = bytes(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
        }));
        let manifest = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        }));
        let tag = name.rsplit(':').next().unwrap_or(name);
        let named = json!({
            "mediaType": MANIFEST,
            "digest": digest(&manifest),
            "size": manifest.len(),
            // containerd goes by the first, others by the second.
            "annotations": {
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": tag,
            },
        });
        let index = bytes(&json!({ "schemaVersion": 2, "manifests": [named] }));
        let digest = digest(&manifest);
        let mut files = vec![
            (
                "oci-layout".to_owned(),
                br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
            ),
            ("index.json".to_owned(), index),
        ];
        files.extend([config, manifest, layer].map(|blob| (blob_path(&blob), blob)));
        Ok(Self { files, digest })
    }

    /// The manifest's digest: `sha256:…`.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Writes it as one file.
    pub fn write_archive(&self, path: &Path) -> Result<()> {
        let file = fs::File::create(path).with_context(|| format!("writing {}", path.display()))?;
        let mut archive = tar::Builder::new(file);
        for (name, data) in &self.files {
            archive.append_data(&mut header(data.len(), 0o644), name, data.as_slice())?;
        }
        archive.into_inner()?.flush()?;
        Ok(())
    }

    /// Writes it as a folder, whatever was there.
    pub fn write_layout(&self, folder: &Path) -> Result<()> {
        let _ = fs::remove_dir_all(folder);
        for (name, data) in &self.files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(&path, data).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn header(size: usize, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// This machine's, in Go's words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn blob_path(blob: &[u8]) -> String {
    format!("blobs/{}", digest(blob).replace(':', "/"))
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

fn digest(blob: &[u8]) -> String {
    let hex: String = Sha256::digest(blob)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(content: &[u8]) -> Image {
        let mut layer = Layer::default();
        layer.folder("bin", 0o755).unwrap();
        layer.file("bin/a", content, 0o755).unwrap();
        layer.link("bin/b", "a").unwrap();
        let config = json!({ "Entrypoint": ["/bin/a"] });
        Image::new("registry.invalid/x/y:1", layer, &config).unwrap()
    }

    #[test]
    fn the_same_content_is_the_same_image() {
        assert_eq!(image(b"1").digest(), image(b"1").digest());
        assert_ne!(image(b"1").digest(), image(b"2").digest());

        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["1", "2"].map(|name| {
            let path = folder.path().join(name);
            image(b"1").write_archive(&path).unwrap();
            fs::read(path).unwrap()
        });
        assert!(first == second);
    }

    #[test]
    fn every_blob_is_under_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let layout = folder.path().join("layout");
        let image = image(b"1");
        image.write_layout(&layout).unwrap();
        let read = |path: String| -> Value {
            serde_json::from_slice(&fs::read(layout.join(path)).unwrap()).unwrap()
        };
        let path = |descriptor: &Value| -> String {
            let digest = descriptor["digest"].as_str().unwrap();
            let path = format!("blobs/{}", digest.replace(':', "/"));
            let blob = fs::read(layout.join(&path)).unwrap();
            assert_eq!(super::digest(&blob), digest);
            assert_eq!(descriptor["size"], blob.len());
            path
        };
        let index = read("index.json".to_owned());
        assert_eq!(index["manifests"][0]["digest"], image.digest());
        let manifest = read(path(&index["manifests"][0]));
        let config = read(path(&manifest["config"]));
        assert_eq!(config["config"]["Entrypoint"][0], "/bin/a");
        let layer = &manifest["layers"][0];
        assert_eq!(config["rootfs"]["diff_ids"][0], layer["digest"]);
        let layer = fs::read(layout.join(path(layer))).unwrap();
        let mut archive = tar::Archive::new(layer.as_slice());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["bin/", "bin/a", "bin/b"]);
    }
}
