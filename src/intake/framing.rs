//! A stream of bytes to messages: octet counting or newlines (RFC 6587), told apart by each connection's first bytes.
//!
//! | framing | a frame | over the limit | out of step |
//! |---|---|---|---|
//! | octet counting | `LENGTH SP MESSAGE` | the rest of LENGTH is skipped | read up to the next newline, counted |
//! | non-transparent | `MESSAGE LF` | the rest up to the newline is skipped | cannot be |

use crate::syslog::without_line_end;

/// Digits of a length that we believe: ten million bytes and more are no message.
const LENGTH_DIGITS_MAX: usize = 7;

/// How one connection frames its messages. Source: RFC 6587, 3.4.1 and 3.4.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Method {
    /// Nothing seen that tells.
    #[default]
    Unknown,
    OctetCounting,
    NonTransparent,
}

/// What is skipped before the next frame: the rest of one that was too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Skip {
    #[default]
    Nothing,
    Bytes(usize),
    Line,
}

/// The state of one connection's framing between reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Framing {
    method: Method,
    skip: Skip,
}

/// One step through the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Split<'a> {
    /// The message, without its framing; `None` for bytes that were only skipped. Never empty.
    pub message: Option<&'a [u8]>,
    /// Bytes of the input that are done with, at least 1.
    pub used: usize,
    /// The message was longer than the limit.
    pub cut: bool,
    /// The connection was out of step here: a length was expected and something else came.
    pub malformed: bool,
}

impl Split<'_> {
    fn skipped(used: usize) -> Self {
        Split { message: None, used, cut: false, malformed: false }
    }
}

/// Splits one message off the front of a stream, at most `limit` bytes of it. `None` means "not yet": read more and call
/// again with the same front. That never takes more input than `limit` and a length: see [`input_bytes_max`].
pub fn next_message<'a>(framing: &mut Framing, input: &'a [u8], limit: usize) -> Option<Split<'a>> {
    if input.is_empty() {
        return None;
    }
    match framing.skip {
        Skip::Nothing => {}
        Skip::Bytes(count) => return Some(skip_bytes(framing, input, count)),
        Skip::Line => return Some(skip_line(framing, input)),
    }
    // Some senders of counted frames add a newline, some of lines an empty one: neither is a message.
    if matches!(input[0], b'\n' | b'\r' | 0) {
        return Some(Split::skipped(1));
    }
    if framing.method == Method::Unknown {
        framing.method = tell(input)?;
    }
    match framing.method {
        Method::OctetCounting => counted(framing, input, limit),
        _ => line(framing, input, limit, false),
    }
}

/// Bytes of input with which [`next_message`] always makes a step.
pub const fn input_bytes_max(limit: usize) -> usize {
    limit + LENGTH_DIGITS_MAX + 2
}

/// What the end of the stream leaves: the last line without its newline, or a counted frame that broke off (`cut`).
pub fn last_message<'a>(framing: &Framing, input: &'a [u8]) -> Option<Split<'a>> {
    if framing.skip != Skip::Nothing {
        return None;
    }
    let (message, cut) = match (framing.method, length(input)) {
        (Method::OctetCounting, Length::Is { digits, .. }) => (&input[digits + 1..], true),
        (Method::OctetCounting, Length::NotYet) => (&input[input.len()..], true),
        _ => (without_line_end(input), false),
    };
    (!message.is_empty()).then_some(Split { message: Some(message), used: input.len(), cut, malformed: false })
}

/// A length, a space and a `<` are octet counting; a line may well begin with a digit, but not so.
fn tell(input: &[u8]) -> Option<Method> {
    match length(input) {
        Length::Is { digits, .. } => match input.get(digits + 1) {
            Some(b'<') => Some(Method::OctetCounting),
            Some(_) => Some(Method::NonTransparent),
            None => None,
        },
        Length::NotYet => None,
        Length::Malformed => Some(Method::NonTransparent),
    }
}

enum Length {
    Is { bytes: usize, digits: usize },
    NotYet,
    Malformed,
}

/// The length that a counted frame begins with: no leading zero, one space behind it.
fn length(input: &[u8]) -> Length {
    let digits = input.iter().take(LENGTH_DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
    if digits > LENGTH_DIGITS_MAX || input.first().is_none_or(|&byte| byte == b'0') {
        return Length::Malformed;
    }
    match input.get(digits) {
        None => Length::NotYet,
        Some(b' ') if digits > 0 => {
            let bytes = input[..digits].iter().fold(0, |sum, &digit| sum * 10 + usize::from(digit - b'0'));
            Length::Is { bytes, digits }
        }
        Some(_) => Length::Malformed,
    }
}

fn counted<'a>(framing: &mut Framing, input: &'a [u8], limit: usize) -> Option<Split<'a>> {
    let (bytes, start) = match length(input) {
        Length::Is { bytes, digits } => (bytes, digits + 1),
        Length::NotYet => return None,
        Length::Malformed => return line(framing, input, limit, true),
    };
    let kept = bytes.min(limit);
    let message = input.get(start..start + kept)?;
    let cut = bytes > limit;
    if cut {
        framing.skip = Skip::Bytes(bytes - limit);
    }
    Some(Split { message: Some(without_line_end(message)), used: start + kept, cut, malformed: false }.or_skipped())
}

