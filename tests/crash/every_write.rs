//! Crashes at every write and every sync. A workload runs once and its writes are logged; then, for each event of the
//! log, the disk is put together as a crash at that event may have left it, the ring is opened, and what it holds is
//! compared with what had been promised.

use crate::random::{Random, Where, from_environment, seed};
use crate::storage::{Crash, Disk, Fate, Fates};
use omsd::ring::{Counters, Loss, Retry, Ring, frame, layout};
use std::collections::BTreeMap;

pub type SimRing = Ring<crate::storage::File>;

const STREAMS: usize = 3;
const SIZE: u64 = layout::DATA_OFFSET + 1024;

/// One thing that a workload does.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    Append {
        stream: u8,
        bytes: usize,
    },
    Commit,
    Sync,
    /// Starts a chunk and hands all of it over.
    Chunk {
        stream: u8,
        records: u64,
    },
    End {
        stream: u8,
        how: How,
    },
    Count {
        stream: u8,
    },
    Retry {
        stream: u8,
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

/// What had been promised at one moment.
#[derive(Debug, Clone, Default)]
struct Promise {
    /// Frames below this sequence survive the death of the process.
    committed: u64,
    /// Frames below this sequence survive a power cut.
    synced: u64,
    /// Frames below this sequence may be gone: the ring was full.
    tail: u64,
    /// Below this, each stream's frames are settled.
    settled: [u64; STREAMS],
    /// The same, but only what a power cut cannot take back.
    settled_for_good: [u64; STREAMS],
    counters: [Counters; STREAMS],
    /// Records of the chunk in flight that were overwritten: lost, unless the answer says that they had been delivered.
    undecided: [u64; STREAMS],
    retry: [Retry; STREAMS],
    ring_bytes: u64,
}

/// A workload that has run: what it wrote, and what was promised after each step.
struct Run {
    disk: Disk,
    /// How many events had been logged after each step, and the promise then.
    steps: Vec<(usize, Promise)>,
    appended: BTreeMap<u64, Vec<Record>>,
    /// Larger frames than this may fall victim to a resize.
    frame_bytes_max: u64,
}

/// Runs a workload on a new disk, the creation of the ring included.
fn run(ops: &[Op], ring_bytes: u64) -> Run {
    let disk = Disk::recording();
    let mut steps = vec![(0, Promise::default())];
    let (mut ring, _) = Ring::open(&mut disk.clone(), ring_bytes, 0xabcd_1234_5678_0001, 1).expect("a new ring");
    let mut now = Promise { committed: 1, synced: 1, tail: 1, ring_bytes, ..Promise::default() };
    steps.push((disk.events(), now.clone()));
    let mut appended = BTreeMap::<u64, Vec<Record>>::new();
    for (number, op) in ops.iter().enumerate() {
        ring = step(ring, &disk, *op, number, &mut now, &mut appended);
        now.tail = ring.tail().sequence;
        for number in 0u8..3 {
            let (stream, state) = (usize::from(number), ring.stream(number).unwrap());
            now.counters[stream] = state.counters;
            now.undecided[stream] = ring.flight(number).map_or(0, |flight| flight.overwritten);
            now.retry[stream] = state.retry;
        }
        steps.push((disk.events(), now.clone()));
    }
    let sizes = steps.iter().map(|(_, promise)| promise.ring_bytes).filter(|bytes| *bytes > 0);
    let smallest = sizes.min().and_then(layout::Layout::new).expect("a ring");
    Run { disk, steps, appended, frame_bytes_max: smallest.frame_bytes_max() as u64 }
}

fn step(
    mut ring: SimRing,
    disk: &Disk,
    op: Op,
    number: usize,
    now: &mut Promise,
    appended: &mut BTreeMap<u64, Vec<Record>>,
) -> SimRing {
    let salt = 0x1111_0000 + number as u64;
    match op {
        Op::Append { stream, bytes } => {
            let payload = payload(number, bytes);
            let before = ring.head().sequence;
            let (first, second) = payload.split_at(bytes / 2);
            let sequence = ring.append(stream, 0, 1000 + number as u64, &[first, second]).expect("room");
            assert_eq!(sequence, before);
            appended.entry(sequence).or_default().push(Record { stream, payload });
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
        Op::Chunk { stream, records } => {
            if ring.begin_chunk(stream, u64::MAX, records) {
                while !ring.next_piece(stream, &mut Vec::new(), 200).unwrap().done {}
            }
        }
        Op::End { stream, how } => {
            let Some(flight) = ring.flight(stream) else { return ring };
            let through = flight.last + 1;
            let was = now.settled;
            match how {
                How::Acknowledge => ring.acknowledge(stream).unwrap(),
                How::Refuse => ring.refuse(stream).unwrap(),
                How::Discard => ring.discard(stream).unwrap(),
                How::PutBack => {
                    ring.put_back(stream);
                    return ring;
                }
            }
            now.settled_for_good = was; // at most one acknowledgement is at risk
            now.settled[usize::from(stream)] = through;
        }
        Op::Count { stream } => {
            ring.count(stream, Loss::Malformed, 2, 77);
            ring.commit().unwrap();
            now.committed = ring.head().sequence;
        }
        Op::Retry { stream } => {
            let retry = Retry { attempts: 1, reason: 503, next_attempt_us: number as u64, wait_ms: 30_000 };
            ring.set_retry(stream, retry);
            ring.commit().unwrap();
            now.committed = ring.head().sequence;
        }
        Op::Restart => {
            drop(ring);
            ring = Ring::open(&mut disk.clone(), now.ring_bytes, salt, 2).expect("a ring").0;
            now.synced = now.committed; // opening syncs what it found
            now.settled_for_good = now.settled;
        }
        Op::Resize { bytes } => {
            drop(ring);
            ring = Ring::open(&mut disk.clone(), bytes, salt, 2).expect("a ring").0;
            now.ring_bytes = bytes;
            now.synced = now.committed;
            now.settled_for_good = now.settled;
        }
    }
    ring
}

pub fn payload(number: usize, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0; bytes];
    Random::new(number as u64 + 1).fill(&mut payload);
    payload
}

/// Reads everything that a ring still has to deliver, and puts it back.
#[track_caller]
pub fn pending(ring: &mut SimRing, streams: usize) -> BTreeMap<u64, Record> {
    let mut found = BTreeMap::new();
    for stream in (0u8..).take(streams) {
        let expected = ring.pending(stream).records;
        let mut piece = Vec::new();
        if ring.begin_chunk(stream, u64::MAX, u64::MAX) {
            while !ring.next_piece(stream, &mut piece, usize::MAX).unwrap().done {}
            ring.put_back(stream);
        }
        let mut rest = &piece[..];
        let (mut last, mut count) = (0, 0);
        while let Some((header, payload, after)) = frame::split(rest) {
            assert!(header.sequence > last, "stream {stream}: {} after {last}", header.sequence);
            assert_eq!(header.stream, stream);
            last = header.sequence;
            count += 1;
            let again = found.insert(header.sequence, Record { stream, payload: payload.into() });
            assert_eq!(again, None, "sequence {} twice", header.sequence);
            rest = after;
        }
        assert_eq!(expected, count, "stream {stream}: pending");
        check_sum(ring, stream);
    }
    found
}

/// The books balance.
#[track_caller]
pub fn check_sum(ring: &SimRing, stream: u8) {
    let counters = ring.stream(stream).unwrap().counters;
    let pending = ring.pending(stream).records;
    assert_eq!(counters.received, counters.settled() + pending, "stream {stream}: {counters:?}, pending {pending}");
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
        let (mut ring, opened) = Ring::open(&mut disk.clone(), ring_bytes, 5, 3).expect("opens");
        let had_ring = before.ring_bytes > 0;
        assert!(!had_ring || !opened.created, "an existing ring was replaced");
        let found = pending(&mut ring, STREAMS);
        self.check_nothing_is_missing(&found, kind, before, after);
        self.check_nothing_is_invented(&found, kind, before);
        check_numbers_are_not_given_twice(&ring);
        if kind == Kind::Kill && had_ring {
            check_accounts(&ring, before, after);
        }
        check_goes_on(ring, disk, ring_bytes, found);
    }

    fn check_nothing_is_missing(&self, found: &BTreeMap<u64, Record>, kind: Kind, before: &Promise, after: &Promise) {
        let kept = if kind == Kind::Kill { before.committed } else { before.synced };
        for (&sequence, records) in self.appended.range(after.tail..kept.max(after.tail)) {
            let excused = |record: &Record| {
                sequence < after.settled[usize::from(record.stream)]
                    || SimRing::record_bytes(record.payload.len()) > self.frame_bytes_max
            };
            assert!(
                found.contains_key(&sequence) || records.iter().any(excused),
                "frame {sequence} was promised and is gone; promised below {kept}, tail {}",
                after.tail
            );
        }
    }

    fn check_nothing_is_invented(&self, found: &BTreeMap<u64, Record>, kind: Kind, before: &Promise) {
        let settled = if kind == Kind::Kill { before.settled } else { before.settled_for_good };
        for (sequence, record) in found {
            let real = self.appended.get(sequence).is_some_and(|records| records.contains(record));
            assert!(real, "frame {sequence} was never appended: {record:?}");
            let through = settled[usize::from(record.stream)];
            assert!(*sequence >= through, "frame {sequence} would be sent again; settled below {through}");
        }
    }
}

