//! Wall clock, monotonic clock, and the host's time zone.

use crate::syslog::CivilTime;
use libc::{clockid_t, timespec, tm};

/// Microseconds since 1970, UTC, as the host's wall clock says; 0 for a clock before 1970.
/// Source: clock_gettime(2), `CLOCK_REALTIME`.
pub fn wall_us() -> u64 {
    let now = read(libc::CLOCK_REALTIME);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}

/// The same in whole seconds.
pub fn wall_s() -> i64 {
    i64::try_from(wall_us() / 1_000_000).unwrap_or(0)
}

/// Milliseconds since some moment before the program's start; never runs backwards, stands still while the host sleeps.
/// Source: clock_gettime(2), `CLOCK_MONOTONIC`.
pub fn monotonic_ms() -> u64 {
    ms_of(libc::CLOCK_MONOTONIC)
}

/// Milliseconds since the boot, also those that the host slept, which a kernel before 2.6.39 leaves out. Nobody sets this clock.
/// Source: clock_gettime(2), `CLOCK_BOOTTIME`.
pub fn boot_ms() -> u64 {
    match ms_of(libc::CLOCK_BOOTTIME) {
        0 => monotonic_ms(),
        ms => ms,
    }
}

/// Does nothing for so long: for commands that wait for another process. The loop sleeps in poll.
pub fn sleep_ms(ms: u64) {
    std::thread::sleep(core::time::Duration::from_millis(ms));
}

fn ms_of(clock: clockid_t) -> u64 {
    let now = read(clock);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

fn read(clock: clockid_t) -> timespec {
    // SAFETY: all zero is a valid timespec.
    let mut now: timespec = unsafe { core::mem::zeroed() };
    // SAFETY: the pointer is to a live timespec of ours, which the kernel fills. A failure leaves it zero.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now
}

/// Seconds since 1970 of a time in the host's zone (`TZ`, else `/etc/localtime`); a time that occurs twice is taken as the
/// zone's present rule says, days beyond the month's roll over, microseconds play no part. Source: mktime(3) with `tm_isdst` -1.
pub fn unix_from_local(local: CivilTime) -> i64 {
    // SAFETY: all zero is a valid tm (a null zone pointer is only read by strftime).
    let mut time: tm = unsafe { core::mem::zeroed() };
    time.tm_year = local.year - 1900;
    time.tm_mon = i32::from(local.month) - 1;
    time.tm_mday = i32::from(local.day);
    time.tm_hour = i32::from(local.hour);
    time.tm_min = i32::from(local.minute);
    time.tm_sec = i32::from(local.second);
    time.tm_isdst = -1;
    // SAFETY: mktime reads and normalises the tm we own.
    unsafe { libc::mktime(&mut time) }
}

/// Seconds that local time is ahead of UTC at a moment (seconds since 1970). Source: localtime_r(3), `tm_gmtoff`.
pub fn utc_offset_s(unix_s: i64) -> i32 {
    // SAFETY: as above.
    let mut time: tm = unsafe { core::mem::zeroed() };
    let Some(seconds) = narrowed(unix_s) else { return 0 };
    // SAFETY: both pointers are to live values of ours; localtime_r keeps neither.
    if unsafe { libc::localtime_r(&seconds, &mut time) }.is_null() {
        return 0;
    }
    i32::try_from(time.tm_gmtoff).unwrap_or(0)
}

/// Seconds in whatever width this C library's time has.
fn narrowed<T: TryFrom<i64>>(seconds: i64) -> Option<T> {
    T::try_from(seconds).ok()
}
