//! A sample of an object's counters to bytes and back.
//!
//! ```text
//! payload    object (1 byte, its number)   counters (2 bytes, little-endian)   instance instance ...
//! instance   number: bytes of its name     its name     a value for each counter
//! value      number: 0 absent   even: a whole one, n / 2 - 1   odd: a fraction, n / 2 = digits * 32 + exponent + 16
//! number     7 bits a byte, lowest first, the top bit set in all but the last
//! ```
//!
//! A bit of `counters` says that the counter of that index is there. The moment of the sample is the frame's: the frames of one
//! sample have the same. A value takes what its digits need: 1 byte up to 62, 4 bytes for any fraction.

use super::number::{DIGITS_MAX, DIGITS_MIN, EXPONENT_MAX, EXPONENT_MIN, Number};
use crate::collect::{COUNTERS_MAX, Object};
use crate::limits::{PAYLOAD_BYTES_MAX, PERF_INSTANCES_MAX, PERF_NAME_BYTES_MAX};
use alloc::vec::Vec;

/// A set of an object's counters: bit n is the counter of index n.
pub type Counters = u16;

/// All counters that an object has.
pub fn all(object: Object) -> Counters {
    Counters::MAX >> (Counters::BITS as usize - object.counters().len())
}

const HEAD_BYTES: usize = 3;
/// Longest number that a value or a length takes.
const NUMBER_BYTES_MAX: usize = 10;
/// Largest whole value that is told from the next: far beyond what a counter reaches.
const WHOLE_MAX: u64 = u64::MAX / 2 - 1;
/// Exponents that a fraction may have, counted from the smallest.
const EXPONENTS: u64 = 32;

const _: () = assert!(EXPONENT_MAX.abs_diff(EXPONENT_MIN) < 32);

const _: () = assert!(COUNTERS_MAX <= Counters::BITS as usize);
const _: () = assert!(HEAD_BYTES + INSTANCE_BYTES_MAX <= PAYLOAD_BYTES_MAX);
const INSTANCE_BYTES_MAX: usize = PERF_NAME_BYTES_MAX + NUMBER_BYTES_MAX * (1 + COUNTERS_MAX);

/// Puts instances into payloads, as many as fit into each.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    instances: usize,
}

impl Writer {
    /// Starts a payload; forgets what was in it.
    pub fn begin(&mut self, object: Object, counters: Counters) {
        self.bytes.clear();
        self.bytes.push(object as u8);
        self.bytes.extend_from_slice(&counters.to_le_bytes());
        self.instances = 0;
    }

    /// Whether another instance may be added.
    pub fn has_room(&self) -> bool {
        self.instances < PERF_INSTANCES_MAX && self.bytes.len() + INSTANCE_BYTES_MAX <= PAYLOAD_BYTES_MAX
    }

    /// Adds an instance with its values, in the order of the object's counters: those that the payload is about are kept. A
    /// name above [`PERF_NAME_BYTES_MAX`] is cut. Asks for room.
    pub fn add(&mut self, name: &[u8], values: &[Option<f64>]) {
        debug_assert!(self.has_room(), "no room for {} instances and one", self.instances);
        let name = &name[..name.len().min(PERF_NAME_BYTES_MAX)];
        let counters = Counters::from_le_bytes([self.bytes[1], self.bytes[2]]);
        put_number(name.len() as u64, &mut self.bytes);
        self.bytes.extend_from_slice(name);
        for index in indices(counters) {
            put_value(values.get(index).copied().flatten(), &mut self.bytes);
        }
        self.instances += 1;
    }

    /// The payload, unless there is no instance in it.
    pub fn payload(&self) -> Option<&[u8]> {
        (self.instances > 0).then_some(self.bytes.as_slice())
    }

    /// Gives back memory that only a large sample needed.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.bytes.clear();
        self.instances = 0;
        self.bytes.shrink_to(bytes);
    }
}

/// The sample in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<'a> {
    /// What was measured.
    pub object: Object,
    counters: Counters,
    /// Whole instances, one behind another.
    instances: &'a [u8],
}

/// One instance of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance<'a> {
    /// Its name, as the host has it.
    pub name: &'a [u8],
    object: Object,
    counters: Counters,
    values: &'a [u8],
}