/// What the service has seen under a number never stands for another record.
fn check_numbers_are_not_given_twice(ring: &SimRing) {
    for stream in (0u8..).take(STREAMS) {
        let state = ring.stream(stream).unwrap();
        let seen = state.acknowledged.max(state.handed_through);
        assert!(seen < ring.head().sequence, "stream {stream}: {seen} was seen, {:?} is next", ring.head());
    }
}

/// After a kill the counters are exact: what they were before the step that was interrupted, after it, or in between.
fn check_accounts(ring: &SimRing, before: &Promise, after: &Promise) {
    for (stream, (low, high)) in (0u8..).zip(before.counters.iter().zip(&after.counters)) {
        let state = ring.stream(stream).unwrap();
        let now = state.counters;
        // Part of a chunk may be overwritten and delivered in one step.
        let decided = high.since(low);
        let undecided = before.undecided[usize::from(stream)].max(after.undecided[usize::from(stream)])
            + decided.sent
            + decided.refused
            + decided.discarded;
        for (name, low, now, high) in [
            ("sent", low.sent, now.sent, high.sent),
            ("overwritten", low.overwritten, now.overwritten, high.overwritten + undecided),
            ("corrupt", low.corrupt, now.corrupt, high.corrupt),
            ("refused", low.refused, now.refused, high.refused),
            ("discarded", low.discarded, now.discarded, high.discarded),
            ("malformed", low.malformed, now.malformed, high.malformed),
        ] {
            assert!((low..=high).contains(&now), "stream {stream}: {name} {now}, expected {low} to {high}");
        }
        let retries = [before.retry[usize::from(stream)], after.retry[usize::from(stream)]];
        assert!(retries.contains(&state.retry), "stream {stream}: {:?}", state.retry);
    }
    assert_eq!(ring.lost_unattributed(), 0);
}

