//! What the ring remembers beside its frames: where they begin and end, and for each destination how each stream stands. One
//! slot's bytes.
//!
//! A destination's 64 bytes in a slot: 0 key u64 · 8 in use u8 · 9 name, UTF-8, zeros behind it.
//!
//! A flow's 232 bytes (a flow is one stream on its way to one destination): 0 next position u64 · 8 next sequence u64 · 16
//! acknowledged u64 · 24 handed through u64 · 32 attempts u32 · 36 reason u16 · 38 destination's place u8 · 39 stream u8 · 40
//! next attempt, µs u64 · 48 wait, ms u64 · 56 ten counters u64, in the order of [`Counters`] · 136 the same as last reported ·
//! 216 first loss, µs u64 · 224 last loss, µs u64.

use super::frame::{NUMBER_MAX, checksum};
use super::layout::{ALIGN, Layout, read_u16, read_u32, read_u64};
use crate::limits::{DESTINATIONS_MAX, FLOWS_MAX, STREAMS_MAX};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// First bytes of a slot that was ever written.
pub const SLOT_MAGIC: [u8; 8] = *b"omsdflow";
/// The same in a file of format 1.
pub const SLOT_MAGIC_1: [u8; 8] = *b"omsdslot";
/// Bytes of a slot at most: one page, which a kill never tears.
pub const SLOT_BYTES: usize = FLOWS_OFFSET + FLOWS_MAX * FLOW_BYTES;
const SLOT_BYTES_1: usize = ACCOUNTS_OFFSET + STREAMS_MAX * STREAM_BYTES_1;
const STREAM_BYTES_1: usize = 256;
const FLOWS_OFFSET: usize = ACCOUNTS_OFFSET + DESTINATIONS_MAX * ACCOUNT_BYTES;
const FLOW_BYTES: usize = 232;
const ACCOUNTS_OFFSET: usize = 128;
const ACCOUNT_BYTES: usize = 64;
const NAME_OFFSET: usize = 9;
const FLOWS_COUNT_OFFSET: usize = 80;
const ACCOUNTS_COUNT_OFFSET: usize = 81;
const PLACE_OFFSET: usize = 38;
const STREAM_OFFSET: usize = 39;
const CRC_OFFSET: usize = 124;
const COUNTERS: usize = 10;

const _: () = assert!(SLOT_BYTES <= 4096);
const _: () = assert!(SLOT_BYTES_1 <= SLOT_BYTES);

/// A boundary between frames: every frame before it has a smaller sequence, every frame from it on has this or a larger
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// Bytes ever appended before it; see [`super::frame`].
    pub position: u64,
    /// Sequence of the frame that stands there, or the next to be given.
    pub sequence: u64,
}

/// Ways to lose a record, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Came in a form that could not be taken apart; what could be kept was.
    Malformed,
    /// Longer than the limit: its end is missing.
    Cut,
    /// Its frame was overwritten before it was delivered.
    Overwritten,
    /// Its frame was damaged, or a crash took it.
    Corrupt,
    /// The service will never take it.
    Refused,
    /// Given up after `retry_limit` attempts.
    Discarded,
    /// Never reached the ring: the disk failed, or the ring was full and the newest had to yield.
    Dropped,
}

/// What became of a stream's records since the ring was made. All but `malformed`, `cut` and `sent_again` add up:
/// received = sent + pending + overwritten + corrupt + refused + discarded + dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Taken in, whether or not they could be kept.
    pub received: u64,
    /// See [`Loss::Malformed`].
    pub malformed: u64,
    /// See [`Loss::Cut`].
    pub cut: u64,
    /// See [`Loss::Overwritten`].
    pub overwritten: u64,
    /// See [`Loss::Corrupt`].
    pub corrupt: u64,
    /// See [`Loss::Refused`].
    pub refused: u64,
    /// See [`Loss::Discarded`].
    pub discarded: u64,
    /// See [`Loss::Dropped`].
    pub dropped: u64,
    /// Acknowledged by the service.
    pub sent: u64,
    /// Handed to an upload more than once, counted each further time: an upper bound of the duplicates.
    pub sent_again: u64,
}