/// The sample in a payload; `None` if the payload is not one.
pub fn decode(payload: &[u8]) -> Option<Sample<'_>> {
    let ([object, low, high], instances) = payload.split_first_chunk::<HEAD_BYTES>()?;
    let object = Object::from_id(*object)?;
    let counters = Counters::from_le_bytes([*low, *high]);
    if u32::from(counters) >> object.counters().len() != 0 {
        return None;
    }
    let sample = Sample { object, counters, instances };
    let (mut rest, mut count) = (instances, 0);
    while !rest.is_empty() {
        (_, rest) = sample.split_instance(rest)?;
        count += 1;
    }
    (1..=PERF_INSTANCES_MAX).contains(&count).then_some(sample)
}

impl<'a> Sample<'a> {
    /// Its instances, in the order in which they were found.
    pub fn instances(&self) -> impl Iterator<Item = Instance<'a>> + use<'a> {
        let (sample, mut rest) = (*self, self.instances);
        core::iter::from_fn(move || {
            let (instance, after) = sample.split_instance(rest)?;
            rest = after;
            Some(instance)
        })
    }

    fn split_instance(&self, bytes: &'a [u8]) -> Option<(Instance<'a>, &'a [u8])> {
        let (length, rest) = split_number(bytes)?;
        let (name, values) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let mut rest = values;
        for _ in 0..self.counters.count_ones() {
            (_, rest) = split_value(rest)?;
        }
        let values = &values[..values.len() - rest.len()];
        Some((Instance { name, object: self.object, counters: self.counters, values }, rest))
    }
}

impl<'a> Instance<'a> {
    /// The counters that have a value, by their names on the wire, in their order there.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, Number)> + use<'a> {
        let (names, mut rest) = (self.object.counters(), self.values);
        let values = indices(self.counters).map(move |index| {
            let (value, after) = split_value(rest)?;
            rest = after;
            Some((*names.get(index)?, value?))
        });
        values.flatten()
    }
}

fn indices(counters: Counters) -> impl Iterator<Item = usize> {
    (0..COUNTERS_MAX).filter(move |index| counters >> index & 1 == 1)
}

fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(0x80 | u8::try_from(number & 0x7f).unwrap_or(0));
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, &byte) in (0..u32::try_from(NUMBER_BYTES_MAX).unwrap_or(0)).zip(bytes) {
        let bits = u64::from(byte & 0x7f);
        let part = bits << (7 * index);
        if part >> (7 * index) != bits {
            return None;
        }
        number |= part;
        if byte < 0x80 {
            return Some((number, &bytes[index as usize + 1..]));
        }
    }
    None
}

/// What is no number, or below zero, is absent: it cannot be sent.
fn put_value(value: Option<f64>, out: &mut Vec<u8>) {
    let code = match value.and_then(Number::of) {
        None => 0,
        Some(Number::Whole(whole)) => (whole.min(WHOLE_MAX) + 1) << 1,
        Some(Number::Fraction { digits, exponent }) => {
            let exponent = u64::try_from(exponent - EXPONENT_MIN).unwrap_or(0);
            (u64::from(digits) * EXPONENTS + exponent) << 1 | 1
        }
    };
    put_number(code, out);
}

