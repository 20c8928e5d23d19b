//! Crashes at every write and every sync. A workload runs once and its writes are logged; then, for each event of the
//! log, the disk is put together as a crash at that event may have left it, the ring is opened, and what it holds is
//! compared with what had been promised.

use crate::random::{Random, Where, from_environment, seed};
use crate::storage::{Crash, Disk, Fate, Fates};
use omsd::ring::{Counters, Loss, Opened, Place, Retry, Ring, Storage, frame, layout};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

pub type SimRing = Ring<crate::storage::File>;

const STREAMS: usize = 3;
/// Two destinations, and the flows of three streams to each.
const NAMES: [&str; 2] = ["the old workspace", "the new rule"];
const FLOWS: [u8; 6] = [0, 1, 2, 8, 9, 10];
/// Flow numbers are below this.
const NUMBERS: usize = 16;
const SIZE: u64 = layout::DATA_OFFSET + 1024;

/// One thing that a workload does.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    Append {
        stream: u8,
        bytes: usize,
        /// Places of destinations that it is not for.
        except: u8,
    },
    Commit,
    Sync,
    /// Starts a chunk and hands all of it over.
    Chunk {
        flow: u8,
        records: u64,
    },
    End {
        flow: u8,
        how: How,
    },
    Count {
        stream: u8,
    },
    Retry {
        flow: u8,
    },
    /// Another configuration: the destinations in the other order, or only the first.
    Attach {
        both: bool,
    },
    /// The process is killed and starts again.
    Restart,
    /// The same, with another size of the ring file.
    Resize {
        bytes: u64,
    },
}

#[derive(Debug, Clone, Copy)]
pub enum How {
    Acknowledge,
    Refuse,
    Discard,
    PutBack,
}

/// A record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub stream: u8,
    pub payload: Vec<u8>,
}

/// The records that were appended under a number, and the places of destinations that each is not for.
type Appended = BTreeMap<u64, Vec<(Record, u8)>>;

/// What had been promised at one moment.
#[derive(Debug, Clone, Default)]
struct Promise {
    /// Frames below this sequence survive the death of the process.
    committed: u64,
    /// Frames below this sequence survive a power cut.
    synced: u64,
    /// Frames below this sequence may be gone: the ring was full.
    tail: u64,
    /// Below this, each flow's frames are settled.
    settled: [u64; NUMBERS],
    /// The same, but only what a power cut cannot take back.
    settled_for_good: [u64; NUMBERS],
    counters: [Counters; NUMBERS],
    /// Records of the chunk in flight that were overwritten: lost, unless the answer says that they had been delivered.
    undecided: [u64; NUMBERS],
    retry: [Retry; NUMBERS],
    ring_bytes: u64,
}

/// A workload that has run: what it wrote, and what was promised after each step.
struct Run {
    disk: Disk,
    /// How many events had been logged after each step, and the promise then.
    steps: Vec<(usize, Promise)>,
    appended: Appended,
    /// Larger frames than this may fall victim to a resize.
    frame_bytes_max: u64,
}

/// Opens the ring for both destinations.
fn open(disk: &Disk, ring_bytes: u64, salt: u64, now_us: u64) -> (SimRing, Opened) {
    let (mut ring, opened) = Ring::open(&mut disk.clone(), ring_bytes, salt, now_us).expect("opens");
    let places = ring.attach(&NAMES, now_us).places;
    assert_eq!(places, [0, 1]);
    (ring, opened)
}

/// Runs a workload on a new disk, the creation of the ring included.
fn run(ops: &[Op], ring_bytes: u64) -> Run {
    let disk = Disk::recording();
    let first = (0, Promise::default());
    run_from(disk, first, Appended::new(), ops, ring_bytes)
}

