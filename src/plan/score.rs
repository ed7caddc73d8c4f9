//! Which ready order goes first.
//!
//! Score = weight × boost, integers. Weights: critical 1000, high 100, medium 10, low 1. Boosts: overdue
//! × 10, due today (local day) × 5, due within 72 hours × 2, else × 1; the strongest one counts. Ties are
//! exact and frequent (overdue low = plain medium = 10) and end by earlier deadline, earlier intake, id.

use crate::model::order::{Priority, When};
use crate::model::time::Moment;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// The last stretch before a deadline that raises the score.
const SOON_MS: i64 = 72 * 3600 * 1000;

/// Weight of a priority.
pub const fn weight(priority: Priority) -> i64 {
    match priority {
        Priority::Critical => 1000,
        Priority::High => 100,
        Priority::Medium => 10,
        Priority::Low => 1,
    }
}

/// The instant a deadline passes: a day counts to its last millisecond in `zone`.
pub fn deadline(when: When, zone: &TimeZone) -> Moment {
    match when {
        When::At(at) => at,
        When::Day(day) => {
            let next = day.checked_add(1.day()).unwrap_or(day);
            Moment(start_of_day(next, zone).0 - 1)
        }
    }
}

/// The first instant of a time as people write it.
pub fn earliest(when: When, zone: &TimeZone) -> Moment {
    match when {
        When::At(at) => at,
        When::Day(day) => start_of_day(day, zone),
    }
}

fn start_of_day(day: jiff::civil::Date, zone: &TimeZone) -> Moment {
    let zoned = day.to_zoned(zone.clone());
    Moment(zoned.map_or(i64::MAX, |z| z.timestamp().as_millisecond()))
}

/// The score, and when it will change by time alone.
pub fn score(
    priority: Priority,
    due: Option<When>,
    now: Moment,
    zone: &TimeZone,
) -> (i64, Option<Moment>) {
    let weight = weight(priority);
    let Some(due) = due.map(|w| deadline(w, zone)) else { return (weight, None) };
    let today = start_of_due_day(due, zone);
    let soon = Moment(due.0.saturating_sub(SOON_MS));
    if now > due {
        (weight * 10, None)
    } else if now >= today {
        (weight * 5, Some(Moment(due.0.saturating_add(1))))
    } else if now >= soon {
        (weight * 2, Some(today))
    } else {
        (weight, Some(soon.min(today)))
    }
}

fn start_of_due_day(due: Moment, zone: &TimeZone) -> Moment {
    let at = Timestamp::from_millisecond(due.0).unwrap_or(Timestamp::MAX);
    start_of_day(at.to_zoned(zone.clone()).date(), zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Moment {
        Moment::parse(text).unwrap()
    }

    #[test]
    fn worked_examples() {
        let zone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC);
        let due = Some(When::At(at("2026-03-10T12:00:00Z")));
        for (priority, now, expected) in [
            (Priority::Critical, "2026-03-01T00:00:00Z", 1000),
            (Priority::High, "2026-03-07T12:00:00Z", 200),
            (Priority::Medium, "2026-03-10T11:00:00Z", 50),
            (Priority::Low, "2026-03-10T12:00:00.001Z", 10),
            (Priority::High, "2026-04-01T00:00:00Z", 1000),
        ] {
            assert_eq!(score(priority, due, at(now), &zone).0, expected, "{priority:?} {now}");
        }
        assert_eq!(score(Priority::Medium, None, at("2026-03-01T00:00:00Z"), &zone), (10, None));
    }

    #[test]
    fn the_announced_change_is_the_moment_it_changes() {
        let zone = TimeZone::UTC;
        let due = Some(When::Day("2026-03-10".parse().unwrap()));
        let mut now = at("2026-03-01T00:00:00Z");
        let mut scores = vec![score(Priority::Low, due, now, &zone).0];
        while let (_, Some(next)) = score(Priority::Low, due, now, &zone) {
            let before = score(Priority::Low, due, Moment(next.0 - 1), &zone).0;
            assert_eq!(before, *scores.last().unwrap());
            now = next;
            scores.push(score(Priority::Low, due, now, &zone).0);
        }
        assert_eq!(scores, [1, 2, 5, 10]);
        assert_eq!(now, at("2026-03-11T00:00:00Z"));
    }
}
