//! Windows and blackouts: days of the week with hours, or dates, in a time zone.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::rules::{self, rule};

/// A stretch of time: every week on `days` between `from` and `to`, or once between two dates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "!(has(self.start) || has(self.end)) || !(has(self.days) || has(self.from) || has(self.to))",
        "write either days, from and to, for every week, or start and end, for once",
    ),
    rule(
        "has(self.start) || has(self.end) || (has(self.days) && self.days.size() > 0) || has(self.from) || has(self.to)",
        "write when it is: days, from and to, for every week, or start and end, for once",
    ),
    rule("has(self.start) == has(self.end)", "start and end need each other: write both"),
    rule(
        "!has(self.start) || !has(self.end) || self.start <= self.end",
        "end is before start: write the first day as start and the last as end",
    ),
    rule(
        "has(self.from) == has(self.to)",
        "from and to need each other: write both, or none for the whole day",
    ),
    rule(
        "!has(self.from) || !has(self.to) || self.from != self.to",
        "from and to are the same: remove both for the whole day",
    ),
]))]
pub struct Period {
    /// What the period is for, such as `nights` or `christmas`. Status and Events name it.
    #[schemars(schema_with = "rules::name")]
    pub name: String,
    /// The days of the week on which it begins. Every day, if empty. Not together with start and end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub days: Vec<Weekday>,
    /// When it begins on these days, such as `"22:00"`. Needs to. Without both it is the whole day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<TimeOfDay>,
    /// When it ends, such as `"04:00"`. If that is not after from, it ends on the next day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<TimeOfDay>,
    /// The first day of a period that comes once, such as `"2026-12-20"`. Needs end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Day>,
    /// The last day of it, which is wholly part of it, such as `"2027-01-06"`. Needs start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Day>,
    /// The time zone of hours and dates by its IANA name, such as `Europe/Berlin`. UTC, if not given.
    #[serde(default = "utc")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = [rule(
        "timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0",
        "write a time zone by its IANA name, such as Europe/Berlin or UTC",
    )]))]
    pub time_zone: String,
}

impl Period {
    /// The time zone by name.
    ///
    /// # Errors
    ///
    /// Where the name is unknown.
    pub fn zone(&self) -> Result<TimeZone, jiff::Error> {
        TimeZone::get(&self.time_zone)
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "they are the days")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl From<Weekday> for jiff::civil::Weekday {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Monday,
            Weekday::Tuesday => Self::Tuesday,
            Weekday::Wednesday => Self::Wednesday,
            Weekday::Thursday => Self::Thursday,
            Weekday::Friday => Self::Friday,
            Weekday::Saturday => Self::Saturday,
            Weekday::Sunday => Self::Sunday,
        }
    }
}

/// An hour and minute of the day, such as `22:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TimeOfDay(Time);

/// Why a text is no [`TimeOfDay`] or [`Day`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeOfDayError {
    /// No time of day.
    #[error("{0:?} is no time of day: write hours and minutes, such as \"22:00\"")]
    Time(String),
    /// No date.
    #[error("{0:?} is no date: write year, month and day, such as \"2026-12-20\"")]
    Day(String),
}

impl TimeOfDay {
    /// As jiff has it.
    #[must_use]
    pub const fn get(self) -> Time {
        self.0
    }
}

impl FromStr for TimeOfDay {
    type Err = TimeOfDayError;

    fn from_str(text: &str) -> Result<Self, TimeOfDayError> {
        let wrong = || TimeOfDayError::Time(text.to_owned());
        let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
        let two = |part: &str| -> Option<i8> {
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        };
        let (Some(hour), Some(minute)) = (two(hour), two(minute)) else {
            return Err(wrong());
        };
        Time::new(hour, minute, 0, 0).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0.hour(), self.0.minute())
    }
}

/// A date, such as `2026-12-20`: RFC 3339's full-date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Day(Date);

impl Day {
    /// As jiff has it.
    #[must_use]
    pub const fn get(self) -> Date {
        self.0
    }
}

impl FromStr for Day {
    type Err = TimeOfDayError;

    fn from_str(text: &str) -> Result<Self, TimeOfDayError> {
        text.parse::<Date>()
            .ok()
            .filter(|date| date.to_string() == text)
            .map(Self)
            .ok_or_else(|| TimeOfDayError::Day(text.to_owned()))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! text {
    ($type:ident, $length:literal, $holds:literal, $message:literal) => {
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl TryFrom<String> for $type {
            type Error = TimeOfDayError;

            fn try_from(text: String) -> Result<Self, TimeOfDayError> {
                text.parse()
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                rules::text($length, $holds, $message)
            }
        }
    };
}

text!(
    TimeOfDay,
    8,
    "self.matches('^([01][0-9]|2[0-3]):[0-5][0-9]$')",
    "write hours and minutes, such as \"22:00\""
);
text!(
    Day,
    24,
    "self.matches('^[0-9]{4}-[0-9]{2}-[0-9]{2}$') && timestamp(self + 'T00:00:00Z').getFullYear() > 0",
    "write year, month and day, such as \"2026-12-20\""
);

fn utc() -> String {
    "UTC".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_days() {
        assert_eq!("22:05".parse::<TimeOfDay>().unwrap().to_string(), "22:05");
        assert_eq!(
            "2028-02-29".parse::<Day>().unwrap().to_string(),
            "2028-02-29"
        );
    }

    #[test]
    fn refuses_with_what_to_write() {
        for text in [
            "", "22", "24:00", "2:00", "22:60", "22:00:00", "+2:00", "10 pm",
        ] {
            let error = text.parse::<TimeOfDay>().unwrap_err();
            assert!(error.to_string().contains("such as \"22:00\""), "{text}");
        }
        for text in [
            "",
            "2026-02-29",
            "2026-2-9",
            "20261220",
            "2026-12-20T00:00:00Z",
            "today",
        ] {
            let error = text.parse::<Day>().unwrap_err();
            assert!(
                error.to_string().contains("such as \"2026-12-20\""),
                "{text}"
            );
        }
    }

    #[test]
    fn zones_are_built_in() {
        let mut period: Period = serde_json::from_str(r#"{"name": "nights"}"#).unwrap();
        assert_eq!(period.zone().unwrap(), TimeZone::UTC);
        period.time_zone = "Europe/Berlin".to_owned();
        assert_eq!(period.zone().unwrap().iana_name(), Some("Europe/Berlin"));
        period.time_zone = "Europe/Nowhere".to_owned();
        assert!(period.zone().is_err());
    }
}
