//! Durations as Go and Kubernetes write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::rules::text;

/// A span of time such as `30s`, `10m` or `1h30m`; units `h`, `m`, `s`, `ms`; a year at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Duration(std::time::Duration);

/// Why a text is no [`Duration`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no duration: write whole numbers with units, such as 30s, 10m or 1h30m, a year at most"
)]
pub struct DurationError(String);

impl Duration {
    /// None at all.
    pub const ZERO: Self = Self(std::time::Duration::ZERO);

    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// So many minutes.
    #[must_use]
    pub const fn from_mins(minutes: u64) -> Self {
        Self::from_secs(minutes * 60)
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn get(self) -> std::time::Duration {
        self.0
    }

    /// Whether it is none at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.to_string()
    }
}

impl TryFrom<String> for Duration {
    type Error = DurationError;

    fn try_from(text: String) -> Result<Self, DurationError> {
        text.parse()
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        parse_ms(text)
            .filter(|ms| *ms <= LONGEST_MS)
            .map(|ms| Self(std::time::Duration::from_millis(ms)))
            .ok_or_else(|| DurationError(text.to_owned()))
    }
}

impl fmt::Display for Duration {
    /// Without units that are zero: `1h30m`, not Go's `1h30m0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.0.as_millis();
        for (unit, ms) in UNITS {
            let whole = rest / u128::from(ms);
            rest %= u128::from(ms);
            if whole > 0 {
                write!(f, "{whole}{unit}")?;
            }
        }
        Ok(())
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        text(
            32,
            "self.matches('^([0-9]{1,12}(h|m|s|ms))+$') && duration(self) <= duration('8784h')",
            "write whole numbers with units, such as 30s, 10m or 1h30m; a year at most",
        )
    }
}

const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const LONGEST_MS: u64 = 366 * 24 * 3_600_000;

/// Milliseconds, or none if it is written wrongly or does not fit.
fn parse_ms(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = number
            .parse::<u64>()
            .ok()?
            .checked_mul(*ms)?
            .checked_add(total)?;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, seconds, printed) in [
            ("30s", 30, "30s"),
            ("10m", 600, "10m"),
            ("1h30m", 5400, "1h30m"),
            ("1h30m0s", 5400, "1h30m"),
            ("90m", 5400, "1h30m"),
            ("1500ms500ms", 2, "2s"),
            ("0s", 0, "0s"),
            ("8784h", 31_622_400, "8784h"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration, Duration::from_secs(seconds), "{text}");
            assert_eq!(duration.to_string(), printed);
            assert_eq!(printed.parse(), Ok(duration));
        }
    }

    #[test]
    fn refuses_with_what_to_write() {
        for text in [
            "",
            "10",
            "m",
            "-1m",
            "1.5h",
            "1d",
            "10 m",
            "10m5",
            "10min",
            "1h-1m",
            "8785h",
            "99999999999999999999h",
            "18446744073709551615h",
            "µs",
        ] {
            let error = text.parse::<Duration>().unwrap_err();
            assert!(
                error.to_string().contains("such as 30s, 10m or 1h30m"),
                "{text}"
            );
        }
    }

    #[test]
    fn is_a_string_in_json() {
        let json = serde_json::to_string(&Duration::from_mins(90)).unwrap();
        assert_eq!(json, "\"1h30m\"");
        assert_eq!(
            serde_json::from_str::<Duration>(&json).unwrap(),
            Duration::from_mins(90)
        );
        assert!(serde_json::from_str::<Duration>("600").is_err());
    }
}
