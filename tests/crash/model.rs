//! The ring beside plain queues, one for each stream and destination, for long: random append, commit, read, settle, kill and restart, and now and then
//! damage.

use crate::every_write::{SimRing, check_sum, payload};
use crate::random::{Random, Where, from_environment, seed};
use crate::storage::Disk;
use omsd::ring::layout::DATA_OFFSET;
use omsd::ring::{Ring, flow, frame};
use std::collections::VecDeque;

const STREAMS: u8 = 3;
/// The streams' flows to two destinations.
const FLOWS: [u8; 6] = [0, 1, 2, 8, 9, 10];

/// What a flow of the ring should be: its pending records, oldest first, and what became of the others.
#[derive(Debug, Default)]
struct Queue {
    pending: VecDeque<(u64, Vec<u8>)>,
    received: u64,
    sent: u64,
    overwritten: u64,
    /// Records of the chunk that is under way. They stay in `pending` until it is settled, also when overwritten.
    flight: usize,
}

struct Model {
    disk: Disk,
    ring: Option<SimRing>,
    /// By the number of the flow.
    queues: [Queue; 16],
    /// Frames below this are in the file.
    committed: u64,
    ring_bytes: u64,
    random: Random,
    number: usize,
    /// Bytes were damaged: from here on frames may be missing, and only the sums and the order must hold.
    damaged: bool,
}

impl Model {
    fn new(seed: u64) -> Model {
        let mut random = Random::new(seed);
        let ring_bytes = DATA_OFFSET + random.within(256..6000);
        let disk = Disk::default();
        let (mut ring, _) = Ring::open(&mut disk.clone(), ring_bytes, random.next(), 1).unwrap();
        assert_eq!(ring.attach(&["old", "new"], 1).places, [0, 1]);
        ring.commit().unwrap();
        let queues = Default::default();
        Model { disk, ring: Some(ring), queues, committed: 1, ring_bytes, random, number: 0, damaged: false }
    }

    fn ring(&mut self) -> &mut SimRing {
        self.ring.as_mut().expect("open")
    }

    fn step(&mut self, damage: bool) {
        let stream = u8::try_from(self.random.below(u64::from(STREAMS))).unwrap();
        let flow = FLOWS[self.random.index(FLOWS.len())];
        match self.random.below(100) {
            0..=49 => self.append(stream),
            50..=64 => self.commit(),
            65..=69 => {
                self.ring().sync().unwrap();
                self.committed = self.ring().head().sequence;
            }
            70..=79 => self.read_chunk(flow),
            80..=91 => self.settle(flow, true),
            92 | 93 => self.settle(flow, false),
            94 | 95 => self.cut(flow),
            96 | 97 => self.restart(),
            98 => self.ring().release_memory(),
            _ if damage => self.damage(),
            _ => {}
        }
        self.forget_overwritten();
        self.compare();
    }

    fn append(&mut self, stream: u8) {
        self.number += 1;
        let largest = usize::try_from(self.ring().data_bytes() / 2 / 8 * 8 - 28).unwrap();
        let length = if self.random.one_in(20) { self.random.index(largest + 1) } else { self.random.index(80) };
        let payload = payload(self.number, length.min(largest));
        let split = self.random.index(payload.len() + 1);
        let except = if self.random.one_in(8) { 1 << self.random.below(2) } else { 0 };
        let parts = [&payload[..split], &payload[split..]];
        let sequence = self.ring().append(stream, frame::except(except), 5, &parts).unwrap();
        for place in (0..2).filter(|place| except >> place & 1 == 0) {
            let queue = &mut self.queues[usize::from(flow(place, stream))];
            queue.pending.push_back((sequence, payload.clone()));
            queue.received += 1;
        }
    }

    fn commit(&mut self) {
        self.ring().commit().unwrap();
        self.committed = self.ring().head().sequence;
    }

    /// Hands over a chunk and compares it, frame by frame, with the front of the queue.
    fn read_chunk(&mut self, flow: u8) {
        let (bytes, records) = (self.random.within(1..800), self.random.within(1..12));
        let piece_bytes = self.random.index(300);
        if self.ring().flight(flow).is_some() || !self.ring().begin_chunk(flow, bytes, records) {
            return;
        }
        let mut chunk = Vec::new();
        loop {
            let mut piece = Vec::new();
            let done = self.ring().next_piece(flow, &mut piece, piece_bytes).unwrap().done;
            chunk.extend_from_slice(&piece);
            if done {
                break;
            }
            if self.random.one_in(3) {
                self.append((flow + 1) % STREAMS);
                self.commit();
                self.forget_overwritten_but_for(Some(flow));
            }
        }
        self.compare_chunk(flow, &chunk, records);
    }

    fn compare_chunk(&mut self, flow: u8, chunk: &[u8], records: u64) {
        let damaged = self.damaged;
        let queue = &mut self.queues[usize::from(flow)];
        let (mut rest, mut count, mut bytes) = (chunk, 0, 0);
        let mut expected = queue.pending.iter();
        while let Some((header, payload, after)) = frame::split(rest) {
            let mut wanted = expected.next();
            while damaged && wanted.is_some_and(|(sequence, _)| *sequence < header.sequence) {
                wanted = expected.next();
            }
            assert_eq!(wanted.map(|(s, p)| (*s, &p[..])), Some((header.sequence, payload)), "flow {flow}");
            bytes += header.frame_bytes();
            count += 1;
            rest = after;
        }
        assert_eq!(rest, b"");
        assert!(count <= records);
        assert!(count > 0 || damaged);
        let flight = self.ring.as_ref().unwrap().flight(flow).copied().unwrap_or_default();
        assert_eq!((flight.records, flight.bytes), (count, bytes as u64));
        queue.flight = usize::try_from(count).unwrap();
    }

