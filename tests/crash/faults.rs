//! A disk that says no for a while: nothing panics, nothing that was accepted is lost, what could not be accepted is
//! counted by the caller, and when the disk is back everything goes on.

use crate::every_write::{SimRing, check_sum, pending};
use crate::storage::Disk;
use omsd::ring::layout::DATA_OFFSET;
use omsd::ring::{AppendError, Fault, Loss, OpenError, Ring, frame};

const SIZE: u64 = DATA_OFFSET + 4096;

fn new_ring() -> (Disk, SimRing) {
    let disk = Disk::default();
    let (ring, _) = Ring::open(&mut disk.clone(), SIZE, 9, 1).unwrap();
    (disk, ring)
}

fn break_disk(disk: &Disk, fault: Option<Fault>) {
    disk.0.borrow_mut().broken = fault;
}

#[track_caller]
fn check_outage(fault: Fault) {
    let (disk, mut ring) = new_ring();
    ring.append(0, 0, 1, &[b"before"]).unwrap();
    ring.sync().unwrap();
    break_disk(&disk, Some(fault));
    let (mut kept, mut refused) = (1, 0);
    for number in 0..200_u32 {
        match ring.append(0, 0, 2, &[&number.to_le_bytes(), &[b'x'; 20]]) {
            Ok(_) => kept += 1,
            Err(error) => {
                assert_eq!(error, AppendError::Fault(fault));
                ring.count(0, 0, Loss::Dropped, 1, 2);
                refused += 1;
            }
        }
        assert_eq!(ring.commit(), Err(fault));
        assert_eq!(ring.sync(), Err(fault));
        assert!(ring.is_dirty());
        check_sum(&ring, 0);
    }
    assert!(kept > 10 && refused > 10);
    break_disk(&disk, None);
    ring.sync().unwrap();
    assert!(!ring.is_dirty());
    assert_eq!(pending(&mut ring, 1).len(), kept);
    assert_eq!(ring.unreported(0).dropped, refused);
    drop(ring);
    let (mut ring, _) = Ring::open(&mut disk.clone(), SIZE, 9, 1).unwrap();
    assert_eq!(pending(&mut ring, 1).len(), kept);
    assert_eq!(ring.stream(0).unwrap().counters.received, kept as u64 + refused);
}

#[test]
fn an_outage_of_the_disk_keeps_what_fits_in_memory_and_counts_the_rest() {
    for errno in [5, 27, 28, 30, 122] {
        check_outage(Fault { errno });
    }
}

#[test]
fn an_acknowledgement_counts_even_if_the_disk_does_not_take_it() {
    let (disk, mut ring) = new_ring();
    for record in 0..10_u8 {
        ring.append(0, 0, 1, &[&[record]]).unwrap();
    }
    ring.sync().unwrap();
    for _ in 0..2 {
        assert!(ring.begin_chunk(0, u64::MAX, 3));
        while !ring.next_piece(0, &mut Vec::new(), usize::MAX).unwrap().done {}
        break_disk(&disk, Some(Fault::DEVICE));
        assert_eq!(ring.acknowledge(0), Err(Fault::DEVICE));
        break_disk(&disk, None);
    }
    assert_eq!((ring.pending(0).records, ring.stream(0).unwrap().counters.sent), (4, 6));
    ring.commit().unwrap();
    drop(ring);
    let (ring, _) = Ring::open(&mut disk.clone(), SIZE, 9, 1).unwrap();
    assert_eq!((ring.pending(0).records, ring.stream(0).unwrap().counters.sent), (4, 6));
}