/// Runs a workload on a disk with a ring of format 1.
fn run_from_format_1(ops: &[Op]) -> Run {
    let mut disk = Disk::recording();
    let bytes = include_bytes!("format1.ring");
    let mut file = disk.fresh().unwrap();
    file.write_at(0, bytes).unwrap();
    file.sync().unwrap();
    disk.adopt().unwrap();
    let look = Disk::holding(bytes.to_vec());
    let (mut ring, _) = Ring::open(&mut look.clone(), bytes.len() as u64, 1, 1).unwrap();
    let appended = pending(&mut ring, 4).into_iter().map(|(sequence, record)| (sequence, vec![(record, 0)])).collect();
    let head = ring.head().sequence;
    let mut now = Promise { committed: head, synced: head, tail: ring.tail().sequence, ..Promise::default() };
    now.ring_bytes = bytes.len() as u64;
    for flow in FLOWS {
        now.counters[usize::from(flow)] = ring.stream(flow).map(|state| state.counters).unwrap_or_default();
        now.retry[usize::from(flow)] = ring.stream(flow).map(|state| state.retry).unwrap_or_default();
    }
    now.settled[8..].fill(head); // the second destination begins here
    now.settled_for_good[8..].fill(head);
    let first = (disk.events(), now);
    run_from(disk, first, appended, ops, bytes.len() as u64)
}

fn run_from(disk: Disk, first: (usize, Promise), mut appended: Appended, ops: &[Op], ring_bytes: u64) -> Run {
    let (mut ring, _) = open(&disk, ring_bytes, 0xabcd_1234_5678_0001, 1);
    ring.commit().unwrap();
    let mut now = first.1.clone();
    now = Promise {
        committed: now.committed.max(1),
        synced: now.synced.max(1),
        tail: now.tail.max(1),
        ring_bytes,
        ..now
    };
    let mut steps = vec![(0, Promise::default()), first, (disk.events(), now.clone())];
    for (number, op) in ops.iter().enumerate() {
        ring = step(ring, &disk, *op, number, &mut now, &mut appended);
        now.tail = ring.tail().sequence;
        for flow in FLOWS {
            let (index, state) = (usize::from(flow), ring.stream(flow).unwrap());
            now.counters[index] = state.counters;
            now.undecided[index] = ring.flight(flow).map_or(0, |flight| flight.overwritten);
            now.retry[index] = state.retry;
        }
        steps.push((disk.events(), now.clone()));
    }
    let sizes = steps.iter().map(|(_, promise)| promise.ring_bytes).filter(|bytes| *bytes > 0);
    let smallest = sizes.min().and_then(layout::Layout::new).expect("a ring");
    Run { disk, steps, appended, frame_bytes_max: smallest.frame_bytes_max() as u64 }
}

fn step(mut ring: SimRing, disk: &Disk, op: Op, number: usize, now: &mut Promise, appended: &mut Appended) -> SimRing {
    let salt = 0x1111_0000 + number as u64;
    match op {
        Op::Append { stream, bytes, except } => {
            let payload = payload(number, bytes);
            let before = ring.head().sequence;
            let (first, second) = payload.split_at(bytes / 2);
            let flags = frame::except(except);
            let sequence = ring.append(stream, flags, 1000 + number as u64, &[first, second]).expect("room");
            assert_eq!(sequence, before);
            appended.entry(sequence).or_default().push((Record { stream, payload }, except));
        }
        Op::Commit => {
            ring.commit().unwrap();
            now.committed = ring.head().sequence;
        }
        Op::Sync => {
            ring.sync().unwrap();
            assert!(!ring.is_dirty());
            now.committed = ring.head().sequence;
            now.synced = now.committed;
            now.settled_for_good = now.settled;
        }
        Op::Chunk { flow, records } => {
            if ring.begin_chunk(flow, u64::MAX, records) {
                while !ring.next_piece(flow, &mut Vec::new(), 200).unwrap().done {}
            }
        }
        Op::End { flow, how } => {
            let Some(flight) = ring.flight(flow) else { return ring };
            let through = flight.last + 1;
            let was = now.settled;
            match how {
                How::Acknowledge => ring.acknowledge(flow).unwrap(),
                How::Refuse => ring.refuse(flow).unwrap(),
                How::Discard => ring.discard(flow).unwrap(),
                How::PutBack => {
                    ring.put_back(flow);
                    return ring;
                }
            }
            now.settled_for_good = was; // at most one acknowledgement is at risk
            now.settled[usize::from(flow)] = through;
        }
        Op::Count { stream } => {
            ring.count(stream, 0, Loss::Malformed, 2, 77);
            ring.commit().unwrap();
            now.committed = ring.head().sequence;
        }
        Op::Retry { flow } => {
            let retry = Retry { attempts: 1, reason: 503, next_attempt_us: number as u64, wait_ms: 30_000 };
            ring.set_retry(flow, retry);
            ring.commit().unwrap();
            now.committed = ring.head().sequence;
        }
        Op::Attach { both } => {
            ring.commit().unwrap();
            now.committed = ring.head().sequence;
            if both {
                assert_eq!(ring.attach(&[NAMES[1], NAMES[0]], 5).places, [1, 0]);
            } else {
                assert_eq!(ring.attach(&NAMES[..1], 5).places, [0]);
                now.settled[8..].fill(now.committed);
            }
            if !ring.accounts()[1].in_use {
                // Until it comes back, nothing is for it.
                now.settled[8..].fill(u64::MAX);
            } else {
                comes_back(&ring, now);
            }
            ring.commit().unwrap();
        }
        Op::Restart => {
            drop(ring);
            ring = open(disk, now.ring_bytes, salt, 2).0;
            comes_back(&ring, now);
            now.synced = now.committed; // opening syncs what it found
            now.settled_for_good = now.settled;
        }
        Op::Resize { bytes } => {
            drop(ring);
            ring = open(disk, bytes, salt, 2).0;
            comes_back(&ring, now);
            now.ring_bytes = bytes;
            now.synced = now.committed;
            now.settled_for_good = now.settled;
        }
    }
    ring
}

