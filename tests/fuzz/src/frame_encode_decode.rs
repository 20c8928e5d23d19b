//! What is encoded comes back, at its place and in its file only; a changed byte is noticed; bytes that are no frame or no
//! record are a value. Input: salt, offset, header, what to change, then sender and payload.

use crate::input::Input;
use omsd::limits::{FRAME_HEADER_BYTES, RECORD_HEADER_BYTES_MAX, STREAMS_MAX};
use omsd::record::{Record, Sender, encode};
use omsd::ring::frame::{Header, NUMBER_MAX, Seal, split};
use std::net::IpAddr;

/// What payloads are made of.
pub const WORDS: &[&[u8]] = &[
    b"\0<13>text",
    b"\x04\x7f\0\0\x01<13>text",
    b"\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01<13>text",
    b"\x04",
    b"\x06",
    b"\x05",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0\0\0\0\x40",
];

/// See the head of this file.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (salt, offset) = (input.number(), input.number());
    let stream = input.byte();
    let (flags, sequence, received_us) = (input.byte(), input.number(), input.number());
    let (at, mask) = (input.short(), input.byte());
    let payload = input.rest();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let header = Header { stream, flags, length, sequence, received_us };
    check_frame(&Seal::new(salt), offset, header, payload, (at, mask | u8::from(mask == 0)));
    check_other_file(salt, offset, header, payload);
    check_any_bytes(&Seal::new(salt), data);
    check_record(data);
}

fn check_frame(seal: &Seal, offset: u64, header: Header, payload: &[u8], (at, mask): (usize, u8)) {
    let mut bytes = vec![0xaa; 3];
    let (front, back) = payload.split_at(at % (payload.len() + 1));
    seal.encode(&mut bytes, offset, &header, &[front, back]);
    let padded = bytes.split_off(3);
    assert_eq!((bytes, padded.len()), (vec![0xaa; 3], header.padded_bytes()));
    let (frame, padding) = padded.split_at(header.frame_bytes());
    assert!(padding.iter().all(|&byte| byte == 0));
    let sane = usize::from(header.stream) < STREAMS_MAX && (1..NUMBER_MAX).contains(&header.sequence);
    assert_eq!(seal.peek(&padded), sane.then_some(header));
    assert!(seal.holds(offset, frame));
    assert!(!seal.holds(offset ^ 8, frame), "another place");
    assert_eq!(split(frame), Some((header, payload, &[][..])));
    assert_eq!(split(&frame[..frame.len() - 1]), None);

    let mut changed = frame.to_vec();
    let at = at % changed.len();
    changed[at] ^= mask;
    assert!(at < 2 || !seal.holds(offset, &changed), "byte {at} changed by {mask:#x}");
    let found = seal.peek(&changed).and_then(|header| changed.get(..header.frame_bytes()));
    assert!(!found.is_some_and(|frame| seal.holds(offset, frame)), "byte {at} changed by {mask:#x}");
}

fn check_other_file(salt: u64, offset: u64, header: Header, payload: &[u8]) {
    let mut bytes = Vec::new();
    Seal::new(salt).encode(&mut bytes, offset, &header, &[payload]);
    assert!(!Seal::new(salt ^ 1 << 40).holds(offset, &bytes[..header.frame_bytes()]), "another file");
}

fn check_any_bytes(seal: &Seal, data: &[u8]) {
    if let Some((header, payload, rest)) = split(data) {
        assert_eq!(FRAME_HEADER_BYTES + payload.len() + rest.len(), data.len());
        assert_eq!(header.length as usize, payload.len());
    }
    if let Some(header) = seal.peek(data) {
        assert!(header.frame_bytes() >= FRAME_HEADER_BYTES);
    }
    seal.holds(0, data);
}

fn check_record(data: &[u8]) {
    let mut buffer = [0; RECORD_HEADER_BYTES_MAX];
    if let Some(Record { sender, message }) = encode::decode(data) {
        assert_eq!([encode::header(sender, &mut buffer), message].concat(), data, "decoded and encoded");
    }
    let octets: [u8; 16] = std::array::from_fn(|index| data.get(index).copied().unwrap_or(0));
    let [a, b, c, d, ..] = octets;
    let v4 = Sender::Address(IpAddr::from([a, b, c, d]));
    for sender in [Sender::Local, v4, Sender::Address(IpAddr::from(octets))] {
        let payload = [encode::header(sender, &mut buffer), data].concat();
        assert_eq!(encode::decode(&payload), Some(Record { sender, message: data }), "encoded and decoded");
    }
}
