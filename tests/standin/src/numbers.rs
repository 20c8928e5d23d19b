//! Which numbered messages arrived: one bit each, so that a million cost 125 KB.

use memchr::memmem;
use std::ops::Range;

/// Largest number followed; those above count as records only.
const NUMBER_MAX: usize = 1 << 28;

/// The numbers seen behind a marker such as `seq=`.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    bits: Vec<u64>,
    unique: u64,
    duplicates: u64,
}

impl Numbers {
    /// Every number that follows `marker` in a body, in order; those too large to follow are left out.
    pub fn found(body: &[u8], marker: &str) -> Vec<usize> {
        let number = |at: usize| {
            let digits = body[at + marker.len()..].iter().take_while(|byte| byte.is_ascii_digit());
            digits.take(10).fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
        };
        memmem::find_iter(body, marker.as_bytes()).map(number).filter(|number| *number <= NUMBER_MAX).collect()
    }

    /// Notes one number.
    pub fn note(&mut self, number: usize) {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        if self.bits[word] & bit == 0 {
            self.bits[word] |= bit;
            self.unique += 1;
        } else {
            self.duplicates += 1;
        }
    }

    /// Numbers seen at least once.
    pub fn unique(&self) -> u64 {
        self.unique
    }

    /// Times a number was seen again.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Numbers of this range seen at least once.
    pub fn unique_in(&self, range: Range<usize>) -> usize {
        range.filter(|number| self.has(*number)).count()
    }

    /// Numbers in `0..count` not seen, the first so many of them.
    pub fn missing(&self, count: usize, at_most: usize) -> Vec<usize> {
        (0..count).filter(|number| !self.has(*number)).take(at_most).collect()
    }

    fn has(&self, number: usize) -> bool {
        self.bits.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_repeated_numbers_are_told() {
        let mut numbers = Numbers::default();
        for number in Numbers::found(b"seq=0, seq=1 seq=3 seq=1 seq=70 seq=9999999999", "seq=") {
            numbers.note(number);
        }
        assert_eq!((numbers.unique(), numbers.duplicates()), (4, 1));
        assert_eq!(numbers.missing(6, 9), [2, 4, 5]);
        assert_eq!((numbers.unique_in(1..71), numbers.unique_in(4..70), numbers.unique_in(70..1000)), (3, 0, 1));
    }
}
