//! Files that were spoiled outside of any crash: one flipped bit anywhere, cut short, blank, of another format.

use crate::every_write::{Record, SimRing, payload, pending};
use crate::random::{Random, Where};
use crate::storage::Disk;
use omsd::ring::layout::{DATA_OFFSET, FileHeader, HEADER_OFFSETS};
use omsd::ring::{OpenError, Ring, inspect};
use std::collections::BTreeMap;

const SIZE: u64 = DATA_OFFSET + 768;

fn open(disk: &Disk) -> SimRing {
    Ring::open(&mut disk.clone(), SIZE, 0x7777_1234_abcd_0003, 2).expect("opens").0
}

/// A small ring in the middle of its life: wrapped, partly delivered, both slots in use. Which of its records are
/// settled, and its bytes.
fn sample(records: usize, acknowledged: u64, sync: bool) -> (Vec<u8>, u64) {
    let disk = Disk::default();
    let mut ring = open(&disk);
    for number in 0..records {
        ring.append(u8::try_from(number % 2).unwrap(), 0, 50, &[&payload(number, 20 + number % 30)]).unwrap();
        ring.commit().unwrap();
        if number % 5 == 0 {
            ring.sync().unwrap();
        }
    }
    let mut through = 0;
    if acknowledged > 0 && ring.begin_chunk(0, u64::MAX, acknowledged) {
        while !ring.next_piece(0, &mut Vec::new(), usize::MAX).unwrap().done {}
        through = ring.flight(0).unwrap().last;
        ring.acknowledge(0).unwrap();
    }
    if sync {
        ring.sync().unwrap();
        ring.append(1, 0, 60, &[b"after the sync"]).unwrap();
        ring.sync().unwrap();
    }
    (disk.ring_bytes(), through)
}

fn found(bytes: Vec<u8>) -> (BTreeMap<u64, Record>, SimRing) {
    let mut ring = open(&Disk::holding(bytes));
    let records = pending(&mut ring, 2);
    (records, ring)
}

#[test]
fn one_flipped_bit_anywhere_loses_at_most_the_frame_it_is_in() {
    for (records, acknowledged, sync) in [(5, 2, true), (12, 0, false), (40, 3, false), (41, 3, true)] {
        let (good, through) = sample(records, acknowledged, sync);
        let whole = found(good.clone()).0;
        assert!(whole.len() >= 4);
        for at in 0..good.len() {
            for bit in 0..8 {
                let context = Where(|| format!("{records} records, byte {at}, bit {bit}"));
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                check_flipped(bytes, at, &whole, through);
                drop(context);
            }
        }
    }
}

fn check_flipped(bytes: Vec<u8>, at: usize, whole: &BTreeMap<u64, Record>, through: u64) {
    let (records, ring) = found(bytes);
    let missing = whole.keys().filter(|sequence| !records.contains_key(sequence)).count();
    let corrupt: u64 = (0..2).map(|stream| ring.stream(stream).unwrap().counters.corrupt).sum();
    let lost = corrupt + ring.lost_unattributed();
    let in_data = at as u64 >= DATA_OFFSET;
    assert!(missing <= usize::from(in_data), "{missing} frames lost");
    // Of the newest frame, if no slot knew it, nothing is left that could say so.
    let newest = whole.last_key_value().map(|(sequence, _)| sequence);
    let traceless = newest.is_some_and(|sequence| !records.contains_key(sequence));
    assert!(lost >= missing as u64 || traceless, "a loss was not counted");
    for (sequence, record) in &records {
        match whole.get(sequence) {
            Some(original) => assert_eq!(original, record, "frame {sequence} changed"),
            // Only the older slot was left: what it did not know to be acknowledged is pending again.
            None => assert!(!in_data && *sequence <= through, "frame {sequence} came from nowhere"),
        }
    }
}

#[test]
fn a_header_copy_that_was_damaged_is_repaired() {
    let (good, _) = sample(5, 0, true);
    for offset in HEADER_OFFSETS {
        let mut bytes = good.clone();
        bytes[usize::try_from(offset).unwrap() + 20] ^= 1;
        let disk = Disk::holding(bytes);
        assert!(Ring::open(&mut disk.clone(), SIZE, 0, 0).unwrap().1.header_repaired);
        assert!(!Ring::open(&mut disk.clone(), SIZE, 0, 0).unwrap().1.header_repaired);
        assert_eq!(disk.ring_bytes()[..48], good[..48]);
    }
}

#[test]
fn without_any_header_a_slot_is_enough() {
    let (good, _) = sample(9, 2, true);
    let mut bytes = good.clone();
    bytes[..4096].fill(0x55);
    assert_eq!(found(bytes).0, found(good).0);
}

