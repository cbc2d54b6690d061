//! Windows and blackouts: whether nodes may be begun now, and when that changes.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use streamway_crds::{Period, Weekday};

/// Whether nodes may be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gate {
    /// They may, at least until then.
    Open(Option<Timestamp>),
    /// They may not before then, or never again; and what keeps it closed.
    Closed(Option<Timestamp>, String),
}

/// How many steps from one closed stretch to the next are followed, before it counts as closed for
/// ever. Nobody's calendar has more in a row.
const STEPS: usize = 200;

/// Reads windows and blackouts at a time.
///
/// # Errors
///
/// A time zone that this program does not know.
pub(super) fn gate(
    windows: &[Period],
    blackouts: &[Period],
    now: Timestamp,
) -> Result<Gate, jiff::Error> {
    let windows = windows
        .iter()
        .map(Stretch::new)
        .collect::<Result<Vec<_>, _>>()?;
    let blackouts = blackouts
        .iter()
        .map(Stretch::new)
        .collect::<Result<Vec<_>, _>>()?;
    let Some(closed) = closed(&windows, &blackouts, now) else {
        let ends = windows.iter().filter_map(|window| window.end_of(now));
        let begins = blackouts.iter().filter_map(|blackout| blackout.next(now));
        return Ok(Gate::Open(ends.chain(begins).min()));
    };
    let mut until = closed.0;
    for _ in 0..STEPS {
        let Some(time) = until else {
            break;
        };
        match self::closed(&windows, &blackouts, time) {
            Some((later, _)) => until = later,
            None => return Ok(Gate::Closed(Some(time), closed.1)),
        }
    }
    Ok(Gate::Closed(None, closed.1))
}

/// Until when it is closed for one reason, if it is closed.
fn closed(
    windows: &[Stretch<'_>],
    blackouts: &[Stretch<'_>],
    now: Timestamp,
) -> Option<(Option<Timestamp>, String)> {
    for blackout in blackouts {
        if let Some(end) = blackout.end_of(now) {
            let why = format!("the end of blackout {}", blackout.period.name);
            return Some((Some(end), why));
        }
    }
    if windows.is_empty() || windows.iter().any(|window| window.end_of(now).is_some()) {
        return None;
    }
    let next = windows
        .iter()
        .filter_map(|window| Some((window.next(now)?, &window.period.name)))
        .min();
    Some(match next {
        Some((time, name)) => (Some(time), format!("window {name}")),
        None => (None, "a window, and none is left: write another".to_owned()),
    })
}

/// A period in its time zone.
struct Stretch<'a> {
    period: &'a Period,
    zone: TimeZone,
}

impl<'a> Stretch<'a> {
    fn new(period: &'a Period) -> Result<Self, jiff::Error> {
        let zone = period.zone()?;
        Ok(Self { period, zone })
    }

    /// When it ends, if it is now.
    fn end_of(&self, now: Timestamp) -> Option<Timestamp> {
        let around = self.around(now);
        let inside = around
            .into_iter()
            .filter(|(from, to)| *from <= now && now < *to);
        inside.map(|(_, to)| to).max()
    }

    /// When it begins next.
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let begins = self.around(now).into_iter().map(|(from, _)| from);
        begins.filter(|from| now < *from).min()
    }

    /// Where it is, from yesterday to this day next week.
    fn around(&self, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let period = self.period;
        if let (Some(start), Some(end)) = (period.start, period.end) {
            let stretch = self.between(start.get(), None, tomorrow(end.get()), None);
            return stretch.into_iter().collect();
        }
        let today = now.to_zoned(self.zone.clone()).date();
        let days = (-1..=8).filter_map(|offset| today.checked_add(offset.days()).ok());
        days.filter(|day| self.begins_on(*day))
            .filter_map(|day| {
                let (from, to) = (
                    period.from.map(|time| time.get()),
                    period.to.map(|time| time.get()),
                );
                let same_day = matches!((from, to), (Some(from), Some(to)) if from < to);
                let last = if same_day { day } else { tomorrow(day) };
                self.between(day, from, last, to)
            })
            .collect()
    }

    fn begins_on(&self, day: Date) -> bool {
        let days = &self.period.days;
        let on = |wanted: &Weekday| jiff::civil::Weekday::from(*wanted) == day.weekday();
        days.is_empty() || days.iter().any(on)
    }

    /// A time that a change of clocks leaves out is the one after it.
    fn between(
        &self,
        first: Date,
        from: Option<Time>,
        last: Date,
        to: Option<Time>,
    ) -> Option<(Timestamp, Timestamp)> {
        let at = |day: Date, time: Option<Time>| {
            let time = time.unwrap_or(Time::midnight());
            Some(
                day.to_datetime(time)
                    .to_zoned(self.zone.clone())
                    .ok()?
                    .timestamp(),
            )
        };
        Some((at(first, from)?, at(last, to)?))
    }
}

