//! Versions of API servers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of Kubernetes, as `/version` tells it or somebody writes it: `v1.36.3`, `1.36`,
/// `v1.33.5-gke.1162000`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    text: String,
    major: u32,
    minor: u32,
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of Kubernetes; expected one like v1.36.3 or 1.36")]
pub struct BadVersion(String);

impl Version {
    /// Reads a version.
    ///
    /// # Errors
    ///
    /// If it does not begin with two numbers.
    pub fn parse(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.to_owned());
        let numbers = text.strip_prefix('v').unwrap_or(text);
        let mut parts = numbers.splitn(3, '.');
        let major = parts.next().and_then(|part| part.parse().ok());
        let minor = parts.next().map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit());
            part.get(..end.unwrap_or(part.len())).unwrap_or_default()
        });
        let minor = minor.and_then(|digits| digits.parse().ok());
        Ok(Self {
            text: text.to_owned(),
            major: major.ok_or_else(bad)?,
            minor: minor.ok_or_else(bad)?,
        })
    }

    /// Whether it is 1.`minor` or later.
    pub fn is_at_least(&self, minor: u32) -> bool {
        (self.major, self.minor) >= (1, minor)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `1.36`.
    pub fn short(&self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Version {
    type Error = BadVersion;

    fn try_from(text: String) -> Result<Self, BadVersion> {
        Self::parse(&text)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let table = [
            ("v1.36.3", "1.36"),
            ("1.36", "1.36"),
            ("1.27+", "1.27"),
            ("v1.33.5-gke.1162000", "1.33"),
            ("v1.35.0-rc.1+k3s1", "1.35"),
        ];
        for (text, short) in table {
            let version = Version::parse(text).unwrap();
            assert_eq!(version.short(), short, "{text}");
            assert_eq!(version.to_string(), text);
        }
        for text in ["", "1", "v1", "one.two", "1.", "36", "-1.36", "1.x"] {
            assert!(Version::parse(text).is_err(), "{text:?}");
        }
        let version = Version::parse("v1.35.0").unwrap();
        assert!(version.is_at_least(34) && version.is_at_least(35) && !version.is_at_least(36));
        assert!(Version::parse("2.0").unwrap().is_at_least(99));
    }
}