impl Counters {
    /// Records that are no longer waiting, for whatever reason.
    pub fn settled(&self) -> u64 {
        [self.sent, self.overwritten, self.corrupt, self.refused, self.discarded, self.dropped]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// Records that are neither delivered nor waiting, nor whole: everything an administrator should hear of.
    pub fn lost(&self) -> u64 {
        [self.malformed, self.cut, self.overwritten, self.corrupt, self.refused, self.discarded, self.dropped]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// What was added since `earlier`.
    pub fn since(&self, earlier: &Counters) -> Counters {
        let (now, then) = (self.to_array(), earlier.to_array());
        Counters::from_array(core::array::from_fn(|i| now[i].saturating_sub(then[i])))
    }

    /// Adds `count` losses of one kind. Does not touch `received`.
    pub fn add(&mut self, loss: Loss, count: u64) {
        let counter = match loss {
            Loss::Malformed => &mut self.malformed,
            Loss::Cut => &mut self.cut,
            Loss::Overwritten => &mut self.overwritten,
            Loss::Corrupt => &mut self.corrupt,
            Loss::Refused => &mut self.refused,
            Loss::Discarded => &mut self.discarded,
            Loss::Dropped => &mut self.dropped,
        };
        *counter = counter.saturating_add(count);
    }

    fn to_array(self) -> [u64; COUNTERS] {
        [
            self.received,
            self.malformed,
            self.cut,
            self.overwritten,
            self.corrupt,
            self.refused,
            self.discarded,
            self.dropped,
            self.sent,
            self.sent_again,
        ]
    }

    fn from_array(array: [u64; COUNTERS]) -> Counters {
        let [received, malformed, cut, overwritten, corrupt, refused, discarded, dropped, sent, sent_again] = array;
        Counters { received, malformed, cut, overwritten, corrupt, refused, discarded, dropped, sent, sent_again }
    }
}

/// When and why a stream is tried again. The ring only keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retry {
    /// Attempts of the present chunk that failed; 0: none, and the rest has no meaning.
    pub attempts: u32,
    /// Why the last one failed: an HTTP status, or a number of the caller's.
    pub reason: u16,
    /// When the next is due, wall clock, µs since 1970.
    pub next_attempt_us: u64,
    /// How long that wait was, in ms: the next is made from it.
    pub wait_ms: u64,
}

/// How one stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamState {
    /// From here on its pending frames are looked for.
    pub next: Mark,
    /// Largest sequence that was acknowledged; 0: none.
    pub acknowledged: u64,
    /// Largest sequence that was handed to an upload; 0: none.
    pub handed_through: u64,
    /// Its retry schedule.
    pub retry: Retry,
    /// What became of its records.
    pub counters: Counters,
    /// The counters when losses were last reported.
    pub reported: Counters,
    /// When the first record lost since then had been received, µs since 1970; 0: none lost.
    pub first_loss_us: u64,
    /// The same of the last one.
    pub last_loss_us: u64,
}

impl StreamState {
    /// Counts lost records, and the span of time they come from.
    pub fn lose(&mut self, loss: Loss, count: u64, received_us: u64) {
        if count == 0 {
            return;
        }
        self.counters.add(loss, count);
        let first = self.first_loss_us == 0 || received_us < self.first_loss_us;
        self.first_loss_us = if first { received_us } else { self.first_loss_us };
        self.last_loss_us = self.last_loss_us.max(received_us);
    }

    /// Counts a record that is lost before it could become a frame.
    pub fn skip(&mut self, loss: Loss, received_us: u64) {
        self.counters.received = self.counters.received.saturating_add(1);
        self.lose(loss, 1, received_us);
    }

    /// Nothing ever happened to the stream.
    pub fn is_blank(&self) -> bool {
        *self == StreamState { next: self.next, ..StreamState::default() }
    }

    fn encode(&self, bytes: &mut [u8]) {
        let retry = u64::from(self.retry.attempts) | u64::from(self.retry.reason) << 32;
        let head = [
            self.next.position,
            self.next.sequence,
            self.acknowledged,
            self.handed_through,
            retry,
            self.retry.next_attempt_us,
            self.retry.wait_ms,
        ];
        let counters = self.counters.to_array().into_iter().chain(self.reported.to_array());
        let numbers = head.into_iter().chain(counters).chain([self.first_loss_us, self.last_loss_us]);
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> StreamState {
        let counters = |at| Counters::from_array(core::array::from_fn(|i| read_u64(bytes, at + 8 * i)));
        StreamState {
            next: Mark { position: read_u64(bytes, 0), sequence: read_u64(bytes, 8) },
            acknowledged: read_u64(bytes, 16),
            handed_through: read_u64(bytes, 24),
            retry: Retry {
                attempts: read_u32(bytes, 32),
                reason: read_u16(bytes, 36),
                next_attempt_us: read_u64(bytes, 40),
                wait_ms: read_u64(bytes, 48),
            },
            counters: counters(56),
            reported: counters(136),
            first_loss_us: read_u64(bytes, 216),
            last_loss_us: read_u64(bytes, 224),
        }
    }
}

/// What the ring knows of one destination, and how each stream on its way there stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What it is recognised by after a restart: [`key_of`] its name. 0: nobody's, as in a new ring; the first that comes takes it.
    pub key: u64,
    /// Records are kept for it. Otherwise only its books are.
    pub in_use: bool,
    /// The beginning of its name, for a person.
    pub name: String,
    /// Its flows, by stream.
    pub streams: [StreamState; STREAMS_MAX],
}

