//! Moments and spans as exact integers. Reading a clock is not done here.

use jiff::{Timestamp, tz::TimeZone};

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

    /// RFC 3339 with the zone's numeric offset, microsecond form of the seed's lock line.
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
    /// Whole seconds as a span.
    pub const fn from_secs(s: u64) -> Self {
        Self(s * 1000)
    }
}

impl Tick {
    /// Later by `span`; saturates.
    pub fn after(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}
