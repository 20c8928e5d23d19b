//! Which frames go next: how many of a stream's oldest, and how a refused chunk is halved down to the one record that
//! the service will not take.

use super::Verdict;
use crate::limits::CHUNK_RECORDS_LIGHT_MAX;

/// The size of a stream's next chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizing {
    /// So many of the oldest pending records are known to hold one that is refused; 0: nothing is known.
    suspect: u32,
    /// Chunks of at least [`CHUNK_RECORDS_LIGHT_MAX`] records delivered in a row.
    streak: u32,
    /// Larger chunks broke the connection; 0: none did.
    bound: u32,
    /// Chunks as large as that delivered since.
    passed: u32,
}

/// After so many of them there is a backlog, and large chunks work it off.
const STREAK_OF_BACKLOG: u32 = 10;
/// After so many of them larger ones are tried again: a real bound costs few broken connections, an imagined one few small chunks.
const PASSED_TO_GROW: u32 = 256;

/// What the agent does about an answered chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Acknowledge it.
    Acknowledge,
    /// Leave it; ask again after a wait.
    Wait,
    /// Leave it; ask again with fewer records, at once.
    Halve,
    /// Set this one record aside, and go on behind it.
    SetAside,
}

impl Sizing {
    /// Records of the next chunk at most. Under light load the number is small, which bounds what is sent twice when an
    /// answer is lost; in a backlog only its bytes bound a chunk.
    pub fn records_max(&self) -> u32 {
        let wanted = match self.suspect {
            0 if self.streak >= STREAK_OF_BACKLOG => u32::MAX,
            0 => CHUNK_RECORDS_LIGHT_MAX,
            suspect => suspect.div_ceil(2),
        };
        if self.bound == 0 { wanted } else { wanted.min(self.bound) }
    }

    /// Halves the next chunks: the connection broke over so many records again and again, as it does where something in between has
    /// a bound of its own and says so by a reset.
    pub fn shrink(&mut self, records: u32) {
        (self.bound, self.passed) = ((records / 2).max(1), 0);
    }

    fn grow(&mut self, records: u32) {
        self.passed += u32::from(records >= self.bound);
        if self.passed >= PASSED_TO_GROW {
            (self.bound, self.passed) = (self.bound.saturating_mul(2), 0);
        }
    }

    /// Takes the answer about a chunk of `records`.
    pub fn settle(&mut self, verdict: Verdict, records: u32) -> Settled {
        match verdict {
            Verdict::Later => {
                self.streak = 0;
                Settled::Wait
            }
            Verdict::Sent => {
                self.streak = if records >= CHUNK_RECORDS_LIGHT_MAX { self.streak.saturating_add(1) } else { 0 };
                // The good half of a refused chunk is through, so the bad record is in what is left of it.
                self.suspect = self.suspect.saturating_sub(records);
                self.grow(records);
                Settled::Acknowledge
            }
            Verdict::Refused if records <= 1 => {
                self.suspect = 0;
                Settled::SetAside
            }
            Verdict::Refused => {
                self.suspect = records;
                Settled::Halve
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Delivers records 0 to `count` to a service that refuses every chunk with a bad one in it: what arrived, what was
    /// set aside, and how many requests it took.
    fn deliver(count: u32, bad: &[u32]) -> (Vec<u32>, Vec<u32>, u32) {
        let (mut sizing, mut next) = (Sizing::default(), 0);
        let (mut arrived, mut aside, mut requests) = (Vec::new(), Vec::new(), 0);
        while next < count {
            let records = sizing.records_max().min(count - next);
            let chunk = next..next + records;
            requests += 1;
            let refused = bad.iter().any(|record| chunk.contains(record));
            match sizing.settle(if refused { Verdict::Refused } else { Verdict::Sent }, records) {
                Settled::Acknowledge => arrived.extend(chunk),
                Settled::SetAside => aside.extend(chunk),
                Settled::Halve => continue,
                Settled::Wait => unreachable!("nothing is put off here"),
            }
            next += records;
        }
        (arrived, aside, requests)
    }

    #[track_caller]
    fn check(count: u32, bad: &[u32], requests_max: u32) {
        let (arrived, aside, requests) = deliver(count, bad);
        assert_eq!(aside, bad);
        assert_eq!(arrived, (0..count).filter(|record| !bad.contains(record)).collect::<Vec<_>>());
        assert!(requests <= requests_max, "{requests} requests");
    }

    #[test]
    fn one_bad_record_is_found_in_logarithmic_requests_and_its_neighbours_arrive_in_order() {
        for bad in [0, 1, 499, 500, 998, 999] {
            check(1000, &[bad], 2 * 10 + 3);
        }
        check(1, &[0], 1);
        check(2, &[1], 4);
    }

    #[test]
    fn several_bad_records_cost_a_search_each() {
        check(1000, &[3, 4, 700], 3 * 23);
        check(3, &[0, 1, 2], 9);
    }

    #[test]
    fn light_load_means_small_requests_and_a_backlog_large_ones() {
        let mut sizing = Sizing::default();
        for _ in 0..STREAK_OF_BACKLOG {
            assert_eq!(sizing.records_max(), CHUNK_RECORDS_LIGHT_MAX);
            sizing.settle(Verdict::Sent, CHUNK_RECORDS_LIGHT_MAX);
        }
        assert_eq!(sizing.records_max(), u32::MAX);
        sizing.settle(Verdict::Sent, CHUNK_RECORDS_LIGHT_MAX - 1);
        assert_eq!(sizing.records_max(), CHUNK_RECORDS_LIGHT_MAX);
    }

    #[test]
    fn chunks_that_break_the_connection_shrink_and_grow_again() {
        let mut sizing = Sizing::default();
        sizing.shrink(1000);
        assert_eq!(sizing.records_max(), 500);
        sizing.shrink(3);
        sizing.shrink(1);
        for expected in [1, 2, 4, 8] {
            assert_eq!(sizing.records_max(), expected);
            (0..PASSED_TO_GROW).for_each(|_| assert_eq!(sizing.settle(Verdict::Sent, expected), Settled::Acknowledge));
        }
    }

    #[test]
    fn a_put_off_chunk_changes_nothing() {
        let mut sizing = Sizing::default();
        sizing.settle(Verdict::Refused, 10);
        let before = sizing;
        assert_eq!(sizing.settle(Verdict::Later, 5), Settled::Wait);
        assert_eq!(sizing, before);
    }
}
