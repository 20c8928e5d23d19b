//! As much of HTTP/1.1 as a service needs that gets POSTs and wants to answer them badly.

use std::io::{self, Read, Write};

/// Longest header taken, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Largest body taken, in bytes: the service's 30 MB.
pub const BODY_BYTES_MAX: usize = 30_000_000;

/// The header of a request.
#[derive(Debug, Clone)]
pub struct Head {
    /// `POST`
    pub method: String,
    /// What follows it.
    pub path: String,
    /// `HTTP/1.1`
    pub version: String,
    /// Names in lower case, values trimmed, in the order they came.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The value of a header that stands there exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// Whether the connection stays open afterwards.
    pub fn keeps_alive(&self) -> bool {
        let connection = self.header("connection").unwrap_or("").to_ascii_lowercase();
        self.version == "HTTP/1.1" && connection != "close"
    }
}

/// A connection with what has been read from it and not yet used.
pub struct Wire<S> {
    stream: S,
    held: Vec<u8>,
}

impl<S: Read + Write> Wire<S> {
    /// A wire on which nothing has been read.
    pub fn new(stream: S) -> Self {
        Self { stream, held: Vec::new() }
    }

    /// The stream below.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The next header; `None` when the peer has gone or rests between requests for too long.
    pub fn read_head(&mut self) -> io::Result<Option<Head>> {
        let end = loop {
            if let Some(at) = memchr::memmem::find(&self.held, b"\r\n\r\n") {
                break at;
            }
            if self.held.len() > HEAD_BYTES_MAX {
                return Err(bad("the header has no end"));
            }
            if self.fill()? == 0 {
                return if self.held.is_empty() { Ok(None) } else { Err(bad("the header is cut off")) };
            }
        };
        let head = parse_head(&self.held[..end])?;
        self.held.drain(..end + 4);
        Ok(Some(head))
    }

    /// Reads the body that the header announces into `body`.
    pub fn read_body(&mut self, head: &Head, body: &mut Vec<u8>) -> io::Result<()> {
        body.clear();
        if head.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if head.header("transfer-encoding").is_some() {
            return self.read_chunked(body);
        }
        let Some(length) = head.header("content-length") else { return Ok(()) };
        let length: usize = length.parse().map_err(|_| bad("Content-Length is no number"))?;
        if length > BODY_BYTES_MAX {
            return Err(bad("the body is larger than the service takes"));
        }
        let held = length.min(self.held.len());
        body.extend(self.held.drain(..held));
        let start = body.len();
        body.resize(length, 0);
        self.stream.read_exact(&mut body[start..])
    }

    fn read_chunked(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let line = self.read_line()?;
            let digits = line.split(';').next().unwrap_or("").trim();
            let length = usize::from_str_radix(digits, 16).map_err(|_| bad("a chunk without a length"))?;
            if body.len() + length > BODY_BYTES_MAX {
                return Err(bad("the body is larger than the service takes"));
            }
            while self.held.len() < length + 2 {
                self.fill_or_fail()?;
            }
            body.extend(self.held.drain(..length));
            if self.held.drain(..2).ne(*b"\r\n") {
                return Err(bad("a chunk does not end where it says"));
            }
            if length == 0 {
                return Ok(());
            }
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.held, b"\r\n") {
                let line = String::from_utf8_lossy(&self.held[..at]).into_owned();
                self.held.drain(..at + 2);
                return Ok(line);
            }
            self.fill_or_fail()?;
        }
    }

    fn fill_or_fail(&mut self) -> io::Result<()> {
        if self.fill()? == 0 { Err(bad("the body is cut off")) } else { Ok(()) }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 16 * 1024];
        let count = match self.stream.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0, // gone without TLS's good-bye
            other => other?,
        };
        self.held.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Writes and flushes.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }
}

fn parse_head(bytes: &[u8]) -> io::Result<Head> {
    let text = std::str::from_utf8(bytes).map_err(|_| bad("the header is not UTF-8"))?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or("").split(' ').map(str::to_owned);
    let (Some(method), Some(path), Some(version), None) = (first.next(), first.next(), first.next(), first.next())
    else {
        return Err(bad("the request line has not three parts"));
    };
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Head { method, path, version, headers })
}

fn bad(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes(io::Cursor<Vec<u8>>);
    impl Read for Bytes {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let one = buffer.len().min(1); // one byte at a time: the worst split
            self.0.read(&mut buffer[..one])
        }
    }
    impl Write for Bytes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[track_caller]
    fn check(request: &str, body: &str) {
        let mut wire = Wire::new(Bytes(io::Cursor::new(request.repeat(2).into_bytes())));
        for _ in 0..2 {
            let head = wire.read_head().expect("a header").expect("not the end");
            assert_eq!((head.method.as_str(), head.path.as_str()), ("POST", "/x"));
            let mut bytes = Vec::new();
            wire.read_body(&head, &mut bytes).expect("a body");
            assert_eq!(bytes, body.as_bytes());
        }
        assert!(wire.read_head().expect("a clean end").is_none());
    }

    #[test]
    fn two_requests_on_one_connection_are_told_apart() {
        check("POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "hello");
        check("POST /x HTTP/1.1\r\n\r\n", "");
        check("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello");
    }

    #[test]
    fn a_header_given_twice_is_no_header() {
        let head = parse_head(b"POST /x HTTP/1.1\r\nA: 1\r\na: 2\r\nB: 3").expect("a header");
        assert_eq!((head.header("a"), head.header("b")), (None, Some("3")));
    }
}