/// The ring takes new records, wraps, and is the same when opened once more.
fn check_goes_on(mut ring: SimRing, disk: &Disk, ring_bytes: u64, mut known: BTreeMap<u64, Record>) {
    let largest = known.last_key_value().map_or(0, |(sequence, _)| *sequence);
    let mut newest = Vec::new();
    let count = usize::try_from(ring.data_bytes() / 64).unwrap() + 3;
    for number in 0..count {
        let record = Record { stream: u8::try_from(number % STREAMS).unwrap(), payload: payload(9000 + number, 30) };
        let sequence = ring.append(record.stream, 0, 4, &[&record.payload]).expect("goes on");
        assert!(sequence > largest);
        known.insert(sequence, record);
        newest.push(sequence);
    }
    ring.sync().expect("goes on");
    let found = pending(&mut ring, STREAMS);
    assert!(found.iter().all(|(sequence, record)| known.get(sequence) == Some(record)), "invented after going on");
    let kept = &newest[newest.len() - newest.len() / 2..];
    assert!(kept.iter().all(|sequence| found.contains_key(sequence)), "the newest frames are gone");
    drop(ring);
    let (mut ring, opened) = Ring::open(&mut disk.clone(), ring_bytes, 6, 5).expect("opens again");
    assert_eq!(opened.missing, 0);
    assert!(!opened.header_repaired);
    assert_eq!(pending(&mut ring, STREAMS), found, "opened once more");
    drop(ring);
    let (mut ring, opened) = Ring::open(&mut disk.clone(), ring_bytes + 40, 7, 6).expect("opens larger");
    assert_eq!(opened.resized_from, Some(ring_bytes));
    assert_eq!(pending(&mut ring, STREAMS), found, "opened larger");
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
    Op::Append { stream, bytes }
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
    ops.extend([Op::Chunk { stream: 0, records: 10 }, Op::End { stream: 0, how: How::Acknowledge }, Op::Sync]);
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
        ops.extend([Op::Chunk { stream, records: 2 }, Op::End { stream, how }, append(2, 8), Op::Commit]);
    }
    check_script(&ops);
}

