//! The bytes of a /proc file: lines, fields, numbers, names.

use core::fmt;

/// The lines of a file, without their ends.
pub fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|&byte| byte == b'\n')
}

/// What stands between blanks.
pub fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

/// A decimal number of nothing but digits that fits.
pub fn number(field: &[u8]) -> Option<u64> {
    let add = |sum: u64, &byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    (!field.is_empty()).then(|| field.iter().try_fold(0, add)).flatten()
}

/// The first `N` numbers of a line; `None` if there are fewer, or something else is among them.
pub fn numbers<const N: usize>(line: &[u8]) -> Option<[u64; N]> {
    let mut fields = fields(line);
    let mut found = [0; N];
    for slot in &mut found {
        *slot = number(fields.next()?)?;
    }
    Some(found)
}

/// What follows `key` and blanks on its line.
pub fn value<'a>(file: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    lines(file).find_map(|line| line.strip_prefix(key)).map(<[u8]>::trim_ascii)
}

/// A short name, kept in place: what the kernel calls a disk or an interface. Longer ones, which it does not make, are cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; Name::BYTES_MAX],
    length: u8,
}

impl Name {
    /// Bytes that fit. Source: the kernel's `BDEVNAME_SIZE` (32), `IFNAMSIZ` (16), both with a NUL.
    const BYTES_MAX: usize = 31;

    /// The name that these bytes are.
    pub fn new(bytes: &[u8]) -> Name {
        let mut name = Name { bytes: [0; Name::BYTES_MAX], length: 0 };
        name.push(bytes);
        name
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn push(&mut self, bytes: &[u8]) {
        for (slot, &byte) in self.bytes[usize::from(self.length)..].iter_mut().zip(bytes) {
            *slot = byte;
            self.length += 1;
        }
    }
}

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &[u8], expected: Option<u64>) {
        assert_eq!(number(field), expected, "{}", field.escape_ascii());
    }

    #[test]
    fn only_digits_that_fit_are_a_number() {
        check(b"0", Some(0));
        check(b"007", Some(7));
        check(b"18446744073709551615", Some(u64::MAX));
        check(b"18446744073709551616", None);
        check(b"", None);
        check(b"-1", None);
        check(b"1.5", None);
        check(b"\xff", None);
    }

    #[test]
    fn too_few_numbers_are_none() {
        assert_eq!(numbers(b"  1\t2 3"), Some([1, 2]));
        assert_eq!(numbers::<3>(b"1 2"), None);
        assert_eq!(numbers::<2>(b"1 x 3"), None);
    }

    #[test]
    fn a_name_that_is_too_long_is_cut() {
        assert_eq!(Name::new(&[b'x'; 40]).as_bytes(), [b'x'; 31]);
        assert_eq!(Name::new(b"").as_bytes(), b"");
    }
}