/// If the second destination was gone, it begins anew.
fn comes_back(ring: &SimRing, now: &mut Promise) {
    if now.settled[8] == u64::MAX {
        let head = ring.head().sequence;
        now.settled[8..].fill(head);
        // Without a sync meanwhile, a power cut takes back that it was gone: each flow is as it was before.
        now.settled_for_good[8..].iter_mut().for_each(|through| *through = head.min(*through));
    }
}

pub fn payload(number: usize, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0; bytes];
    Random::new(number as u64 + 1).fill(&mut payload);
    payload
}

/// Reads everything that a ring still has to deliver to its first destination, and puts it back.
#[track_caller]
pub fn pending(ring: &mut SimRing, streams: usize) -> BTreeMap<u64, Record> {
    let flows: Vec<u8> = (0u8..).take(streams).collect();
    pending_of(ring, &flows).into_iter().map(|((_, sequence), record)| (sequence, record)).collect()
}

/// Frames by flow and sequence.
type Found = BTreeMap<(u8, u64), Record>;

/// The same of these flows.
#[track_caller]
fn pending_of(ring: &mut SimRing, flows: &[u8]) -> Found {
    let mut found = BTreeMap::new();
    for &flow in flows {
        let expected = ring.pending(flow).records;
        let mut piece = Vec::new();
        if ring.begin_chunk(flow, u64::MAX, u64::MAX) {
            while !ring.next_piece(flow, &mut piece, usize::MAX).unwrap().done {}
            ring.put_back(flow);
        }
        let mut rest = &piece[..];
        let (mut last, mut count) = (0, 0);
        while let Some((header, payload, after)) = frame::split(rest) {
            assert!(header.sequence > last, "flow {flow}: {} after {last}", header.sequence);
            assert_eq!(header.stream, flow % 8);
            assert!(frame::is_for(header.flags, usize::from(flow / 8)));
            found.insert((flow, header.sequence), Record { stream: header.stream, payload: payload.to_vec() });
            last = header.sequence;
            count += 1;
            rest = after;
        }
        assert_eq!(rest, b"");
        assert_eq!(expected, count, "flow {flow}: pending");
        check_sum(ring, flow);
    }
    found
}

/// The books balance.
#[track_caller]
pub fn check_sum(ring: &SimRing, flow: u8) {
    let counters = ring.stream(flow).unwrap().counters;
    let pending = ring.pending(flow).records;
    assert_eq!(counters.received, counters.settled() + pending, "flow {flow}: {counters:?}, pending {pending}");
}

/// Whether the process died, or the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    PowerCut,
}

