//! What all formulas share: how far a counter came, percentages, rates.

use super::Options;

/// How far a counter came between two readings. One that wraps at 2^32, as those of 32-bit kernels and all counts of
/// milliseconds do, is followed across the wrap: from the last quarter of the range into its first. Any other step back
/// says nothing: a device was replaced, or the kernel's sum over its processors fell behind.
pub fn advance(previous: u64, current: u64) -> Option<u64> {
    const WRAP: u64 = 1 << 32;
    let wrapped = (WRAP / 4 * 3..WRAP).contains(&previous) && current < WRAP / 4;
    (if wrapped { current + WRAP } else { current }).checked_sub(previous)
}

/// A value as a [`super::Sink`] takes it: from 100,000 up without a fraction.
pub fn value(exact: f64) -> f64 {
    if exact < 100_000.0 { exact } else { whole(exact + 0.5) }
}

/// Without its fraction.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cutting is what is asked for; the cast saturates"
)]
pub fn whole(exact: f64) -> f64 {
    exact as u64 as f64
}

/// `part` of `all` in percent, 0.0 to 100.0; 0 of nothing. The original's are whole, halves rounded up as binary fractions
/// have it: 57 of 200 is 28.
pub fn percent(part: u64, all: u64, options: Options) -> f64 {
    if all == 0 {
        return 0.0;
    }
    let percent = part as f64 / all as f64 * 100.0;
    (if options.compat { whole(percent + 0.5) } else { percent }).min(100.0)
}

/// `count` in `elapsed_ms` as a number per second. `None` when no time passed. The original's are whole, cut.
pub fn rate(count: u64, elapsed_ms: u64, options: Options) -> Option<f64> {
    let exact = (elapsed_ms > 0).then(|| count as f64 * 1000.0 / elapsed_ms as f64)?;
    Some(if options.compat { whole(exact) } else { value(exact) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::{COMPAT, PLAIN};

    #[track_caller]
    fn check_advance(previous: u64, current: u64, expected: Option<u64>) {
        assert_eq!(advance(previous, current), expected, "{previous} to {current}");
    }

    #[test]
    fn a_wrap_at_2_to_the_32_is_followed_and_no_other_step_back() {
        let wrap = 1 << 32;
        check_advance(5, 5, Some(0));
        check_advance(5, 7, Some(2));
        check_advance(wrap - 1, 1, Some(2));
        check_advance(wrap - 1, wrap + 1, Some(2)); // a 64-bit kernel's
        check_advance(wrap / 4 * 3, wrap / 4 - 1, Some(wrap / 2 - 1));
        check_advance(wrap / 4 * 3 - 1, 0, None);
        check_advance(wrap - 1, wrap / 4, None);
        check_advance(wrap, 0, None);
        check_advance(7, 5, None);
        check_advance(u64::MAX, 0, None);
    }

    #[test]
    fn percentages_round_as_the_original_only_when_asked() {
        for (part, all, compat, plain) in [
            (1, 200, 1.0, 0.5),
            (57, 200, 28.0, 57.0 / 200.0 * 100.0),
            (143, 200, 72.0, 71.5),
            (0, 0, 0.0, 0.0),
            (7, 0, 0.0, 0.0),
            (3, 2, 100.0, 100.0),
            (10, 100, 10.0, 10.0),
        ] {
            assert_eq!((percent(part, all, COMPAT), percent(part, all, PLAIN)), (compat, plain), "{part} of {all}");
        }
    }

    #[test]
    fn rates_cover_the_time_that_passed() {
        for (count, elapsed_ms, compat, plain) in [
            (89, 60_000, 1.0, 89.0 / 60.0),
            (59, 60_000, 0.0, 59.0 / 60.0),
            (10, 10_007, 0.0, 10_000.0 / 10_007.0),
            (1_234_567, 7_000, 176_366.0, 176_367.0),
            (u64::MAX, 1, u64::MAX as f64, u64::MAX as f64),
        ] {
            let both = (rate(count, elapsed_ms, COMPAT), rate(count, elapsed_ms, PLAIN));
            assert_eq!(both, (Some(compat), Some(plain)), "{count} in {elapsed_ms} ms");
        }
        assert_eq!(rate(1, 0, PLAIN), None);
    }

    #[test]
    fn the_originals_numbers_are_the_exact_ones_made_whole() {
        for all in (0..4000).step_by(7) {
            for part in (0..=all).step_by(13) {
                let (compat, plain) = (percent(part, all, COMPAT), percent(part, all, PLAIN));
                assert!((compat - plain).abs() <= 0.5 && compat.fract() == 0.0, "{part} of {all}: {compat}, {plain}");
                let (compat, plain) = (rate(part, all + 1, COMPAT), rate(part, all + 1, PLAIN));
                assert_eq!(compat, plain.map(f64::floor), "{part} in {all}");
            }
        }
    }
}
