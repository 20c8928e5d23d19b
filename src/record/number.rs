//! A counter's value with as many digits as are sent: all of a whole number, six of any other.

/// A value that is not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// A whole one.
    Whole(u64),
    /// Any other: six digits, [`DIGITS_MIN`] to [`DIGITS_MAX`], of which the first counts 10 to the power of `exponent`.
    Fraction {
        /// The digits.
        digits: u32,
        /// [`EXPONENT_MIN`] to [`EXPONENT_MAX`].
        exponent: i8,
    },
}

/// Least of the six digits.
pub const DIGITS_MIN: u32 = 100_000;
/// Most of the six digits.
pub const DIGITS_MAX: u32 = 999_999;
/// Smaller values are 0: nothing that is measured is between.
pub const EXPONENT_MIN: i8 = -16;
/// From a million up, values are whole.
pub const EXPONENT_MAX: i8 = 5;

/// The bits of a double behind those of its exponent, and what is in the exponent of a number between 1 and 2.
const MANTISSA_BITS: u32 = 52;
const BIAS: u64 = 1023;

impl Number {
    /// A value exactly rounded, of two as near to the even one, as printf(3) does. `None` for what is negative or no number.
    pub fn of(value: f64) -> Option<Number> {
        if !value.is_finite() || value < 0.0 {
            return None;
        }
        let whole = truncated(value);
        let rest = value - as_double(whole);
        if rest == 0.0 || whole > u64::from(DIGITS_MAX) {
            let up = rest > 0.5 || (rest == 0.5 && whole % 2 == 1);
            return Some(Number::Whole(whole.saturating_add(u64::from(up))));
        }
        Some(fraction(value))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the whole part is asked for; the cast saturates"
)]
fn truncated(value: f64) -> u64 {
    value as u64
}

#[expect(clippy::cast_precision_loss, reason = "only of a double's whole part, which is one itself")]
fn as_double(whole: u64) -> f64 {
    whole as f64
}

/// Of a value between 0 and a million: tens are put in until there are six digits in front of the point.
fn fraction(value: f64) -> Number {
    let bits = value.to_bits();
    let (power, mantissa) = (bits >> MANTISSA_BITS, bits & ((1 << MANTISSA_BITS) - 1));
    // The value is the numerator over two to the power of `shift`.
    let mut numerator = u128::from(mantissa | 1 << MANTISSA_BITS);
    let shift = (BIAS + u64::from(MANTISSA_BITS)).saturating_sub(power).min(127);
    let mut exponent = EXPONENT_MAX;
    while numerator >> shift < u128::from(DIGITS_MIN) {
        if exponent == EXPONENT_MIN {
            return Number::Whole(0);
        }
        numerator *= 10;
        exponent -= 1;
    }
    let (six, rest) = (numerator >> shift, numerator & ((1 << shift) - 1));
    let (twice, one) = (rest << 1, 1 << shift);
    let up = twice > one || (twice == one && six % 2 == 1);
    match u32::try_from(six).unwrap_or(DIGITS_MAX) + u32::from(up) {
        digits @ DIGITS_MIN..=DIGITS_MAX => Number::Fraction { digits, exponent },
        _ if exponent == EXPONENT_MAX => Number::Whole(u64::from(DIGITS_MAX) + 1),
        _ => Number::Fraction { digits: DIGITS_MIN, exponent: exponent + 1 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: f64, expected: Option<Number>) {
        assert_eq!(Number::of(value), expected, "{value:e}");
    }

    fn fraction(digits: u32, exponent: i8) -> Option<Number> {
        Some(Number::Fraction { digits, exponent })
    }

    #[test]
    fn whole_values_keep_all_their_digits() {
        for whole in [0, 1, 22, 999_999, 1_000_000, 9_007_199_254_740_992, 1 << 63] {
            check(as_double(whole), Some(Number::Whole(whole)));
        }
        check(1e300, Some(Number::Whole(u64::MAX)));
        check(-0.0, Some(Number::Whole(0)));
    }

    #[test]
    fn fractions_keep_six_digits_rounded_to_the_even_one_of_two_as_near() {
        check(0.5, fraction(500_000, -1));
        check(1500.5, fraction(150_050, 3));
        check(123_456.5, fraction(123_456, 5));
        check(123_457.5, fraction(123_458, 5));
        check(2_500_010.0 / 2000.0 / 1000.0, fraction(125_001, 0));
        check(9.999_996, fraction(100_000, 1));
        check(999_999.25, fraction(999_999, 5));
        check(999_999.7, Some(Number::Whole(1_000_000)));
        check(12_345_678.6, Some(Number::Whole(12_345_679)));
        check(1.5e-16, fraction(150_000, -16));
        check(1.5e-17, Some(Number::Whole(0)));
        check(f64::MIN_POSITIVE / 4.0, Some(Number::Whole(0)));
    }

    #[test]
    fn what_cannot_be_sent_is_no_number() {
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0].into_iter().for_each(|value| check(value, None));
    }
}