impl Run {
    /// Tries every event of the log with every single choice, and `mixes` random mixes. Returns how many crash points
    /// that were.
    fn crash_everywhere(&self, random: &mut Random, mixes: usize) -> u64 {
        let log = self.disk.0.borrow().log.clone().unwrap();
        let mut crash = Crash::before(&log);
        let mut points = 0;
        for event in 0..=log.len() {
            let step = self.steps.partition_point(|(events, _)| *events <= event).min(self.steps.len() - 1);
            let (before, after) = (&self.steps[step - 1].1, &self.steps[step].1);
            for (kind, fates) in choices(&crash, random, mixes) {
                for name in crash.names() {
                    let context = Where(|| format!("event {event}, step {step}, {kind:?}, name {name:?}, {fates:?}"));
                    self.check(&crash.disk(name, &fates), kind, before, after);
                    drop(context);
                    points += 1;
                }
            }
            if event < log.len() {
                crash.advance();
            }
        }
        points
    }

    fn check(&self, disk: &Disk, kind: Kind, before: &Promise, after: &Promise) {
        // Opened at its own size: a smaller one might have to overwrite what a power cut made pending again.
        let ring_bytes = disk.header().map_or(after.ring_bytes, |header| header.file_bytes);
        let (mut ring, opened) = open(disk, ring_bytes, 5, 3);
        let had_ring = before.ring_bytes > 0;
        assert!(!had_ring || !opened.created, "an existing ring was replaced");
        let found = pending_of(&mut ring, &FLOWS);
        self.check_nothing_is_missing(&found, kind, before, after);
        self.check_nothing_is_invented(&found, kind, before);
        check_numbers_are_not_given_twice(&ring);
        if kind == Kind::Kill && had_ring {
            check_accounts(&ring, before, after);
        }
        check_goes_on(ring, disk, ring_bytes, found);
    }

    fn check_nothing_is_missing(&self, found: &Found, kind: Kind, before: &Promise, after: &Promise) {
        let kept = if kind == Kind::Kill { before.committed } else { before.synced };
        for (&sequence, records) in self.appended.range(after.tail..kept.max(after.tail)) {
            for flow in FLOWS {
                let excused = |(record, except): &(Record, u8)| {
                    record.stream != flow % 8
                        || except >> (flow / 8) & 1 == 1
                        || sequence < after.settled[usize::from(flow)]
                        || before.settled[usize::from(flow)] == u64::MAX
                        || SimRing::record_bytes(record.payload.len()) > self.frame_bytes_max
                };
                assert!(
                    found.contains_key(&(flow, sequence)) || records.iter().any(excused),
                    "frame {sequence} was promised to flow {flow} and is gone; promised below {kept}, tail {}",
                    after.tail
                );
            }
        }
    }

    fn check_nothing_is_invented(&self, found: &Found, kind: Kind, before: &Promise) {
        let settled = if kind == Kind::Kill { before.settled } else { before.settled_for_good };
        for ((flow, sequence), record) in found {
            let is_it = |(appended, except): &(Record, u8)| appended == record && except >> (flow / 8) & 1 == 0;
            let real = self.appended.get(sequence).is_some_and(|records| records.iter().any(is_it));
            assert!(real, "frame {sequence} was never appended for flow {flow}: {record:?}");
            let through = settled[usize::from(*flow)];
            assert!(
                *sequence >= through,
                "frame {sequence} of flow {flow} would be sent again; settled below {through}"
            );
        }
    }
}

/// What the service has seen under a number never stands for another record.
fn check_numbers_are_not_given_twice(ring: &SimRing) {
    for flow in FLOWS {
        let state = ring.stream(flow).unwrap();
        let seen = state.acknowledged.max(state.handed_through);
        assert!(seen < ring.head().sequence, "flow {flow}: {seen} was seen, {:?} is next", ring.head());
    }
}