#[test]
fn a_bad_sector_costs_the_frames_on_it_and_a_dead_disk_costs_nothing() {
    let (disk, mut ring) = new_ring();
    for record in 0..40_u8 {
        ring.append(0, 0, 1, &[&[record; 60]]).unwrap();
    }
    ring.commit().unwrap();
    disk.0.borrow_mut().unreadable = Some((0..usize::MAX, Fault::DEVICE));
    assert!(ring.begin_chunk(0, u64::MAX, u64::MAX));
    let mut piece = Vec::new();
    assert_eq!(ring.next_piece(0, &mut piece, usize::MAX), Err(Fault::DEVICE));
    assert_eq!(piece, b"");
    disk.0.borrow_mut().unreadable = None;
    assert_eq!(ring.next_piece(0, &mut piece, usize::MAX).unwrap().records, 40);
    ring.put_back(0);
    assert_eq!(ring.stream(0).unwrap().counters.corrupt, 0);

    // A bad sector under the first frames: what lies on the 4096 bytes around it is lost, what lies behind is not.
    let (disk, mut ring) = large_ring();
    for record in 0..100_u8 {
        ring.append(0, 0, 1, &[&[record; 60]]).unwrap();
    }
    ring.commit().unwrap();
    let bad = usize::try_from(DATA_OFFSET).unwrap() + 512;
    disk.0.borrow_mut().unreadable = Some((bad..bad + 512, Fault::DEVICE));
    assert!(ring.begin_chunk(0, u64::MAX, u64::MAX));
    let records = ring.next_piece(0, &mut Vec::new(), usize::MAX).unwrap().records;
    assert_eq!(records, 100 - 4096_u32.div_ceil(88), "a page of it reads as zeros");
    assert_eq!(ring.stream(0).unwrap().counters.corrupt, 47);
    check_sum(&ring, 0);
}

fn large_ring() -> (Disk, SimRing) {
    let disk = Disk::default();
    let (ring, _) = Ring::open(&mut disk.clone(), DATA_OFFSET + 20_000, 9, 1).unwrap();
    (disk, ring)
}

#[test]
fn a_full_disk_is_an_error_when_the_ring_is_made() {
    let disk = Disk::default();
    break_disk(&disk, Some(Fault::NO_SPACE));
    assert_eq!(Ring::open(&mut disk.clone(), SIZE, 9, 1).err(), Some(OpenError::Fault(Fault::NO_SPACE)));
    break_disk(&disk, None);
    assert!(Ring::open(&mut disk.clone(), SIZE, 9, 1).unwrap().1.created);
}

#[test]
fn nothing_is_written_while_nothing_happens() {
    let (disk, mut ring) = new_ring();
    ring.append(0, 0, 1, &[b"one"]).unwrap();
    ring.sync().unwrap();
    let syncs = disk.0.borrow().syncs;
    for _ in 0..10 {
        assert!(!ring.is_dirty());
        ring.commit().unwrap();
        ring.sync().unwrap();
    }
    assert_eq!(disk.0.borrow().syncs, syncs);
}

#[test]
fn damage_under_a_running_ring_is_counted_once_and_holds_nobody_up() {
    let (disk, mut ring) = new_ring();
    for record in 0..6_u8 {
        ring.append(record % 2, 0, 9, &[&[record; 20]]).unwrap();
    }
    ring.commit().unwrap();
    disk.0.borrow_mut().files[0][usize::try_from(DATA_OFFSET).unwrap() + 60] ^= 1; // in the second frame, of stream 1
    for _ in 0..3 {
        assert!(ring.begin_chunk(1, u64::MAX, u64::MAX));
        let mut piece = Vec::new();
        while !ring.next_piece(1, &mut piece, usize::MAX).unwrap().done {}
        let (header, payload, _) = frame::split(&piece).unwrap();
        assert_eq!((header.sequence, payload), (4, &[3; 20][..]));
        assert_eq!(ring.stream(1).unwrap().counters.corrupt, 1);
        ring.put_back(1);
        check_sum(&ring, 1);
    }
    assert_eq!(ring.pending(1).records, 2);
}

#[test]
fn a_stream_of_nothing_but_damage_comes_to_an_end() {
    let (disk, mut ring) = new_ring();
    ring.append(0, 0, 9, &[b"only one"]).unwrap();
    ring.commit().unwrap();
    disk.0.borrow_mut().files[0][usize::try_from(DATA_OFFSET).unwrap() + 30] ^= 1;
    assert!(ring.begin_chunk(0, u64::MAX, u64::MAX));
    assert!(ring.next_piece(0, &mut Vec::new(), usize::MAX).unwrap().done);
    assert_eq!(ring.flight(0), None);
    assert!(!ring.begin_chunk(0, u64::MAX, u64::MAX));
    check_sum(&ring, 0);
}
