//! Snapshots: what was read of a cluster, to look at later and elsewhere.
//!
//! One JSON object a line: a head, then roles and bindings, then an end with their number, so that one that
//! was cut off is known, with the server and the AccessExemptions. There is nothing secret in it: no other
//! kinds, no annotations; an exemption's reason is what somebody wrote.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use streamway_audit::{Exemptions, Server, Warning};
use streamway_rbac::Policy;

use crate::objects::Object;

const API_VERSION: &str = "audit.streamway.dev/v1";
/// The longest line: etcd holds no object of that size.
const LONGEST_LINE: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
enum Line {
    #[serde(rename = "AuditSnapshot", rename_all = "camelCase")]
    Head { api_version: String, source: String },
    #[serde(rename = "AuditSnapshotEnd", rename_all = "camelCase")]
    End {
        objects: usize,
        server: Server,
        #[serde(default)]
        exemptions: Exemptions,
        warnings: Vec<Warning>,
    },
}

/// Writes one beside its place, and puts it there at the end.
pub(crate) struct Writer {
    file: BufWriter<File>,
    path: PathBuf,
    partial: PathBuf,
    objects: usize,
}

impl Writer {
    pub(crate) fn create(path: &Path, source: &str) -> Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial);
        let file = file.with_context(|| format!("{} cannot be written", partial.display()))?;
        let mut writer = Self {
            file: BufWriter::new(file),
            path: path.to_owned(),
            partial,
            objects: 0,
        };
        writer.line(&Line::Head {
            api_version: API_VERSION.to_owned(),
            source: source.to_owned(),
        })?;
        Ok(writer)
    }

    pub(crate) fn add(&mut self, object: &Object) -> Result<()> {
        self.objects += 1;
        self.line(object)
    }

    pub(crate) fn finish(
        mut self,
        server: &Server,
        exemptions: &Exemptions,
        warnings: &[Warning],
    ) -> Result<()> {
        self.line(&Line::End {
            objects: self.objects,
            server: server.clone(),
            exemptions: exemptions.clone(),
            warnings: warnings.to_vec(),
        })?;
        self.file.flush()?;
        let named = || format!("{} cannot be written", self.path.display());
        std::fs::rename(&self.partial, &self.path).with_context(named)
    }

    fn line(&mut self, line: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.file, line)?;
        self.file.write_all(b"\n")?;
        Ok(())
    }
}

/// What a snapshot holds.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) policy: Policy,
    pub(crate) server: Server,
    pub(crate) source: String,
    pub(crate) exemptions: Exemptions,
    /// What could not be read when it was made.
    pub(crate) warnings: Vec<Warning>,
}

pub(crate) fn read(path: &Path) -> Result<Snapshot> {
    let named = || format!("{} is no snapshot that can be read", path.display());
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    lines(BufReader::new(file)).with_context(named)
}

fn lines(mut input: impl BufRead) -> Result<Snapshot> {
    let mut text = String::new();
    next(&mut input, &mut text)?;
    let head = serde_json::from_str(&text);
    let Ok(Line::Head {
        api_version,
        source,
    }) = head
    else {
        bail!("the first line is not an AuditSnapshot's");
    };
    ensure!(
        api_version == API_VERSION,
        "it is of {api_version}, and this program reads {API_VERSION}"
    );
    let mut policy = Policy::of_cluster();
    let mut objects = 0;
    loop {
        next(&mut input, &mut text)?;
        ensure!(
            !text.is_empty(),
            "it ends after {objects} objects, before its end"
        );
        let object = Object::parse(&text).with_context(|| format!("line {}", objects + 2))?;
        if let Some(object) = object {
            object.add_to(&mut policy);
            objects += 1;
            continue;
        }
        let line = serde_json::from_str(&text).with_context(|| format!("line {}", objects + 2))?;
        let Line::End {
            objects: told,
            server,
            exemptions,
            warnings,
        } = line
        else {
            bail!("line {} is a second head", objects + 2);
        };
        ensure!(
            told == objects,
            "it has {objects} objects and should have {told}"
        );
        return Ok(Snapshot {
            policy,
            server,
            source,
            exemptions,
            warnings,
        });
    }
}

fn next(input: &mut impl BufRead, text: &mut String) -> Result<()> {
    use std::io::Read;
    text.clear();
    let read = input.take(LONGEST_LINE).read_line(text)?;
    ensure!(
        (read as u64) < LONGEST_LINE,
        "it has a line of more than {LONGEST_LINE} bytes"
    );
    Ok(())
}
