//! A stream gives the same messages however it is cut into reads, within the bounds that the reader is promised; and messages
//! that are sent with their length come back. Input: limit, pieces, then the stream.

use crate::input::Input;
use crate::mutate::Random;
use omsd::intake::framing::{Framing, Split, input_bytes_max, last_message, next_message};
use omsd::syslog::without_line_end;

/// What streams are made of.
pub const WORDS: &[&[u8]] = &[
    b"<13>",
    b"7 <13>one",
    b"16 <13>Jul  2 a: bc",
    b"9999999 ",
    b"10000000 <",
    b"0 ",
    b"01 <",
    b"1 <",
    b"2 <\n",
    b"3 <\r\n",
    b"\n",
    b"\r\n",
    b"\0",
    b"\n\n",
    b" ",
    b"12 monkeys\n",
    b"2026-11-22 x\n",
    b"999 <",
    b"<",
    b"65536 <",
    b"18446744073709551616 <",
];

/// See the head of this file.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = match input.byte() {
        small @ 0..200 => usize::from(small) % 40 + 1,
        other => usize::from(other - 199) * 64,
    };
    let piece_bytes_max = usize::from(input.byte()) + 1;
    let stream = input.rest();
    let whole = received(stream, limit, || usize::MAX);
    let mut random = Random::new(piece_bytes_max as u64);
    assert_eq!(received(stream, limit, || random.below(piece_bytes_max) + 1), whole, "cut at random");
    assert_eq!(received(stream, limit, || 1), whole, "byte by byte");
    assert!(whole.iter().map(|message| message.text.len()).sum::<usize>() <= stream.len());
    check_counted(stream, limit);
}

#[derive(Debug, PartialEq, Eq)]
struct Message {
    text: Vec<u8>,
    cut: bool,
    malformed: bool,
}

/// What a reader gets that hands over whatever has come, and keeps what is "not yet".
fn received(mut rest: &[u8], limit: usize, mut piece_bytes: impl FnMut() -> usize) -> Vec<Message> {
    let (mut framing, mut held, mut messages) = (Framing::default(), Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(piece_bytes().min(rest.len()));
        rest = after;
        held.extend_from_slice(piece);
        let mut used = 0;
        while let Some(split) = next_message(&mut framing, &held[used..], limit) {
            assert!((1..=held.len() - used).contains(&split.used), "a step forward");
            used += split.used;
            note(&split, limit, &mut messages);
        }
        held.drain(..used);
        assert!(held.len() < input_bytes_max(limit), "no more is held than promised");
    }
    if let Some(split) = last_message(&framing, &held) {
        assert_eq!(split.used, held.len());
        note(&split, held.len().max(1), &mut messages);
    }
    messages
}

fn note(split: &Split<'_>, limit: usize, messages: &mut Vec<Message>) {
    match split.message {
        Some(text) => {
            assert!(!text.is_empty() && text.len() <= limit, "{} bytes, limit {limit}", text.len());
            messages.push(Message { text: text.to_vec(), cut: split.cut, malformed: split.malformed });
        }
        // A malformed stretch of nothing but a line end is no message either.
        None => assert!(!split.cut || split.malformed || split.used > 0),
    }
}

/// The lines of the stream, each sent with its length.
fn check_counted(stream: &[u8], limit: usize) {
    let lines = stream.split(|&byte| byte == b'\n').take(100).map(|line| [b"<", line].concat());
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    for line in lines {
        sent.extend_from_slice(line.len().to_string().as_bytes());
        sent.push(b' ');
        sent.extend_from_slice(&line);
        let text = without_line_end(&line[..line.len().min(limit)]).to_vec();
        expected.push(Message { text, cut: line.len() > limit, malformed: false });
    }
    assert_eq!(received(&sent, limit, || 7), expected, "octet counting");
}