    fn settle(&mut self, flow: u8, delivered: bool) {
        let Some(last) = self.ring().flight(flow).map(|flight| flight.last) else { return };
        if delivered {
            self.ring().acknowledge(flow).unwrap();
        } else {
            self.ring().put_back(flow);
        }
        let queue = &mut self.queues[usize::from(flow)];
        queue.flight = 0;
        if delivered {
            while queue.pending.front().is_some_and(|(sequence, _)| *sequence <= last) {
                queue.pending.pop_front();
                queue.sent += 1;
            }
        }
        // An acknowledgement may have had to commit first.
        let ring = self.ring.as_ref().unwrap();
        let in_memory = ring.head().sequence;
        self.committed = if ring.is_dirty() { self.committed } else { in_memory };
    }

    /// Leaves the front of a chunk under way; what of it was overwritten meanwhile is no longer there.
    fn cut(&mut self, flow: u8) {
        let Some(flight) = self.ring().flight(flow).copied() else { return };
        let records = self.random.within(1..flight.records + 1);
        let again = self.ring().stream(flow).unwrap().counters.sent_again;
        self.ring().cut_chunk(flow, records).unwrap();
        let ring = self.ring.as_ref().unwrap();
        let (tail, damaged) = (ring.tail().sequence, self.damaged);
        let queue = &mut self.queues[usize::from(flow)];
        let mut gone = 0;
        while queue.pending.front().is_some_and(|(sequence, _)| *sequence < tail) {
            queue.pending.pop_front();
            gone += 1;
        }
        queue.overwritten += gone;
        let left = ring.flight(flow).map_or(0, |flight| flight.records);
        assert!(damaged || left == records.saturating_sub(flight.overwritten), "{records} of {flight:?}, left {left}");
        assert_eq!(ring.stream(flow).unwrap().counters.sent_again, again);
        queue.flight = usize::try_from(left).unwrap();
    }

    /// Killed, and started again: what was not committed is gone, and what was in flight is pending again.
    fn restart(&mut self) {
        if self.random.one_in(2) {
            self.commit();
        }
        drop(self.ring.take());
        let (mut ring, opened) = Ring::open(&mut self.disk.clone(), self.ring_bytes, 0, 1).unwrap();
        assert_eq!(ring.attach(&["new", "old"], 1).places, [1, 0]);
        assert!(!opened.created);
        assert!(self.damaged || opened.missing == 0);
        let head = ring.head().sequence;
        assert!(self.damaged || head >= self.committed);
        self.committed = head;
        self.ring = Some(ring);
        for queue in &mut self.queues {
            while queue.pending.back().is_some_and(|(sequence, _)| *sequence >= head) {
                queue.pending.pop_back();
                queue.received -= 1;
            }
            queue.flight = 0;
        }
    }

    fn damage(&mut self) {
        self.damaged = true;
        let world = &mut *self.disk.0.borrow_mut();
        let file = &mut world.files[world.ring.unwrap()];
        let start = usize::try_from(DATA_OFFSET).unwrap();
        let at = start + self.random.index(file.len() - start);
        file[at] ^= 1 << self.random.below(8);
    }

    fn forget_overwritten(&mut self) {
        self.forget_overwritten_but_for(None);
    }

    fn forget_overwritten_but_for(&mut self, reading: Option<u8>) {
        let tail = self.ring.as_ref().unwrap().tail().sequence;
        for (flow, queue) in (0u8..).zip(&mut self.queues) {
            let last = self.ring.as_ref().unwrap().flight(flow).map_or(0, |flight| flight.last);
            if reading == Some(flow) {
                // Frames that the reader had not come to are gone; those it has are in flight.
                let flown = queue.pending.iter().take_while(|(sequence, _)| *sequence <= last).count();
                while queue.pending.get(flown).is_some_and(|(sequence, _)| *sequence < tail) {
                    queue.pending.remove(flown);
                    queue.overwritten += 1;
                }
                continue;
            }
            let flown = queue.flight;
            while queue.pending.get(flown).is_some_and(|(sequence, _)| *sequence < tail) {
                queue.pending.remove(flown);
                queue.overwritten += 1;
            }
        }
    }

    fn compare(&mut self) {
        let ring = self.ring.as_ref().unwrap();
        for (flow, queue) in FLOWS.map(|flow| (flow, &self.queues[usize::from(flow)])) {
            check_sum(ring, flow);
            let counters = ring.stream(flow).unwrap().counters;
            if self.damaged {
                continue;
            }
            let pending = ring.pending(flow);
            let bytes: u64 = queue.pending.iter().map(|(_, payload)| SimRing::record_bytes(payload.len())).sum();
            assert_eq!((pending.records, pending.bytes), (queue.pending.len() as u64, bytes), "flow {flow}");
            let ours = (counters.received, counters.sent, counters.overwritten, counters.corrupt);
            assert_eq!(ours, (queue.received, queue.sent, queue.overwritten, 0), "flow {flow}");
        }
    }
}

fn run(test: &str, damage: bool) {
    let steps = from_environment("OMSD_MODEL_STEPS").unwrap_or(200_000);
    let first = seed(test);
    for run in 0..steps / 2000 {
        let seed = first.wrapping_add(run);
        let mut model = Model::new(seed);
        for step in 0..2000 {
            let context = Where(|| format!("OMSD_CRASH_SEED={seed}, step {step}"));
            model.step(damage);
            drop(context);
        }
    }
}

#[test]
fn the_ring_is_a_queue_that_forgets_its_oldest() {
    run("model", false);
}

#[test]
fn damage_loses_frames_but_never_order_or_count() {
    run("damaged model", true);
}
