//! Moments and spans as exact integers. Reading a clock is not done here.

use jiff::{Timestamp, tz::TimeZone};
use std::fmt;

/// Wall-clock milliseconds since 1970-01-01T00:00:00Z. Only `deadline`, `not_before` and `retry_at`
/// are ever compared with it; ages are measured in [`Tick`]s.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(pub i64);

/// Milliseconds of a clock that never jumps (CLOCK_BOOTTIME); meaningless across boots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(pub u64);

/// A span in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Millis(pub u64);

impl Moment {
    /// RFC 3339 in UTC with milliseconds: `2026-01-09T21:13:46.163Z`.
    pub fn rfc3339(self) -> String {
        format!("{:.3}", self.timestamp())
    }

    /// RFC 3339 with the zone's numeric offset, with microseconds, as lock files have it.
    pub fn with_offset(self, zone: &TimeZone) -> String {
        let z = self.timestamp().to_zoned(zone.clone());
        z.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z").to_string()
    }

    /// `2025-12-11 15:30:05` in the given zone, as `execution.log` wants it.
    pub fn local(self, zone: &TimeZone) -> String {
        self.timestamp().to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// Reads RFC 3339 text.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<Timestamp>().ok().map(|t| Self(t.as_millisecond()))
    }

    /// Later by `span`; saturates.
    pub fn after(self, span: Millis) -> Self {
        Self(self.0.saturating_add_unsigned(span.0))
    }

    fn timestamp(self) -> Timestamp {
        Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }
}

impl Millis {
    /// Longest span that is read: 366 days. Longer ones are slips of the pen.
    pub const MAX: Self = Self(366 * 86_400_000);

    /// Whole seconds as a span.
    pub const fn from_secs(s: u64) -> Self {
        Self(s * 1000)
    }

    /// Reads whole seconds (`90`) or numbers with units, largest first: `500ms`, `90s`, `10m`,
    /// `1h30m`, `2d`. `None` for anything else and for more than [`Millis::MAX`].
    pub fn parse(text: &str) -> Option<Self> {
        const UNITS: [(&str, u64); 5] =
            [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
        let whole = |t: &str| -> Option<u64> {
            let clean = !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
            if clean { t.parse().ok() } else { None }
        };
        let within = |ms: u64| (ms <= Self::MAX.0).then_some(Self(ms));
        if let Some(seconds) = whole(text) {
            return within(seconds.checked_mul(1000)?);
        }
        let mut total: u64 = 0;
        let mut next_unit = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number = whole(&rest[..digits])?;
            let tail = &rest[digits..];
            let width = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let at = UNITS.iter().position(|(unit, _)| *unit == &tail[..width])?;
            if at < next_unit {
                return None;
            }
            next_unit = at + 1;
            total = total.checked_add(number.checked_mul(UNITS[at].1)?)?;
            rest = &tail[width..];
        }
        if text.is_empty() { None } else { within(total) }
    }
}

impl fmt::Display for Millis {
    /// The form that [`Millis::parse`] reads: `1h30m`, `500ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0;
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
            if left >= size {
                write!(f, "{}{unit}", left / size)?;
                left %= size;
            }
        }
        if left > 0 { write!(f, "{left}ms") } else { Ok(()) }
    }
}

impl Tick {
    /// Later by `span`; saturates.
    pub fn after(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_units() {
        let check = |text: &str, want: Option<u64>| {
            assert_eq!(Millis::parse(text), want.map(Millis), "{text}");
        };
        check("90", Some(90_000));
        check("90s", Some(90_000));
        check("10m", Some(600_000));
        check("2h", Some(7_200_000));
        check("1h30m", Some(5_400_000));
        check("500ms", Some(500));
        check("1m500ms", Some(60_500));
        check("1d", Some(86_400_000));
        check("0", Some(0));
        for bad in
            ["", "s", "1.5h", "-1", "10 m", "5x", "30m1h", "1h1h", "1h5", "999999999d", "9e9"]
        {
            check(bad, None);
        }
        check(&"9".repeat(40), None);
    }

    #[test]
    fn a_span_is_printed_as_it_is_read() {
        for ms in [0, 1, 500, 1000, 90_000, 5_400_000, 86_400_000, 86_461_001] {
            let text = Millis(ms).to_string();
            assert_eq!(Millis::parse(&text), Some(Millis(ms)), "{text}");
        }
    }

    #[test]
    fn moments_are_read_with_an_offset_only() {
        let at = Moment::parse("2026-01-09T21:13:46.163Z").unwrap();
        assert_eq!(at.rfc3339(), "2026-01-09T21:13:46.163Z");
        assert_eq!(Moment::parse("2026-01-09T18:13:46.163-03:00"), Some(at));
        assert_eq!(Moment::parse("2026-01-09 21:13:46.163+00:00"), Some(at));
        assert_eq!(Moment::parse("2026-01-09T21:13:46"), None);
        assert_eq!(Moment::parse("tomorrow"), None);
    }
}