#[test]
fn without_any_slot_every_frame_is_pending_again() {
    let (mut bytes, _) = sample(40, 3, true);
    let kept = found(bytes.clone()).0;
    bytes[4096..usize::try_from(DATA_OFFSET).unwrap()].fill(0x55);
    let (records, ring) = found(bytes);
    assert!(kept.iter().all(|(sequence, record)| records.get(sequence) == Some(record)));
    assert!(ring.head().sequence > *kept.last_key_value().unwrap().0);
}

#[test]
fn a_file_cut_short_keeps_the_frames_that_are_left() {
    let (good, _) = sample(12, 0, true);
    let whole = found(good.clone()).0;
    for length in 0..good.len() {
        let context = Where(|| format!("cut to {length}"));
        let disk = Disk::holding(good[..length].to_vec());
        match Ring::open(&mut disk.clone(), SIZE, 3, 2) {
            Ok((mut ring, opened)) => {
                assert_eq!(opened.created, length == 0);
                let records = pending(&mut ring, 2);
                assert!(records.iter().all(|(sequence, record)| whole.get(sequence) == Some(record)));
                let known: u64 = (0..2).map(|stream| ring.stream(stream).unwrap().counters.received).sum();
                let slots_are_whole = length as u64 >= DATA_OFFSET;
                assert!(!slots_are_whole || known == whole.len() as u64, "all are accounted for");
                assert_eq!(disk.ring_bytes().len() as u64, SIZE);
            }
            Err(error) => assert!(length < 48 && matches!(error, OpenError::Damaged | OpenError::NotARing), "{error}"),
        }
        drop(context);
    }
}

#[track_caller]
fn check_refused(bytes: Vec<u8>, expected: OpenError) {
    let disk = Disk::holding(bytes.clone());
    assert_eq!(Ring::open(&mut disk.clone(), SIZE, 3, 2).err(), Some(expected));
    assert_eq!(disk.ring_bytes(), bytes, "a refused file is left as it is");
}

#[test]
fn what_is_no_ring_of_this_format_is_refused_and_left_alone() {
    let (good, _) = sample(5, 0, false);
    let mut later = vec![0; good.len()];
    for offset in HEADER_OFFSETS.map(|offset| usize::try_from(offset).unwrap()) {
        later[offset..offset + 8].copy_from_slice(b"omsdring");
        later[offset + 8] = 3;
    }
    check_refused(later, OpenError::OtherVersion(3));
    let mut like_ours = good.clone();
    HEADER_OFFSETS.iter().for_each(|&offset| like_ours[usize::try_from(offset).unwrap() + 8] = 3);
    check_refused(like_ours, OpenError::OtherVersion(3));
    check_refused(vec![b'{'; 20_000], OpenError::NotARing);
    let mut damaged = good;
    damaged[20] ^= 1;
    damaged[2048 + 20] ^= 1;
    damaged[4096] ^= 1;
    damaged[8192] ^= 1;
    check_refused(damaged, OpenError::Damaged);
}

#[test]
fn a_blank_file_becomes_a_ring() {
    for length in [0, 1, 48, 5000, 100_000] {
        let disk = Disk::holding(vec![0; length]);
        let (mut ring, opened) = Ring::open(&mut disk.clone(), SIZE, 3, 2).unwrap();
        assert!(opened.created);
        ring.append(0, 0, 1, &[b"first"]).unwrap();
        ring.sync().unwrap();
        assert_eq!(disk.ring_bytes().len() as u64, SIZE);
    }
}

#[test]
fn a_header_of_this_format_with_an_absurd_size_is_damaged() {
    for file_bytes in [0, DATA_OFFSET, 1 << 60] {
        let header = FileHeader { file_bytes, salt: 1, created_us: 1 }.encode();
        let mut bytes = vec![0; 20_000];
        bytes[..header.len()].copy_from_slice(&header);
        check_refused(bytes, OpenError::Damaged);
    }
}

#[test]
fn looking_finds_what_is_wrong_and_changes_nothing() {
    let (good, _) = sample(40, 3, true);
    let disk = Disk::holding(good.clone());
    let look = inspect::look(&disk.file()).unwrap();
    assert_eq!(look.problems(), []);
    let mut shown = 0;
    inspect::dump(&disk.file(), |frame| {
        shown += u64::from(frame.pending);
        true
    })
    .unwrap();
    assert_eq!(shown, found(good.clone()).0.len() as u64);
    assert_eq!(disk.ring_bytes(), good);

    let mut random = Random::new(5);
    for _ in 0..200 {
        let mut bytes = good.clone();
        let start = usize::try_from(DATA_OFFSET).unwrap() + random.index(600);
        random.fill(&mut bytes[start..start + 100]);
        let disk = Disk::holding(bytes.clone());
        assert_ne!(inspect::look(&disk.file()).unwrap().problems(), []);
        assert_eq!(disk.ring_bytes(), bytes);
    }
}