fn tomorrow(day: Date) -> Date {
    day.saturating_add(1.day())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn reads(windows: Value, blackouts: Value, now: &str) -> Gate {
        let windows: Vec<Period> = from_value(windows).unwrap();
        let blackouts: Vec<Period> = from_value(blackouts).unwrap();
        gate(&windows, &blackouts, at(now)).unwrap()
    }

    fn closed(until: &str, why: &str) -> Gate {
        Gate::Closed(Some(at(until)), why.to_owned())
    }

    #[test]
    fn nothing_written_is_always_open() {
        assert_eq!(
            reads(json!([]), json!([]), "2026-06-01T00:00:00Z"),
            Gate::Open(None)
        );
    }

    #[test]
    fn a_window_of_nights_in_a_time_zone() {
        // 22:00 in Berlin is 20:00 UTC in summer, 21:00 in winter. 2026-06-01 is a Monday.
        let nights = json!([{"name": "nights", "days": ["Monday"], "from": "22:00", "to": "04:00", "timeZone": "Europe/Berlin"}]);
        for (now, expected) in [
            (
                "2026-06-01T19:59:59Z",
                closed("2026-06-01T20:00:00Z", "window nights"),
            ),
            (
                "2026-06-01T20:00:00Z",
                Gate::Open(Some(at("2026-06-02T02:00:00Z"))),
            ),
            (
                "2026-06-02T01:59:59Z",
                Gate::Open(Some(at("2026-06-02T02:00:00Z"))),
            ),
            (
                "2026-06-02T02:00:00Z",
                closed("2026-06-08T20:00:00Z", "window nights"),
            ),
            (
                "2026-12-07T20:30:00Z",
                closed("2026-12-07T21:00:00Z", "window nights"),
            ),
        ] {
            assert_eq!(reads(nights.clone(), json!([]), now), expected, "{now}");
        }
    }

    #[test]
    fn a_blackout_is_stronger_than_a_window() {
        let windows = json!([{"name": "mornings", "from": "06:00", "to": "08:00"}]);
        let blackouts = json!([{"name": "christmas", "start": "2026-12-20", "end": "2027-01-06"}]);
        let read = |now| reads(windows.clone(), blackouts.clone(), now);
        assert_eq!(
            read("2026-12-19T07:00:00Z"),
            Gate::Open(Some(at("2026-12-19T08:00:00Z")))
        );
        // Closed by the window first, and then by the blackout for longer than a week.
        assert_eq!(
            read("2026-12-19T09:00:00Z"),
            closed("2027-01-07T06:00:00Z", "window mornings")
        );
        assert_eq!(
            read("2027-01-06T07:00:00Z"),
            closed("2027-01-07T06:00:00Z", "the end of blackout christmas")
        );
    }

    #[test]
    fn a_blackout_that_comes_ends_a_window() {
        let windows = json!([{"name": "days", "days": ["Monday"]}]);
        let blackouts = json!([{"name": "noon", "from": "12:00", "to": "13:00"}]);
        let now = "2026-06-01T11:00:00Z";
        assert_eq!(
            reads(windows, blackouts, now),
            Gate::Open(Some(at("2026-06-01T12:00:00Z")))
        );
    }

    #[test]
    fn a_window_that_is_past_never_opens() {
        let windows = json!([{"name": "once", "start": "2026-05-01", "end": "2026-05-02"}]);
        let Gate::Closed(None, why) = reads(windows, json!([]), "2026-06-01T00:00:00Z") else {
            panic!("it opens");
        };
        assert!(why.contains("none is left"), "{why}");
    }

    #[test]
    fn blackouts_that_leave_nothing_of_a_window() {
        let windows = json!([{"name": "noon", "from": "12:00", "to": "13:00"}]);
        let blackouts = json!([{"name": "days", "from": "06:00", "to": "18:00"}]);
        let gate = reads(windows, blackouts, "2026-06-01T00:00:00Z");
        assert!(matches!(gate, Gate::Closed(None, _)), "{gate:?}");
    }

    #[test]
    fn clocks_that_change() {
        // 02:30 does not exist on 2026-03-29 in Berlin: the window begins an hour later, at 03:30.
        let windows = json!([{"name": "nights", "from": "02:30", "to": "05:00", "timeZone": "Europe/Berlin"}]);
        let read = |now| reads(windows.clone(), json!([]), now);
        assert_eq!(
            read("2026-03-29T00:00:00Z"),
            closed("2026-03-29T01:30:00Z", "window nights")
        );
        assert_eq!(
            read("2026-03-29T01:30:00Z"),
            Gate::Open(Some(at("2026-03-29T03:00:00Z")))
        );
    }
}