/// After a kill the counters are exact: what they were before the step that was interrupted, after it, or in between.
fn check_accounts(ring: &SimRing, before: &Promise, after: &Promise) {
    for flow in FLOWS {
        let index = usize::from(flow);
        let (low, high) = (&before.counters[index], &after.counters[index]);
        let state = ring.stream(flow).unwrap();
        let now = state.counters;
        // Part of a chunk may be overwritten and delivered in one step.
        let decided = high.since(low);
        let undecided =
            before.undecided[index].max(after.undecided[index]) + decided.sent + decided.refused + decided.discarded;
        for (name, low, now, high) in [
            ("sent", low.sent, now.sent, high.sent),
            ("overwritten", low.overwritten, now.overwritten, high.overwritten + undecided),
            ("corrupt", low.corrupt, now.corrupt, high.corrupt),
            ("refused", low.refused, now.refused, high.refused),
            ("discarded", low.discarded, now.discarded, high.discarded),
            ("malformed", low.malformed, now.malformed, high.malformed),
        ] {
            assert!((low..=high).contains(&now), "flow {flow}: {name} {now}, expected {low} to {high}");
        }
        // One that was gone comes back without a schedule.
        let gone = [before, after].iter().any(|promise| promise.settled[index] == u64::MAX);
        let retries = [before.retry[index], after.retry[index]];
        assert!(gone || retries.contains(&state.retry), "flow {flow}: {:?}", state.retry);
    }
    assert_eq!(ring.lost_unattributed(), 0);
}

/// The ring takes new records, wraps, and is the same when opened once more.
fn check_goes_on(mut ring: SimRing, disk: &Disk, ring_bytes: u64, mut known: Found) {
    let largest = known.keys().map(|(_, sequence)| *sequence).max().unwrap_or(0);
    let mut newest = Vec::new();
    let count = usize::try_from(ring.data_bytes() / 64).unwrap() + 3;
    for number in 0..count {
        let record = Record { stream: u8::try_from(number % STREAMS).unwrap(), payload: payload(9000 + number, 30) };
        let sequence = ring.append(record.stream, 0, 4, &[&record.payload]).expect("goes on");
        assert!(sequence > largest);
        known.insert((record.stream, sequence), record.clone());
        known.insert((8 + record.stream, sequence), record.clone());
        newest.push((record.stream, sequence));
    }
    ring.sync().expect("goes on");
    let found = pending_of(&mut ring, &FLOWS);
    assert!(found.iter().all(|(key, record)| known.get(key) == Some(record)), "invented after going on");
    let kept = &newest[newest.len() - newest.len() / 2..];
    let is_kept = |(stream, sequence): &(u8, u64)| {
        found.contains_key(&(*stream, *sequence)) && found.contains_key(&(8 + *stream, *sequence))
    };
    assert!(kept.iter().all(is_kept), "the newest frames are gone");
    drop(ring);
    let (mut ring, opened) = open(disk, ring_bytes, 6, 5);
    assert_eq!(opened.missing, 0);
    assert!(!opened.header_repaired);
    assert_eq!(pending_of(&mut ring, &FLOWS), found, "opened once more");
    drop(ring);
    let (mut ring, opened) = open(disk, ring_bytes + 40, 7, 6);
    assert_eq!(opened.resized_from, Some(ring_bytes));
    assert_eq!(pending_of(&mut ring, &FLOWS), found, "opened larger");
}

/// What may have become of the writes at risk: every single choice, and random mixes.
fn choices(crash: &Crash<'_>, random: &mut Random, mixes: usize) -> Vec<(Kind, Fates)> {
    let at_risk = crash.at_risk();
    let all = |fate: Fate| at_risk.iter().map(|&event| (event, fate)).collect::<Fates>();
    let but = |fate: Fate, index: usize, other: Fate| {
        let mut fates = all(fate);
        fates[index].1 = other;
        fates
    };
    let mut choices = vec![(Kind::Kill, all(Fate::Landed)), (Kind::PowerCut, all(Fate::Dropped))];
    choices.push((Kind::PowerCut, all(Fate::Landed).into_iter().rev().collect()));
    for sectors in crash.kill_cuts() {
        choices.push((Kind::Kill, but(Fate::Landed, at_risk.len() - 1, Fate::FirstSectors(sectors))));
    }
    for (index, &event) in at_risk.iter().enumerate() {
        let sectors = crash.sectors(event);
        choices.push((Kind::PowerCut, but(Fate::Landed, index, Fate::Dropped)));
        choices.push((Kind::PowerCut, but(Fate::Dropped, index, Fate::Landed)));
        choices.push((Kind::PowerCut, but(Fate::Landed, index, Fate::Garbage(random.next()))));
        for sector in 0..sectors {
            let tears =
                [Fate::FirstSectors(sector), Fate::LastSectors(sector + 1), Fate::GarbageSector(sector, random.next())];
            for tear in tears {
                choices.push((Kind::PowerCut, but(Fate::Landed, index, tear)));
                choices.push((Kind::PowerCut, but(Fate::Dropped, index, tear)));
            }
        }
    }
    if !at_risk.is_empty() {
        choices.extend((0..mixes).map(|_| (Kind::PowerCut, mix(crash, &at_risk, random))));
    }
    choices
}

