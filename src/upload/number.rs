//! Values of counters to text, as the original writes them.

use super::text::Text;

/// Digits that count in a value with a fraction.
const DIGITS: usize = 6;
const LEAST: u64 = 100_000;
const ABOVE: u64 = 1_000_000;

/// Appends a value that is finite and not negative: a whole one in decimal digits, any other with six significant digits, without
/// zeros at the end, and with an exponent below 0.0001: `22`, `0.0123457`, `1.234e-05`, `1500.5`. From a million up it is whole.
/// Source: printf(3), `%g`, but that large numbers have no exponent.
pub fn put_number(value: f64, out: &mut Text) {
    match as_whole(value) {
        Some(whole) => put_whole(whole, out),
        None => put_fraction(value, out),
    }
}

/// The value as a whole number: if it is one, or if it has so many digits in front of the point that none behind it counts.
fn as_whole(value: f64) -> Option<u64> {
    let whole = truncated(value);
    let back = as_double(whole);
    (back == value).then_some(whole).or_else(|| (value >= as_double(ABOVE) - 0.5).then(|| rounded(value)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the whole part of it, at most u64::MAX, is asked for"
)]
fn truncated(value: f64) -> u64 {
    value as u64
}

#[expect(clippy::cast_precision_loss, reason = "numbers below 10^15, which are exact, and such as came from a double")]
fn as_double(whole: u64) -> f64 {
    whole as f64
}

/// To the nearest; of two as near, to the even one.
fn rounded(value: f64) -> u64 {
    let whole = truncated(value);
    let rest = value - as_double(whole);
    whole.saturating_add(u64::from(rest > 0.5 || (rest == 0.5 && whole % 2 == 1)))
}

fn put_whole(mut whole: u64, out: &mut Text) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = digit(whole % 10);
        whole /= 10;
        if whole == 0 {
            return out.put_slice(&digits[start..]);
        }
    }
}

fn digit(value: u64) -> u8 {
    b'0' + u8::try_from(value).unwrap_or(0)
}

fn put_fraction(value: f64, out: &mut Text) {
    let (significant, exponent) = scaled(value);
    let mut digits = [0; DIGITS];
    let mut rest = significant;
    for place in digits.iter_mut().rev() {
        *place = digit(rest % 10);
        rest /= 10;
    }
    let used = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
    match exponent {
        -4..=-1 => {
            out.put(b"0.");
            (exponent..-1).for_each(|_| out.put(b"0"));
            out.put_slice(&digits[..used]);
        }
        0.. => {
            let whole_digits = usize::try_from(exponent).unwrap_or(0) + 1;
            out.put_slice(&digits[..whole_digits.min(DIGITS)]);
            put_behind_point(digits.get(whole_digits..used).unwrap_or_default(), out);
        }
        _ => {
            out.put_slice(&digits[..1]);
            put_behind_point(&digits[1..used], out);
            out.put(b"e-");
            if exponent > -10 {
                out.put(b"0");
            }
            put_whole(u64::from(exponent.unsigned_abs()), out);
        }
    }
}

fn put_behind_point(digits: &[u8], out: &mut Text) {
    if !digits.is_empty() {
        out.put(b".");
        out.put_slice(digits);
    }
}

/// The six significant digits of a value below a million, exactly rounded, of two as near to the even one; and the power of ten
/// of the first of them. A value below 1e-16, which nothing has that is measured, is 0.
fn scaled(value: f64) -> (u64, i32) {
    const MANTISSA_BITS: u32 = 52;
    const SMALLEST: i32 = -17;
    let bits = value.to_bits();
    let mantissa = u128::from(bits & ((1 << MANTISSA_BITS) - 1) | 1 << MANTISSA_BITS);
    // The value is the mantissa over two to the power of this.
    let Some(shift) = u64::from(1023 + MANTISSA_BITS).checked_sub(bits >> MANTISSA_BITS) else { return (0, 0) };
    let (mut numerator, mut exponent) = (mantissa, 5);
    while numerator >> shift.min(127) < u128::from(LEAST) {
        if exponent < SMALLEST + 1 {
            return (0, 0);
        }
        numerator *= 10;
        exponent -= 1;
    }
    let (whole, rest) = (numerator >> shift, numerator & ((1 << shift) - 1));
    let twice = rest << 1;
    let up = twice > 1 << shift || (twice == 1 << shift && whole % 2 == 1);
    match u64::try_from(whole).unwrap_or(0) + u64::from(up) {
        ABOVE.. => (LEAST, exponent + 1),
        significant => (significant, exponent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn text(value: f64) -> String {
        let mut out = Text::default();
        put_number(value, &mut out);
        String::from_utf8(Vec::from(out.as_bytes())).unwrap()
    }

    #[track_caller]
    fn check(value: f64, expected: &str) {
        assert_eq!(text(value), expected);
    }

    #[test]
    fn whole_values_have_all_their_digits() {
        check(0.0, "0");
        check(22.0, "22");
        check(1500.0, "1500");
        check(1_000_000.0, "1000000");
        check(9_007_199_254_740_992.0, "9007199254740992");
        check(305_641_132_686.0, "305641132686");
        check(18_446_744_073_709_551_615.0, "18446744073709551615");
    }

    #[test]
    fn fractions_have_six_digits_as_the_original_writes_them() {
        for (milliseconds, operations, expected) in [
            (22222.0, 1800.0, "0.0123456"),
            (590.0, 295.0, "0.002"),
            (22812.0, 2095.0, "0.0108888"),
            (4321.0, 350.0, "0.0123457"),
            (1234.0, 100_000.0, "1.234e-05"),
            (1.0, 3.0, "0.000333333"),
            (1235.0, 100_003.0, "1.23496e-05"),
            (10.0, 1000.0, "1e-05"),
            (2_500_010.0, 2000.0, "1.25001"),
        ] {
            check(milliseconds / operations / 1000.0, expected);
        }
        check(1.234_567_8, "1.23457");
        check(1500.5, "1500.5");
        check(123_456.5, "123456");
        check(0.000_1, "0.0001");
        check(0.000_099_999_96, "0.0001");
        check(9.999_996, "10");
        check(99_999.96, "100000");
        check(999_999.7, "1000000");
        check(12_345_678.6, "12345679");
        check(1e-10, "1e-10");
        check(1.5e-16, "1.5e-16");
        check(2.5e-300, "0");
        check(f64::MIN_POSITIVE / 4.0, "0");
    }

    #[test]
    fn random_fractions_are_what_the_standard_library_makes_of_them() {
        let mut state = 3_u64;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let operations = 1 + (state >> 40) % 100_000;
            let milliseconds = (state >> 20) % 1_000_000;
            let value = as_double(milliseconds) / as_double(operations) / 1000.0;
            let shown: f64 = text(value).parse().unwrap();
            let exact: f64 = alloc::format!("{value:.5e}").parse().unwrap();
            assert_eq!(shown, exact, "{value:e}");
        }
    }
}
