//! Parts of a hundred with decimals, without floating point.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::rules::text;

/// A percentage of three decimals at most, such as `99.9%`; 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Percentage {
    thousandths: u32,
}

/// Why a text is no [`Percentage`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no percentage: write a number from 0 to 100 with a percent sign, such as \"99.9%\""
)]
pub struct PercentageError(String);

impl Percentage {
    /// From thousandths of a percent: 99_900 is 99.9 %. More than 100 % is 100 %.
    #[must_use]
    pub const fn from_thousandths(thousandths: u32) -> Self {
        Self {
            thousandths: if thousandths > WHOLE {
                WHOLE
            } else {
                thousandths
            },
        }
    }

    /// In thousandths of a percent.
    #[must_use]
    pub const fn thousandths(self) -> u32 {
        self.thousandths
    }

    /// What `part` of `total` is, rounded down, so that nothing but all is 100 %; none if `total` is zero.
    ///
    /// ```
    /// use streamway_crds::Percentage;
    /// assert_eq!(Percentage::of(999, 1000).unwrap().to_string(), "99.9%");
    /// ```
    #[must_use]
    pub fn of(part: u64, total: u64) -> Option<Self> {
        let thousandths = (u128::from(part) * u128::from(WHOLE)).checked_div(u128::from(total))?;
        Some(Self::from_thousandths(
            u32::try_from(thousandths).unwrap_or(WHOLE),
        ))
    }
}

impl From<Percentage> for String {
    fn from(percentage: Percentage) -> Self {
        percentage.to_string()
    }
}

impl TryFrom<String> for Percentage {
    type Error = PercentageError;

    fn try_from(text: String) -> Result<Self, PercentageError> {
        text.parse()
    }
}

impl FromStr for Percentage {
    type Err = PercentageError;

    fn from_str(text: &str) -> Result<Self, PercentageError> {
        parse_thousandths(text)
            .filter(|thousandths| *thousandths <= WHOLE)
            .map(Self::from_thousandths)
            .ok_or_else(|| PercentageError(text.to_owned()))
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:03}", self.thousandths % 1000);
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        write!(f, "{}{point}{decimals}%", self.thousandths / 1000)
    }
}

impl JsonSchema for Percentage {
    fn schema_name() -> Cow<'static, str> {
        "Percentage".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        text(
            8,
            "self.matches('^(100([.]0{1,3})?|[0-9]{1,2}([.][0-9]{1,3})?)%$')",
            "write a number from 0 to 100 with a percent sign, three decimals at most, such as \"99.9%\"",
        )
    }
}

const WHOLE: u32 = 100_000;

fn parse_thousandths(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits =
        |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(decimals) {
        return None;
    }
    Some(whole.parse::<u32>().ok()? * 1000 + format!("{decimals:0<3}").parse::<u32>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, thousandths, printed) in [
            ("99.9%", 99_900, "99.9%"),
            ("99.95%", 99_950, "99.95%"),
            ("0.001%", 1, "0.001%"),
            ("0%", 0, "0%"),
            ("100%", 100_000, "100%"),
            ("100.0%", 100_000, "100%"),
        ] {
            let percentage: Percentage = text.parse().unwrap();
            assert_eq!(percentage.thousandths(), thousandths);
            assert_eq!(percentage.to_string(), printed);
        }
    }

    #[test]
    fn refuses_with_what_to_write() {
        for text in [
            "", "%", "99.9", "100.1%", "101%", "-1%", "99.9999%", ".5%", "5.%", "+5%", "1e1%",
        ] {
            let error = text.parse::<Percentage>().unwrap_err();
            assert!(error.to_string().contains("such as \"99.9%\""), "{text}");
        }
    }

    #[test]
    fn of_nothing_is_none() {
        assert_eq!(Percentage::of(0, 0), None);
        assert_eq!(
            Percentage::of(99_999_999, 100_000_000).unwrap().to_string(),
            "99.999%"
        );
        assert_eq!(Percentage::of(u64::MAX, 1).unwrap().to_string(), "100%");
    }
}
