//! Values of counters to text, as the original writes them.

use super::text::Text;
use crate::record::number::Number;

/// Digits that a fraction has.
const DIGITS: usize = 6;

/// Appends a value: a whole one in decimal digits, any other without zeros at its end, and with an exponent below 0.0001: `22`,
/// `0.0123457`, `1.234e-05`, `1500.5`. Source: printf(3), `%g`, but that large numbers have no exponent.
pub fn put_number(number: Number, out: &mut Text) {
    match number {
        Number::Whole(whole) => put_whole(whole, out),
        Number::Fraction { digits, exponent } => put_fraction(digits, exponent, out),
    }
}

fn put_whole(whole: u64, out: &mut Text) {
    let mut digits = [b'0'; 20];
    fill(&mut digits, whole);
    let first = digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len() - 1);
    out.put_slice(&digits[first..]);
}

fn fill(field: &mut [u8], mut value: u64) {
    for place in field.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

fn put_fraction(six: u32, exponent: i8, out: &mut Text) {
    let mut digits = [0; DIGITS];
    fill(&mut digits, six.into());
    let used = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
    match usize::try_from(exponent) {
        Ok(exponent) => {
            let whole = (exponent + 1).min(DIGITS);
            out.put_slice(&digits[..whole]);
            put_behind_point(digits.get(whole..used), out);
        }
        Err(_) if exponent >= -4 => {
            out.put(b"0.");
            (exponent..-1).for_each(|_| out.put(b"0"));
            out.put_slice(&digits[..used]);
        }
        Err(_) => {
            out.put_slice(&digits[..1]);
            put_behind_point(digits.get(1..used), out);
            out.put(b"e-");
            let mut two = [0; 2];
            fill(&mut two, exponent.unsigned_abs().into());
            out.put(&two);
        }
    }
}

fn put_behind_point(digits: Option<&[u8]>, out: &mut Text) {
    if let Some(digits) = digits.filter(|digits| !digits.is_empty()) {
        out.put(b".");
        out.put_slice(digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    fn text(value: f64) -> String {
        let mut out = Text::default();
        put_number(Number::of(value).unwrap(), &mut out);
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
        check(18_446_744_073_709_551_615.0, "18446744073709551615");
    }

    #[test]
    fn fractions_have_six_digits_as_the_original_writes_them() {
        check(1.234_567_8, "1.23457");
        check(1500.5, "1500.5");
        check(123_456.5, "123456");
        check(10.000_04, "10");
        check(100.000_4, "100");
        check(99_999.96, "100000");
        check(0.25, "0.25");
        check(0.012_345_678, "0.0123457");
        check(0.000_1, "0.0001");
        check(0.000_099_999_96, "0.0001");
        check(0.000_012_34, "1.234e-05");
        check(1e-10, "1e-10");
        check(1.5e-16, "1.5e-16");
    }

    #[test]
    fn random_fractions_are_what_the_standard_library_makes_of_them() {
        let mut state = 3_u64;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (operations, milliseconds) = (1 + (state >> 40) % 100_000, (state >> 20) % 1_000_000);
            let value = milliseconds as f64 / operations as f64 / 1000.0;
            let shown: f64 = text(value).parse().unwrap();
            let exact: f64 = alloc::format!("{value:.5e}").parse().unwrap();
            assert_eq!(shown, exact, "{value:e}");
        }
    }
}