#[test]
fn a_crash_while_the_ring_is_resized_leaves_the_old_or_the_new_one() {
    for bytes in [SIZE - 512, SIZE + 8, SIZE + 3000] {
        let mut ops = appends(9, 0, 44);
        ops.extend([Op::Chunk { stream: 0, records: 3 }, Op::End { stream: 0, how: How::Acknowledge }]);
        ops.extend(appends(5, 1, 44));
        ops.extend([Op::Retry { stream: 1 }, Op::Resize { bytes }, append(0, 30), Op::Sync]);
        check_script(&ops);
    }
}

#[test]
fn a_chunk_in_flight_may_be_overwritten_and_is_still_accounted_for() {
    let mut ops = appends(10, 0, 44);
    ops.extend([Op::Sync, Op::Chunk { stream: 0, records: 6 }]);
    ops.extend(appends(10, 1, 44));
    ops.extend([Op::End { stream: 0, how: How::Acknowledge }, Op::Sync, Op::Chunk { stream: 1, records: 6 }]);
    ops.extend(appends(14, 0, 44));
    ops.extend([Op::End { stream: 1, how: How::PutBack }, Op::Commit, Op::Restart, append(0, 9), Op::Sync]);
    check_script(&ops);
}

/// The long one: random workloads until enough crash points have been tried.
#[test]
fn every_crash_point_of_random_workloads_keeps_what_was_promised() {
    let wanted = from_environment("OMSD_CRASH_POINTS").unwrap_or(30_000);
    let first = seed("every_crash_point");
    let (mut points, mut workloads) = (0, 0);
    while points < wanted {
        let seed = first.wrapping_add(workloads);
        let context = Where(|| format!("OMSD_CRASH_SEED={seed}"));
        let mut random = Random::new(seed);
        let size = layout::DATA_OFFSET + random.within(256..2000);
        let ops = random_ops(&mut random, size);
        points += run(&ops, size).crash_everywhere(&mut random, 12);
        workloads += 1;
        drop(context);
    }
    println!("every_crash_point: {points} points of {workloads} workloads");
}

pub fn random_ops(random: &mut Random, size: u64) -> Vec<Op> {
    let mut size = size;
    let count = random.within(20..120);
    (0..count).map(|_| random_op(random, &mut size)).collect()
}

fn random_op(random: &mut Random, size: &mut u64) -> Op {
    let stream = u8::try_from(random.below(STREAMS as u64)).unwrap();
    let data_bytes = (*size - layout::DATA_OFFSET) / 8 * 8;
    match random.below(40) {
        0..=15 => {
            let largest = data_bytes / 2 / 8 * 8 - 28;
            let usual = largest.min(90);
            let bytes = if random.one_in(12) { random.below(largest + 1) } else { random.below(usual + 1) };
            append(stream, usize::try_from(bytes).unwrap())
        }
        16..=22 => Op::Commit,
        23..=26 => Op::Sync,
        27..=30 => Op::Chunk { stream, records: random.within(1..8) },
        31..=33 => Op::End { stream, how: How::Acknowledge },
        34 => Op::End { stream, how: How::Refuse },
        35 => Op::End { stream, how: if random.one_in(2) { How::Discard } else { How::PutBack } },
        36 => Op::Count { stream },
        37 => Op::Retry { stream },
        38 => Op::Restart,
        _ if random.one_in(3) => {
            *size = layout::DATA_OFFSET + random.within(256..2000);
            Op::Resize { bytes: *size }
        }
        _ => Op::Restart,
    }
}