fn line<'a>(framing: &mut Framing, input: &'a [u8], limit: usize, malformed: bool) -> Option<Split<'a>> {
    let window = &input[..input.len().min(limit + 1)];
    if let Some(end) = memchr::memchr(b'\n', window) {
        let message = without_line_end(&input[..end]);
        return Some(Split { message: Some(message), used: end + 1, cut: false, malformed }.or_skipped());
    }
    if window.len() <= limit {
        return None;
    }
    framing.skip = Skip::Line;
    Some(Split { message: Some(&input[..limit]), used: limit, cut: true, malformed })
}

impl Split<'_> {
    /// A frame of nothing but a line end is no message.
    fn or_skipped(self) -> Self {
        if self.message.is_some_and(<[u8]>::is_empty) { Split { message: None, ..self } } else { self }
    }
}

fn skip_bytes<'a>(framing: &mut Framing, input: &[u8], count: usize) -> Split<'a> {
    let used = count.min(input.len());
    framing.skip = if used == count { Skip::Nothing } else { Skip::Bytes(count - used) };
    Split::skipped(used)
}

fn skip_line<'a>(framing: &mut Framing, input: &[u8]) -> Split<'a> {
    match memchr::memchr(b'\n', input) {
        Some(end) => {
            framing.skip = Skip::Nothing;
            Split::skipped(end + 1)
        }
        None => Split::skipped(input.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec::Vec;

    const LIMIT: usize = 16;

    /// Everything that a stream gives when it arrives in pieces of these sizes, cut messages marked with `~`, frames out
    /// of step with `!`.
    fn split(stream: &[u8], mut pieces: impl FnMut() -> usize) -> Vec<String> {
        let (mut framing, mut held, mut messages) = (Framing::default(), Vec::new(), Vec::new());
        let mut rest = stream;
        let mut note = |split: &Split<'_>| {
            if let Some(message) = split.message {
                assert!(!message.is_empty() && message.len() <= LIMIT);
                let marks = (if split.malformed { "!" } else { "" }, if split.cut { "~" } else { "" });
                messages.push(alloc::format!("{}{}{}", marks.0, String::from_utf8_lossy(message), marks.1));
            }
        };
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(pieces().clamp(1, rest.len()));
            rest = after;
            held.extend_from_slice(piece);
            let mut used = 0;
            while let Some(step) = next_message(&mut framing, &held[used..], LIMIT) {
                assert!(step.used > 0);
                note(&step);
                used += step.used;
            }
            held.drain(..used);
            assert!(held.len() < input_bytes_max(LIMIT));
        }
        if let Some(step) = last_message(&framing, &held) {
            note(&step);
        }
        messages
    }

    #[track_caller]
    fn check(stream: &str, expected: &[&str]) {
        assert_eq!(split(stream.as_bytes(), || usize::MAX), expected, "{stream:?} whole");
        assert_eq!(split(stream.as_bytes(), || 1), expected, "{stream:?} byte by byte");
    }

    #[test]
    fn newlines_end_messages() {
        check("<13>one\n<13>two\r\n\n<13>three", &["<13>one", "<13>two", "<13>three"]);
    }

    #[test]
    fn lengths_count_messages_whatever_is_inside() {
        check("7 <13>one8 <13>t\nwo", &["<13>one", "<13>t\nwo"]);
    }

    #[test]
    fn a_newline_behind_a_counted_frame_is_no_message() {
        check("7 <13>one\n8 <13>two\n7 <13>six", &["<13>one", "<13>two", "<13>six"]);
    }

    #[test]
    fn a_line_that_begins_with_a_number_is_a_line() {
        check("12 monkeys\n2026-11-22 x\n", &["12 monkeys", "2026-11-22 x"]);
    }

    #[test]
    fn what_is_over_the_limit_is_cut_and_the_next_message_is_whole() {
        check("<13>0123456789abcdef\n<13>next\n", &["<13>0123456789ab~", "<13>next"]);
        check("20 <13>0123456789abcdef8 <13>next", &["<13>0123456789ab~", "<13>next"]);
        check("<13>0123456789ab\n<13>next\n", &["<13>0123456789ab", "<13>next"]);
    }

    #[test]
    fn out_of_step_is_counted_and_mended_at_the_next_line() {
        check("7 <13>onegarbage\n7 <13>two", &["<13>one", "!garbage", "<13>two"]);
        check("7 <13>one99999999999 x\n7 <13>two", &["<13>one", "!99999999999 x", "<13>two"]);
    }

    #[test]
    fn a_counted_frame_that_breaks_off_is_kept_and_marked() {
        check("9 <13>one", &["<13>one~"]);
        check("7 <13>one12", &["<13>one"]);
    }

    #[test]
    fn a_stream_split_anywhere_gives_the_same_messages() {
        let alphabet = b"<13>a 0179\n\r\0";
        let mut seed = 0x1234_5678_9abc_def1_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed % below as u64).unwrap_or(0)
        };
        for _ in 0..3000 {
            let stream: Vec<u8> = (0..random(80)).map(|_| alphabet[random(alphabet.len())]).collect();
            let whole = split(&stream, || usize::MAX);
            assert_eq!(split(&stream, || random(9) + 1), whole, "{:?}", String::from_utf8_lossy(&stream));
        }
    }
}
