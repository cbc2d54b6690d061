//! Kubernetes' minor versions.

use std::fmt;

/// A version as far as it decides anything: 1.36, say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// From here on API servers send WebSockets to nodes that declare the feature (KEP-4006).
pub(crate) const SENDS_WEBSOCKETS: Version = Version::new(36);
/// From here on API servers translate WebSockets for nodes that do not.
pub(crate) const TRANSLATES: Version = Version::new(29);
/// From here on kubelets may take WebSockets: by an alpha gate in 1.35, by default after it. They say
/// so themselves, every ten seconds. Older ones leave alone what a Node declares.
pub(crate) const SPEAKS_FOR_ITSELF: Version = Version::new(35);

impl Version {
    pub(crate) const fn new(minor: u32) -> Self {
        Self { major: 1, minor }
    }

    /// From `v1.36.3`, or `v1.36.3-gke.100`, or `1.36+`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let number = |part: &str| -> Option<u32> {
            let end = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            part.get(..end)?.parse().ok()
        };
        Some(Self {
            major: number(parts.next()?)?,
            minor: number(parts.next()?)?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_kubelets_say() {
        for (text, minor) in [
            ("v1.36.3", Some(36)),
            ("v1.34.4-gke.1080", Some(34)),
            ("1.29+", Some(29)),
            ("v1.30.0+k3s1", Some(30)),
            ("v1", None),
            ("", None),
            ("one.two", None),
        ] {
            assert_eq!(Version::parse(text), minor.map(Version::new), "{text}");
        }
        assert!(Version::new(9) < Version::new(10));
    }
}