/// The key of a destination's name: FNV-1a, never 0.
pub fn key_of(name: &str) -> u64 {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash.max(1)
}

impl Account {
    /// One that nobody has yet, whose records begin at `next`.
    pub fn new(next: Mark) -> Account {
        let streams = [StreamState { next, ..StreamState::default() }; STREAMS_MAX];
        Account { key: 0, in_use: true, name: String::new(), streams }
    }

    /// Gives it to the destination of this name.
    pub fn give_to(&mut self, name: &str) {
        let mut end = name.len().min(ACCOUNT_BYTES - NAME_OFFSET);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        (self.key, self.in_use, self.name) = (key_of(name), true, String::from(&name[..end]));
    }

    fn encode(&self, bytes: &mut [u8]) {
        bytes[..8].copy_from_slice(&self.key.to_le_bytes());
        bytes[8] = u8::from(self.in_use);
        bytes[NAME_OFFSET..NAME_OFFSET + self.name.len()].copy_from_slice(self.name.as_bytes());
    }

    fn decode(bytes: &[u8], next: Mark) -> Account {
        let name = bytes[NAME_OFFSET..].split(|&byte| byte == 0).next().unwrap_or_default();
        let name = core::str::from_utf8(name).map_or_else(|_| String::new(), String::from);
        Account { key: read_u64(bytes, 0), in_use: bytes[8] != 0, name, ..Account::new(next) }
    }
}

/// Everything a slot says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Grows with every slot written.
    pub generation: u64,
    /// The file's salt, should its header be lost.
    pub salt: u64,
    /// The file's size, likewise.
    pub file_bytes: u64,
    /// When the file was made, likewise.
    pub created_us: u64,
    /// The oldest frame that is kept.
    pub tail: Mark,
    /// Where the next frame goes.
    pub head: Mark,
    /// Frames that a crash took and of which only the numbers are known to be missing.
    pub lost_unattributed: u64,
    /// The destinations, each at the place that frames know it by; 1 to [`DESTINATIONS_MAX`].
    pub accounts: Vec<Account>,
}

/// Numbers that a flow can have.
pub const FLOW_NUMBERS: usize = DESTINATIONS_MAX * STREAMS_MAX;

/// Number of the flow of a stream to the destination at a place.
pub fn flow(place: usize, stream: u8) -> u8 {
    u8::try_from(place * STREAMS_MAX + usize::from(stream)).unwrap_or(u8::MAX)
}

/// Where a flow is found: place, and stream as an index.
pub fn place_and_stream(flow: u8) -> (usize, usize) {
    (usize::from(flow) / STREAMS_MAX, usize::from(flow) % STREAMS_MAX)
}

impl Cursor {
    /// The cursor of an empty ring.
    pub fn new(salt: u64, file_bytes: u64, created_us: u64) -> Cursor {
        let start = Mark { position: 0, sequence: 1 };
        Cursor {
            generation: 0,
            salt,
            file_bytes,
            created_us,
            tail: start,
            head: start,
            lost_unattributed: 0,
            accounts: vec![Account::new(start)],
        }
    }

    /// How a flow stands; `None`: there is none of this number.
    pub fn flow(&self, flow: u8) -> Option<&StreamState> {
        let (place, stream) = place_and_stream(flow);
        self.accounts.get(place).map(|account| &account.streams[stream])
    }

    /// The same, to be changed.
    pub fn flow_mut(&mut self, flow: u8) -> Option<&mut StreamState> {
        let (place, stream) = place_and_stream(flow);
        self.accounts.get_mut(place).map(|account| &mut account.streams[stream])
    }