fn mix(crash: &Crash<'_>, at_risk: &[usize], random: &mut Random) -> Fates {
    let mut order = at_risk.to_vec();
    if random.one_in(2) {
        random.shuffle(&mut order);
    }
    order.into_iter().map(|event| (event, any_fate(crash.sectors(event), random))).collect()
}

fn any_fate(sectors: usize, random: &mut Random) -> Fate {
    match random.below(8) {
        0..=2 => Fate::Landed,
        3 | 4 => Fate::Dropped,
        5 => Fate::FirstSectors(random.index(sectors + 1)),
        6 => Fate::LastSectors(random.index(sectors + 1)),
        _ if random.one_in(2) => Fate::Garbage(random.next()),
        _ => Fate::GarbageSector(random.index(sectors), random.next()),
    }
}

/// Tries all crash points of a scripted workload.
#[track_caller]
fn check_script(ops: &[Op]) {
    let points = run(ops, SIZE).crash_everywhere(&mut Random::new(7), 20);
    assert!(points > 20);
}

fn append(stream: u8, bytes: usize) -> Op {
    Op::Append { stream, bytes, except: 0 }
}

/// Appends of one stream, each committed.
fn appends(count: usize, stream: u8, bytes: usize) -> Vec<Op> {
    (0..count).flat_map(|_| [append(stream, bytes), Op::Commit]).collect()
}

#[test]
fn a_crash_while_the_file_is_made_leaves_a_ring_or_nothing() {
    check_script(&[]);
    check_script(&[append(0, 20), Op::Sync]);
}

#[test]
fn a_crash_while_the_ring_wraps_keeps_what_was_synced() {
    let mut ops = appends(12, 0, 50);
    ops.push(Op::Sync);
    ops.extend([Op::Chunk { flow: 0, records: 10 }, Op::End { flow: 0, how: How::Acknowledge }, Op::Sync]);
    ops.extend(appends(12, 1, 50));
    ops.push(Op::Sync);
    ops.extend(appends(3, 0, 100));
    check_script(&ops);
}

#[test]
fn a_crash_while_the_oldest_is_overwritten_loses_no_more_than_that() {
    let mut ops = appends(14, 0, 44);
    ops.push(Op::Sync);
    ops.extend(appends(14, 1, 44));
    ops.push(Op::Sync);
    ops.extend([append(0, 200), append(2, 100), Op::Commit, append(0, 0), Op::Sync]);
    check_script(&ops);
}

#[test]
fn several_rounds_between_two_syncs_leave_a_ring_that_opens() {
    let mut ops = appends(5, 0, 44);
    ops.push(Op::Sync);
    ops.extend(appends(50, 0, 44));
    ops.extend(appends(10, 1, 10));
    check_script(&ops);
}

#[test]
fn a_crash_while_chunks_are_acknowledged_repeats_at_most_one() {
    let mut ops = appends(6, 0, 30);
    ops.extend(appends(3, 1, 30));
    ops.push(Op::Sync);
    for (stream, how) in
        [(0, How::Acknowledge), (0, How::Acknowledge), (1, How::Refuse), (0, How::PutBack), (0, How::Discard)]
    {
        ops.extend([Op::Chunk { flow: stream, records: 2 }, Op::End { flow: stream, how }, append(2, 8), Op::Commit]);
    }
    check_script(&ops);
}

#[test]
fn a_crash_while_the_ring_is_resized_leaves_the_old_or_the_new_one() {
    for bytes in [SIZE - 512, SIZE + 8, SIZE + 3000] {
        let mut ops = appends(9, 0, 44);
        ops.extend([Op::Chunk { flow: 0, records: 3 }, Op::End { flow: 0, how: How::Acknowledge }]);
        ops.extend(appends(5, 1, 44));
        ops.extend([Op::Retry { flow: 1 }, Op::Resize { bytes }, append(0, 30), Op::Sync]);
        check_script(&ops);
    }
}

