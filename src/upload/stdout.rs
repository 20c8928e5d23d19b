//! `out_stdout`: each request body as one line of JSON, for trying out and for pipes.

use super::body::Body;
use super::{Destination, Outcome, Stream, Verdict};
use alloc::format;
use alloc::string::String;
use std::io::Write;

/// Writes bodies, uncompressed, to a writer.
pub struct Stdout<W: Write> {
    body: Body,
    writer: W,
    /// The writer failed inside a line: the next starts on a line of its own.
    torn: bool,
}

impl<W: Write> Stdout<W> {
    /// Lines go to `writer`, items are made by `body`, which must not compress.
    pub fn new(writer: W, body: Body) -> Self {
        Stdout { body, writer, torn: false }
    }
}

impl<W: Write> Destination for Stdout<W> {
    fn begin(&mut self, stream: Stream, _attempt: u32) {
        self.body.begin(stream);
    }

    fn add(&mut self, received_us: u64, payload: &[u8]) {
        self.body.add(received_us, payload);
    }

    /// A writer that fails is tried again later, as an endpoint that cannot be reached: a reader may come back.
    fn deliver(&mut self) -> Outcome {
        let Some(line) = self.body.finish() else {
            return self.outcome(Verdict::Refused, String::from("body above its bound"));
        };
        let line_end: &[u8] = if self.torn { b"\n" } else { b"" };
        let written = [line_end, line, b"\n"].into_iter().try_for_each(|piece| self.writer.write_all(piece));
        let written = written.and_then(|()| self.writer.flush());
        self.torn = written.is_err();
        match written {
            Ok(()) => self.outcome(Verdict::Sent, String::new()),
            Err(error) => self.outcome(Verdict::Later, format!("standard output: {error}")),
        }
    }
}

impl<W: Write> Stdout<W> {
    fn outcome(&self, verdict: Verdict, reason: String) -> Outcome {
        Outcome {
            records: self.body.records(),
            body_bytes: self.body.body_bytes(),
            wire_bytes: self.body.body_bytes() + 1,
            ..Outcome::new(verdict, reason)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use std::io;

    /// Takes so many bytes, then fails once.
    struct Torn {
        taken: Vec<u8>,
        fails_after_bytes: Option<usize>,
    }

    impl Write for Torn {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.fails_after_bytes.map_or(bytes.len(), |bytes_max| bytes_max - self.taken.len());
            if room == 0 {
                self.fails_after_bytes = None;
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let count = room.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn deliver(stdout: &mut Stdout<Torn>) -> Outcome {
        stdout.begin(Stream::Operation, 0);
        stdout.add(0, b"{}");
        stdout.deliver()
    }

    #[test]
    fn a_body_is_a_line_and_after_a_torn_line_the_next_stands_alone() {
        const LINE: &str = "{\"DataType\":\"OPERATION_BLOB\",\"IPName\":\"LogManagement\",\"DataItems\":[{}]}\n";
        let writer = Torn { taken: Vec::new(), fails_after_bytes: Some(LINE.len() + 9) };
        let mut stdout = Stdout::new(writer, Body::new(false));
        let first = deliver(&mut stdout);
        assert_eq!((first.verdict, first.records, first.wire_bytes), (Verdict::Sent, 1, LINE.len() as u64));
        let torn = deliver(&mut stdout);
        assert_eq!(torn.verdict, Verdict::Later);
        assert!(torn.reason.contains("standard output"), "{}", torn.reason);
        assert_eq!(deliver(&mut stdout).verdict, Verdict::Sent);
        let expected = [LINE, &LINE[..9], "\n", LINE].concat();
        assert_eq!(String::from_utf8(stdout.writer.taken).unwrap(), expected);
    }
}