    /// The bytes of a slot, as many as are used.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; FLOWS_OFFSET];
        bytes[..8].copy_from_slice(&SLOT_MAGIC);
        let numbers = [
            self.generation,
            self.salt,
            self.file_bytes,
            self.tail.position,
            self.tail.sequence,
            self.head.position,
            self.head.sequence,
            self.lost_unattributed,
            self.created_us,
        ];
        for (place, number) in bytes[8..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        for (place, account) in bytes[ACCOUNTS_OFFSET..].chunks_exact_mut(ACCOUNT_BYTES).zip(&self.accounts) {
            account.encode(place);
        }
        let flows = (0u8..).zip(&self.accounts).flat_map(|(place, account)| {
            (0u8..).zip(&account.streams).map(move |(stream, state)| (place, stream, state))
        });
        let mut count = 0;
        for (place, stream, state) in flows.filter(|(_, _, state)| !state.is_blank()).take(FLOWS_MAX) {
            let at = bytes.len();
            bytes.resize(at + FLOW_BYTES, 0);
            state.encode(&mut bytes[at..]);
            (bytes[at + PLACE_OFFSET], bytes[at + STREAM_OFFSET]) = (place, stream);
            count += 1;
        }
        bytes[FLOWS_COUNT_OFFSET] = count;
        bytes[ACCOUNTS_COUNT_OFFSET] = self.accounts.len().to_le_bytes()[0];
        let crc = slot_checksum(&bytes);
        bytes[CRC_OFFSET..ACCOUNTS_OFFSET].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What a slot says; `None` if it was never written, is torn, or says what cannot be. The bytes behind its end are not looked at.
    pub fn decode(bytes: &[u8; SLOT_BYTES]) -> Option<Cursor> {
        let flows = usize::from(bytes[FLOWS_COUNT_OFFSET]);
        let length = match *bytes.first_chunk()? {
            SLOT_MAGIC => FLOWS_OFFSET + flows * FLOW_BYTES,
            SLOT_MAGIC_1 => SLOT_BYTES_1,
            _ => return None,
        };
        let bytes = bytes.get(..length)?;
        if slot_checksum(bytes) != read_u32(bytes, CRC_OFFSET) {
            return None;
        }
        let head = Mark { position: read_u64(bytes, 48), sequence: read_u64(bytes, 56) };
        let mut cursor = Cursor {
            generation: read_u64(bytes, 8),
            salt: read_u64(bytes, 16),
            file_bytes: read_u64(bytes, 24),
            tail: Mark { position: read_u64(bytes, 32), sequence: read_u64(bytes, 40) },
            head,
            lost_unattributed: read_u64(bytes, 64),
            created_us: read_u64(bytes, 72),
            accounts: vec![Account::new(head)],
        };
        if bytes.starts_with(&SLOT_MAGIC_1) {
            let places = bytes[ACCOUNTS_OFFSET..].chunks_exact(STREAM_BYTES_1);
            cursor.accounts[0]
                .streams
                .iter_mut()
                .zip(places)
                .for_each(|(state, place)| *state = StreamState::decode(place));
        } else {
            let count = usize::from(bytes[ACCOUNTS_COUNT_OFFSET]);
            if !(1..=DESTINATIONS_MAX).contains(&count) {
                return None;
            }
            let places = bytes[ACCOUNTS_OFFSET..FLOWS_OFFSET].chunks_exact(ACCOUNT_BYTES).take(count);
            cursor.accounts = places.map(|place| Account::decode(place, head)).collect();
            for place in bytes[FLOWS_OFFSET..].chunks_exact(FLOW_BYTES) {
                let (account, stream) = (usize::from(place[PLACE_OFFSET]), usize::from(place[STREAM_OFFSET]));
                *cursor.accounts.get_mut(account)?.streams.get_mut(stream)? = StreamState::decode(place);
            }
        }
        cursor.is_sane().then_some(cursor)
    }

    /// A good checksum only says that the bytes are as they were written; a hostile file has one too.
    fn is_sane(&self) -> bool {
        let Some(layout) = Layout::new(self.file_bytes) else { return false };
        let (tail, head) = (self.tail, self.head);
        let numbers = [self.generation, tail.position, tail.sequence, head.position, head.sequence];
        numbers.into_iter().all(|number| number < NUMBER_MAX)
            && tail.position % ALIGN == 0
            && head.position % ALIGN == 0
            && (tail.position..=tail.position + layout.data_bytes).contains(&head.position)
            && (1..=head.sequence).contains(&tail.sequence)
            && self
                .accounts
                .iter()
                .flat_map(|account| &account.streams)
                .all(|state| state.next.sequence <= head.sequence)
    }
}

fn slot_checksum(bytes: &[u8]) -> u32 {
    checksum(&[&bytes[..CRC_OFFSET], &bytes[ACCOUNTS_OFFSET..]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Cursor {
        let mut cursor = Cursor::new(0xfeed, 1 << 20, 5);
        cursor.generation = 9;
        cursor.tail = Mark { position: 64, sequence: 3 };
        cursor.head = Mark { position: 640, sequence: 12 };
        cursor.lost_unattributed = 2;
        cursor.accounts.push(Account { in_use: false, ..Account::new(cursor.head) });
        cursor.accounts[0].give_to("out_oms: größer als die Namen, die in das Feld passen, das für sie da ist");
        for (i, stream) in (1..).zip(cursor.accounts.iter_mut().flat_map(|account| &mut account.streams)) {
            stream.next = Mark { position: 8 * i, sequence: i.min(12) };
            stream.acknowledged = 100 + i;
            stream.handed_through = 200 + i;
            stream.retry = Retry { attempts: 3, reason: 503, next_attempt_us: 300 + i, wait_ms: 400 + i };
            stream.counters = Counters::from_array(core::array::from_fn(|k| 1000 * i + k as u64));
            stream.reported = Counters::from_array(core::array::from_fn(|k| 500 * i + k as u64));
            stream.first_loss_us = 600 + i;
            stream.last_loss_us = 700 + i;
        }
        cursor
    }

    #[test]
    fn what_is_encoded_comes_back() {
        let found = decode(&sample().encode()).unwrap();
        assert_eq!(found, sample());
        assert_eq!(
            found.accounts[0].key,
            key_of("out_oms: größer als die Namen, die in das Feld passen, das für sie da ist")
        );
    }

    #[test]
    fn a_flow_that_nothing_happened_to_takes_no_room() {
        let empty = Cursor::new(1, 1 << 20, 5);
        assert_eq!(empty.encode().len(), FLOWS_OFFSET);
        assert_eq!(decode(&empty.encode()), Some(empty));
        assert_eq!(sample().encode().len(), SLOT_BYTES);
    }

    fn decode(slot: &[u8]) -> Option<Cursor> {
        let mut bytes = [0xee; SLOT_BYTES];
        bytes[..slot.len()].copy_from_slice(slot);
        Cursor::decode(&bytes)
    }

    #[test]
    fn every_flipped_bit_of_a_slot_is_noticed() {
        let good = sample().encode();
        for bit in 0..SLOT_BYTES * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), None, "bit {bit}");
        }
        assert_eq!(Cursor::decode(&[0; SLOT_BYTES]), None);
    }

