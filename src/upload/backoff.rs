//! When to try again. Pure: the time and the chance come in as parameters.
//!
//! | answer | wait |
//! |---|---|
//! | network, timeout, 401, 408, 5xx | first, twice that, four times ... at most the longest, each ±12.5 % |
//! | `Retry-After` | as told, at least a second, at most the longest |
//! | 403, 404 | eight times the schedule: roles and clocks take their time |

use super::Outcome;
use crate::limits::RETRY_AFTER_MS_MIN;

/// The wait of 403 and 404, in first waits.
const SLOW_FACTOR: u64 = 8;

/// Whether a chunk that waits after an answer of this status waits for a person: who we are is refused, or where we send to.
/// 400 is an answer about a token or our certificate here: one about the records puts nothing off.
pub fn is_refusal(status: u16) -> bool {
    matches!(status, 400 | 401 | 403 | 404)
}

/// The schedule's bounds, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `retry_wait`
    pub first_ms: u64,
    /// `max_retry_wait`
    pub max_ms: u64,
}

/// How long to leave a stream alone after its `attempts`-th failure in a row (from 1). `chance` is any number, evenly
/// spread. Source: the original's schedule, 30 s doubling with ±12.5 %.
pub fn wait_ms(policy: Policy, attempts: u32, outcome: &Outcome, chance: u32) -> u64 {
    if let Some(seconds) = outcome.retry_after_s {
        return (u64::from(seconds) * 1000).max(RETRY_AFTER_MS_MIN).min(policy.max_ms);
    }
    let factor = if matches!(outcome.status, 403 | 404) { SLOW_FACTOR } else { 1 };
    let doubled = 1_u64.checked_shl(attempts.saturating_sub(1).min(32)).unwrap_or(u64::MAX);
    let wait = policy.first_ms.saturating_mul(doubled).saturating_mul(factor).min(policy.max_ms);
    // 7/8 to 9/8 of it.
    wait - wait / 8 + u64::from(chance) * (wait / 4) / u64::from(u32::MAX)
}

/// What is left of a wait that a previous run wrote down as a wall-clock moment. A clock set back cannot make it longer
/// than it was, a clock set forward ends it: one try too early is cheaper than silence.
pub fn remaining_ms(next_attempt_wall_ms: u64, wait_ms: u64, now_wall_ms: u64) -> u64 {
    next_attempt_wall_ms.saturating_sub(now_wall_ms).min(wait_ms)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use alloc::string::String;

    const POLICY: Policy = Policy { first_ms: 30_000, max_ms: 960_000 };

    fn outcome(status: u16, retry_after_s: Option<u32>) -> Outcome {
        Outcome { status, retry_after_s, ..Outcome::new(Verdict::Later, String::new()) }
    }

    #[track_caller]
    fn check(status: u16, retry_after_s: Option<u32>, attempts: u32, expected: core::ops::RangeInclusive<u64>) {
        let answer = outcome(status, retry_after_s);
        for chance in [0, 1, u32::MAX / 2, u32::MAX] {
            let wait = wait_ms(POLICY, attempts, &answer, chance);
            assert!(expected.contains(&wait), "{wait} is not in {expected:?}");
        }
        assert_eq!(wait_ms(POLICY, attempts, &answer, 0), *expected.start());
        assert_eq!(wait_ms(POLICY, attempts, &answer, u32::MAX), *expected.end());
    }

    #[test]
    fn waits_double_from_thirty_seconds_to_sixteen_minutes() {
        check(503, None, 1, 26_250..=33_750);
        check(0, None, 2, 52_500..=67_500);
        check(500, None, 5, 420_000..=540_000);
        check(500, None, 6, 840_000..=1_080_000);
        check(500, None, 4_000_000_000, 840_000..=1_080_000);
    }

    #[test]
    fn the_service_may_say_when_but_not_at_once_nor_beyond_the_longest_wait() {
        check(429, Some(7), 3, 7_000..=7_000);
        check(503, Some(0), 3, 1_000..=1_000);
        check(503, Some(u32::MAX), 1, 960_000..=960_000);
    }

    #[test]
    fn a_refused_identity_is_tried_slowly() {
        check(403, None, 1, 210_000..=270_000);
        check(404, None, 3, 840_000..=1_080_000);
    }

    #[test]
    fn a_clock_that_jumps_never_silences_the_agent() {
        assert_eq!(remaining_ms(100_000, 60_000, 70_000), 30_000);
        assert_eq!(remaining_ms(100_000, 60_000, 200_000), 0);
        assert_eq!(remaining_ms(100_000_000, 60_000, 5), 60_000);
    }
}