#[test]
fn a_chunk_in_flight_may_be_overwritten_and_is_still_accounted_for() {
    let mut ops = appends(10, 0, 44);
    ops.extend([Op::Sync, Op::Chunk { flow: 0, records: 6 }]);
    ops.extend(appends(10, 1, 44));
    ops.extend([Op::End { flow: 0, how: How::Acknowledge }, Op::Sync, Op::Chunk { flow: 1, records: 6 }]);
    ops.extend(appends(14, 0, 44));
    ops.extend([Op::End { flow: 1, how: How::PutBack }, Op::Commit, Op::Restart, append(0, 9), Op::Sync]);
    check_script(&ops);
}

#[test]
fn a_destination_that_is_dead_loses_what_is_overwritten_and_the_other_loses_nothing() {
    let mut ops = Vec::new();
    for round in 0..6 {
        ops.extend(appends(4, round % 2, 44));
        ops.extend([Op::Chunk { flow: round % 2, records: 9 }, Op::End { flow: round % 2, how: How::Acknowledge }]);
    }
    ops.extend([Op::Sync, Op::Chunk { flow: 8, records: 3 }]);
    ops.extend(appends(8, 0, 44));
    ops.extend([Op::End { flow: 8, how: How::PutBack }, Op::Restart, append(1, 9), Op::Sync]);
    check_script(&ops);
}

#[test]
fn a_record_for_one_destination_is_kept_for_that_one_through_any_crash() {
    let mut ops = appends(3, 0, 20);
    for except in [1, 2, 3, 2] {
        ops.extend([Op::Append { stream: 0, bytes: 40, except }, Op::Commit]);
    }
    ops.extend([Op::Chunk { flow: 8, records: 2 }, Op::End { flow: 8, how: How::Acknowledge }, Op::Sync]);
    ops.extend([Op::Resize { bytes: SIZE + 800 }, append(0, 9), Op::Chunk { flow: 0, records: 9 }]);
    ops.extend([Op::End { flow: 0, how: How::Acknowledge }, Op::Restart, append(1, 9), Op::Sync]);
    check_script(&ops);
}

#[test]
fn a_crash_while_the_destinations_change_leaves_what_was_or_what_will_be() {
    let mut ops = appends(4, 0, 30);
    ops.extend([Op::Sync, Op::Attach { both: true }, append(0, 30), Op::Commit, Op::Attach { both: false }]);
    ops.extend(appends(3, 0, 30));
    ops.extend([Op::Chunk { flow: 0, records: 2 }, Op::End { flow: 0, how: How::Acknowledge }]);
    ops.extend([
        Op::Attach { both: true },
        append(0, 30),
        append(1, 3),
        Op::Commit,
        Op::Sync,
        append(0, 9),
        Op::Commit,
    ]);
    check_script(&ops);
}

#[test]
fn a_destination_that_leaves_and_returns_between_two_syncs_is_settled_as_each_of_its_flows_was() {
    let mut ops = appends(2, 2, 20);
    ops.extend(appends(3, 0, 20));
    ops.extend([Op::Chunk { flow: 8, records: 2 }, Op::End { flow: 8, how: How::Acknowledge }, Op::Sync]);
    ops.extend([Op::Attach { both: false }, Op::Attach { both: true }, Op::Restart, append(1, 9), Op::Sync]);
    check_script(&ops);
}

#[test]
fn a_ring_of_format_1_is_taken_over_through_any_crash() {
    let mut ops = vec![append(0, 20), Op::Commit, Op::Chunk { flow: 0, records: 3 }];
    ops.extend([Op::End { flow: 0, how: How::Acknowledge }, append(1, 60), Op::Sync]);
    ops.extend([Op::Chunk { flow: 8, records: 9 }, Op::End { flow: 8, how: How::Acknowledge }]);
    ops.extend(appends(12, 2, 44));
    ops.extend([Op::Restart, append(1, 9), Op::Sync]);
    let points = run_from_format_1(&ops).crash_everywhere(&mut Random::new(7), 20);
    assert!(points > 200);
}

