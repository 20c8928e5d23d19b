//! Local times to moments, asking the zone once an hour instead of once a message.

use crate::syslog::CivilTime;

/// Zones change their offset at the start of an hour, so minutes and seconds can be added to what the hour is.
pub(super) struct LocalTimes {
    unix_from_local: fn(CivilTime) -> i64,
    /// The hour last asked for, and seconds since 1970 at its start.
    hour: (CivilTime, i64),
}

impl LocalTimes {
    pub(super) fn new(unix_from_local: fn(CivilTime) -> i64) -> Self {
        let hour = CivilTime { year: 1970, month: 1, day: 1, hour: 0, minute: 0, second: 0, us: 0 };
        LocalTimes { unix_from_local, hour: (hour, unix_from_local(hour)) }
    }

    /// Milliseconds since 1970.
    pub(super) fn unix_ms(&mut self, time: CivilTime) -> i64 {
        let hour = CivilTime { minute: 0, second: 0, us: 0, ..time };
        if hour != self.hour.0 {
            self.hour = (hour, (self.unix_from_local)(hour));
        }
        let unix_s = self.hour.1 + i64::from(time.minute) * 60 + i64::from(time.second);
        unix_s.saturating_mul(1000) + i64::from(time.us / 1000)
    }
}
