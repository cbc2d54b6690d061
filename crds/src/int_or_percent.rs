//! A number of nodes, or a part of them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::rules::rule;

/// A number of nodes such as `2`, or a percentage of them such as `"10%"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Raw", try_from = "Raw")]
pub enum IntOrPercent {
    /// So many nodes; 1 at least.
    Int(u32),
    /// So many of a hundred; 1 to 100.
    Percent(u8),
}

/// Why a value is no [`IntOrPercent`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no number of nodes: write a number such as 2, or a percentage such as \"10%\", more than zero"
)]
pub struct IntOrPercentError(String);

impl IntOrPercent {
    /// How many of `total` nodes it comes to: percentages are rounded down, but never to none.
    ///
    /// ```
    /// use streamway_crds::IntOrPercent;
    /// assert_eq!(IntOrPercent::Percent(10).of(25), 2);
    /// assert_eq!(IntOrPercent::Percent(10).of(3), 1);
    /// ```
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Int(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => (total.saturating_mul(usize::from(percent)) / 100).max(1),
        }
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl JsonSchema for IntOrPercent {
    fn schema_name() -> Cow<'static, str> {
        "IntOrPercent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let right = rule(
            "type(self) == int ? self > 0 : string(self).matches('^([1-9][0-9]?|100)%$')",
            "write a number such as 2 or a percentage such as \"10%\", more than zero: with none no node could be brought over",
        );
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 4,
            "x-kubernetes-validations": [right],
        })
    }
}

/// As it stands in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Raw {
    Int(i64),
    Text(String),
}

impl From<IntOrPercent> for Raw {
    fn from(value: IntOrPercent) -> Self {
        match value {
            IntOrPercent::Int(count) => Self::Int(count.into()),
            IntOrPercent::Percent(_) => Self::Text(value.to_string()),
        }
    }
}

impl TryFrom<Raw> for IntOrPercent {
    type Error = IntOrPercentError;

    fn try_from(raw: Raw) -> Result<Self, IntOrPercentError> {
        let text = match raw {
            Raw::Int(count) => {
                return u32::try_from(count)
                    .ok()
                    .filter(|count| *count > 0)
                    .map(Self::Int)
                    .ok_or_else(|| IntOrPercentError(count.to_string()));
            }
            Raw::Text(text) => text,
        };
        text.strip_suffix('%')
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .filter(|percent| (1..=100).contains(percent))
            .map(Self::Percent)
            .ok_or(IntOrPercentError(text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, to_string};

    use super::*;

    #[test]
    fn numbers_and_percentages() {
        for (json, value) in [
            ("1", IntOrPercent::Int(1)),
            ("4294967295", IntOrPercent::Int(u32::MAX)),
            ("\"1%\"", IntOrPercent::Percent(1)),
            ("\"100%\"", IntOrPercent::Percent(100)),
        ] {
            assert_eq!(from_str::<IntOrPercent>(json).unwrap(), value);
            assert_eq!(to_string(&value).unwrap(), json);
        }
    }

    #[test]
    fn refuses_with_what_to_write() {
        for json in [
            "0",
            "-1",
            "\"0%\"",
            "\"101%\"",
            "\"5\"",
            "\"+5%\"",
            "\"%\"",
            "\"5 %\"",
            "4294967296",
        ] {
            let error = from_str::<IntOrPercent>(json).unwrap_err().to_string();
            assert!(
                error.contains("write a number such as 2"),
                "{json}: {error}"
            );
        }
    }

    #[test]
    fn a_part_is_never_none() {
        for (value, total, nodes) in [
            (IntOrPercent::Int(3), 100, 3),
            (IntOrPercent::Percent(33), 10, 3),
            (IntOrPercent::Percent(1), 5, 1),
            (IntOrPercent::Percent(1), 0, 1),
            (IntOrPercent::Percent(100), 5000, 5000),
            (IntOrPercent::Percent(100), usize::MAX, usize::MAX / 100),
        ] {
            assert_eq!(value.of(total), nodes, "{value} of {total}");
        }
    }
}
