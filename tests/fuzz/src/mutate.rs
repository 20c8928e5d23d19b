//! Makes inputs out of inputs: the same seed gives the same ones.

/// A generator of numbers (xorshift64*): fast, and good enough to be led nowhere.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// From any seed.
    pub fn new(seed: u64) -> Self {
        // Seeds that are near one another must not give numbers that are.
        let mixed = (seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Random { state: (mixed ^ mixed >> 29) | 1 }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `end` - 1; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from((self.number() >> 32) * end as u64 >> 32).unwrap_or(0)
    }

    /// One of these.
    pub fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> Option<&'a T> {
        choices.get(self.below(choices.len())).copied()
    }
}

/// Numbers at the edges of what fits somewhere.
const EDGES: [u64; 14] =
    [0, 1, 7, 8, 127, 255, 256, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 62, i64::MAX as u64, u64::MAX];

/// Changes `bytes` in one to eight places; `other` is an input to take pieces from. No longer than `bytes_max` afterwards.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]], bytes_max: usize, random: &mut Random) {
    let most = 1 << random.below(4);
    for _ in 0..=random.below(most) {
        change(bytes, other, words, random);
    }
    bytes.truncate(bytes_max);
}

fn change(bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut Random) {
    match random.below(13) {
        0 | 1 => overwrite(bytes, random, |byte, random| byte ^ 1 << random.below(8)),
        2 => overwrite(bytes, random, |_, random| random.number().to_le_bytes()[7]),
        3 => overwrite(bytes, random, |byte, random| {
            byte.wrapping_add(random.number().to_le_bytes()[7] % 9).wrapping_sub(4)
        }),
        4 => insert_number(bytes, random),
        5 | 6 => {
            let word = random.pick(words).unwrap_or_default();
            put(bytes, word, random);
        }
        7 => {
            let byte = [random.number().to_le_bytes()[7]];
            let count = 1 << random.below(10);
            put(bytes, &byte.repeat(count), random);
        }
        8 => {
            let piece = piece(bytes, random).to_vec();
            put(bytes, &piece, random);
        }
        9 | 10 => put(bytes, piece(other, random), random),
        11 => {
            let (from, to) = range(bytes.len(), random);
            bytes.drain(from..to);
        }
        _ => bytes.truncate(random.below(bytes.len() + 1)),
    }
}

fn overwrite(bytes: &mut [u8], random: &mut Random, new: impl Fn(u8, &mut Random) -> u8) {
    let at = random.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte = new(*byte, random);
    }
}

/// An edge as decimal digits, or over as many bytes as it would have in a file.
fn insert_number(bytes: &mut Vec<u8>, random: &mut Random) {
    let edge = EDGES[random.below(EDGES.len())].wrapping_add(random.below(3) as u64).wrapping_sub(1);
    if random.below(2) == 0 {
        return put(bytes, edge.to_string().as_bytes(), random);
    }
    let width = 1 << random.below(4);
    let at = random.below(bytes.len() + 1);
    let end = bytes.len().min(at + width);
    bytes.splice(at..end, edge.to_le_bytes()[..width].iter().copied());
}

/// Inserts, or writes over what stands there.
fn put(bytes: &mut Vec<u8>, piece: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let over = if random.below(2) == 0 { 0 } else { piece.len().min(bytes.len() - at) };
    bytes.splice(at..at + over, piece.iter().copied());
}

fn piece<'a>(bytes: &'a [u8], random: &mut Random) -> &'a [u8] {
    let (from, to) = range(bytes.len(), random);
    &bytes[from..to]
}

fn range(length: usize, random: &mut Random) -> (usize, usize) {
    let from = random.below(length);
    let most = if random.below(2) == 0 { 16 } else { length };
    (from, (from + random.below(most) + 1).min(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutants(seed: u64) -> Vec<Vec<u8>> {
        let mut random = Random::new(seed);
        let make = |_| {
            let mut bytes = b"<13>Jul  2 12:00:00 host app: text".to_vec();
            mutate(&mut bytes, b"another one", &[b"word"], 64, &mut random);
            bytes
        };
        (0..2000).map(make).collect()
    }

    #[test]
    fn one_seed_gives_the_same_inputs_and_another_gives_others() {
        assert_eq!(mutants(1), mutants(1));
        assert_ne!(mutants(1), mutants(2));
    }

    #[test]
    fn inputs_differ_and_stay_within_their_bound() {
        let mut mutants = mutants(3);
        assert!(mutants.iter().all(|bytes| bytes.len() <= 64));
        mutants.sort();
        mutants.dedup();
        assert!(mutants.len() > 1700, "{}", mutants.len());
    }
}