#[test]
fn a_ring_of_format_1_keeps_records_schedule_and_accounts() {
    let bytes = include_bytes!("format1.ring");
    let disk = Disk::holding(bytes.to_vec());
    assert_eq!(omsd::ring::inspect::look(&disk.file()).unwrap().problems(), []);
    let (mut ring, opened) = open(&disk, bytes.len() as u64, 1, 1);
    assert_eq!((opened.frames, opened.missing, opened.header_repaired), (20, 0, false));
    let found = pending_of(&mut ring, &[0, 1, 2, 3, 8]);
    assert_eq!(found.keys().map(|(flow, _)| *flow).collect::<Vec<_>>(), [0, 1, 2, 3].map(|flow| [flow; 5]).concat());
    for ((flow, sequence), record) in found {
        let number = usize::try_from(sequence).unwrap() - 1;
        assert_eq!((record.stream, flow), (flow, u8::try_from(number % 4).unwrap()));
        assert_eq!(record.payload, payload(number, 10 + number % 20));
    }
    let state = ring.stream(1).unwrap();
    assert_eq!(
        state.retry,
        Retry { attempts: 3, reason: 503, next_attempt_us: 1_700_000_100_000_000, wait_ms: 120_000 }
    );
    let counters = ring.stream(0).unwrap().counters;
    assert_eq!((counters.received, counters.sent, counters.overwritten), (10, 2, 3));
    assert_eq!(ring.stream(3).unwrap().counters.malformed, 2);
    assert!(disk.header().is_some(), "the header is of this format");
}

/// The long one: random workloads, on every processor, until enough crash points have been tried.
#[test]
fn every_crash_point_of_random_workloads_keeps_what_was_promised() {
    let wanted = from_environment("OMSD_CRASH_POINTS").unwrap_or(30_000);
    let first = seed("every_crash_point");
    let (points, workloads) = (AtomicU64::new(0), AtomicU64::new(0));
    let try_workloads = || {
        while points.load(Relaxed) < wanted {
            let seed = first.wrapping_add(workloads.fetch_add(1, Relaxed));
            let context = Where(|| format!("OMSD_CRASH_SEED={seed}"));
            let mut random = Random::new(seed);
            let size = layout::DATA_OFFSET + random.within(256..2000);
            let ops = random_ops(&mut random, size);
            points.fetch_add(run(&ops, size).crash_everywhere(&mut random, 12), Relaxed);
            drop(context);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(try_workloads);
        }
    });
    let (points, workloads) = (points.into_inner(), workloads.into_inner());
    println!("every_crash_point: {points} points of {workloads} workloads");
}

pub fn random_ops(random: &mut Random, size: u64) -> Vec<Op> {
    let mut size = size;
    let count = random.within(20..120);
    (0..count).map(|_| random_op(random, &mut size)).collect()
}

fn random_op(random: &mut Random, size: &mut u64) -> Op {
    let stream = u8::try_from(random.below(STREAMS as u64)).unwrap();
    let flow = FLOWS[random.index(FLOWS.len())];
    let data_bytes = (*size - layout::DATA_OFFSET) / 8 * 8;
    match random.below(40) {
        0..=15 => {
            let largest = data_bytes / 2 / 8 * 8 - 28;
            let usual = largest.min(90);
            let bytes = if random.one_in(12) { random.below(largest + 1) } else { random.below(usual + 1) };
            let except = if random.one_in(5) { 1 << random.below(2) } else { 0 };
            Op::Append { stream, bytes: usize::try_from(bytes).unwrap(), except }
        }
        16..=22 => Op::Commit,
        23..=26 => Op::Sync,
        27..=30 => Op::Chunk { flow, records: random.within(1..8) },
        31..=33 => Op::End { flow, how: How::Acknowledge },
        34 => Op::End { flow, how: How::Refuse },
        35 => Op::End { flow, how: if random.one_in(2) { How::Discard } else { How::PutBack } },
        36 if random.one_in(2) => Op::Attach { both: random.one_in(2) },
        36 => Op::Count { stream },
        37 => Op::Retry { flow },
        38 => Op::Restart,
        _ if random.one_in(3) => {
            *size = layout::DATA_OFFSET + random.within(256..2000);
            Op::Resize { bytes: *size }
        }
        _ => Op::Restart,
    }
}