fn split_value(bytes: &[u8]) -> Option<(Option<Number>, &[u8])> {
    let (code, rest) = split_number(bytes)?;
    let number = match (code & 1, code >> 1) {
        (0, 0) => return Some((None, rest)),
        (0, whole) => Number::Whole(whole - 1),
        (_, fraction) => {
            let digits = u32::try_from(fraction / EXPONENTS).ok()?;
            let exponent = EXPONENT_MIN + i8::try_from(fraction % EXPONENTS).ok()?;
            let sound = (DIGITS_MIN..=DIGITS_MAX).contains(&digits) && exponent <= EXPONENT_MAX;
            sound.then_some(Number::Fraction { digits, exponent })?
        }
    };
    Some((Some(number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    type Found<'a> = Vec<(&'a [u8], Vec<(&'static str, Number)>)>;

    fn found(payload: &[u8]) -> Option<(Object, Found<'_>)> {
        let sample = decode(payload)?;
        let instances = sample.instances().map(|instance| (instance.name, instance.values().collect()));
        Some((sample.object, instances.collect()))
    }

    #[test]
    fn what_was_sampled_comes_back_with_only_the_counters_asked_for() {
        let mut writer = Writer::default();
        writer.begin(Object::PhysicalDisk, 0b1011);
        assert_eq!(writer.payload(), None);
        writer.add(b"sda", &[Some(8192.0), Some(0.012_345_6), Some(7.0), None]);
        writer.add(b"a\xff\0", &[Some(1e15), None, None, Some(0.0)]);
        let whole = Number::Whole;
        let read = Number::Fraction { digits: 123_456, exponent: -2 };
        let expected = vec![
            (&b"sda"[..], vec![("Physical Disk Bytes/sec", whole(8192)), ("Avg. Disk sec/Read", read)]),
            (
                &b"a\xff\0"[..],
                vec![("Physical Disk Bytes/sec", whole(1_000_000_000_000_000)), ("Avg. Disk sec/Transfer", whole(0))],
            ),
        ];
        assert_eq!(found(writer.payload().unwrap()), Some((Object::PhysicalDisk, expected)));
    }

    #[test]
    fn an_instance_without_a_counter_is_an_instance() {
        let mut writer = Writer::default();
        writer.begin(Object::Memory, 0);
        writer.add(b"Memory", &[Some(1.0); 11]);
        assert_eq!(found(writer.payload().unwrap()), Some((Object::Memory, vec![(&b"Memory"[..], vec![])])));
    }

    #[test]
    fn a_value_that_cannot_be_sent_is_absent_and_any_other_comes_back() {
        for value in [0.0, 0.5, 1.0, 62.0, 63.0, 99_999.9, 1e15 + 1.0, 1e-16, 33.333_33, 0.000_123_456] {
            let mut bytes = Vec::new();
            put_value(Some(value), &mut bytes);
            assert_eq!(split_value(&bytes), Some((Number::of(value), &[][..])));
            assert!(bytes.len() <= 4 || value > 1e6, "{value} takes {} bytes", bytes.len());
        }
        for value in [Some(f64::NAN), Some(f64::INFINITY), Some(-1.0), None] {
            let mut bytes = Vec::new();
            put_value(value, &mut bytes);
            assert_eq!((split_value(&bytes), bytes.len()), (Some((None, &[][..])), 1));
        }
        let mut bytes = Vec::new();
        put_value(Some(1e300), &mut bytes);
        assert_eq!(split_value(&bytes), Some((Some(Number::Whole(WHOLE_MAX)), &[][..])));
    }

    #[test]
    fn a_small_whole_value_takes_a_byte() {
        let mut writer = Writer::default();
        writer.begin(Object::Processor, 0xff);
        writer.add(b"_Total", &[Some(62.0); 8]);
        assert_eq!(writer.payload().unwrap().len(), HEAD_BYTES + 1 + 6 + 8);
    }

    #[test]
    fn a_full_payload_says_so_before_it_is_too_large() {
        for name_bytes in [0, 1, 15, 4096, 9000] {
            let mut writer = Writer::default();
            writer.begin(Object::LogicalDisk, 0x7ff);
            let mut count = 0;
            while writer.has_room() {
                writer.add(&vec![b'x'; name_bytes], &[Some(0.1); 11]);
                count += 1;
            }
            let payload = writer.payload().unwrap();
            assert!(payload.len() <= PAYLOAD_BYTES_MAX && count <= PERF_INSTANCES_MAX && count > 10);
            assert_eq!(found(payload).unwrap().1.len(), count);
        }
    }

    #[test]
    fn a_payload_that_is_none_is_known() {
        let mut writer = Writer::default();
        writer.begin(Object::Network, 0b11);
        writer.add(b"eth0", &[Some(0.25), Some(1000.0)]);
        let good = writer.payload().unwrap();
        (0..good.len()).for_each(|bytes| assert_eq!(decode(&good[..bytes]), None, "{bytes} bytes"));
        assert!(decode(good).is_some());
        for (at, byte) in [(0, 7), (2, 1), (3, 0xff), (3 + 1 + 4 + 3, 0x7f)] {
            let mut bad = Vec::from(good);
            bad[at] = byte;
            assert_eq!(decode(&bad), None, "byte {at} is {byte}");
        }
        let many = [&[Object::Memory as u8, 0, 0][..], &vec![0; PERF_INSTANCES_MAX + 1]].concat();
        assert_eq!(decode(&many), None);
        assert!(decode(&many[..many.len() - 1]).is_some());
    }
}