    #[track_caller]
    fn check_refused(change: impl FnOnce(&mut Cursor)) {
        let mut cursor = sample();
        change(&mut cursor);
        assert_eq!(decode(&cursor.encode()), None);
    }

    #[test]
    fn a_slot_that_says_what_cannot_be_is_refused_in_spite_of_its_checksum() {
        check_refused(|cursor| cursor.tail.position = cursor.head.position + 8);
        check_refused(|cursor| cursor.tail.position = 1);
        check_refused(|cursor| cursor.tail.sequence = 0);
        check_refused(|cursor| cursor.tail.sequence = cursor.head.sequence + 1);
        check_refused(|cursor| cursor.head.position = 8 * u64::from(u32::MAX));
        check_refused(|cursor| cursor.head.sequence = u64::MAX);
        check_refused(|cursor| cursor.file_bytes = 100);
        check_refused(|cursor| cursor.accounts[1].streams[2].next.sequence = cursor.head.sequence + 1);
    }

    #[test]
    fn losses_remember_the_span_of_time_they_come_from() {
        let mut stream = StreamState::default();
        stream.lose(Loss::Overwritten, 0, 5);
        assert_eq!((stream.first_loss_us, stream.last_loss_us), (0, 0));
        stream.lose(Loss::Overwritten, 2, 50);
        stream.lose(Loss::Refused, 1, 40);
        assert_eq!((stream.first_loss_us, stream.last_loss_us), (40, 50));
        assert_eq!((stream.counters.overwritten, stream.counters.refused, stream.counters.lost()), (2, 1, 3));
    }
}
