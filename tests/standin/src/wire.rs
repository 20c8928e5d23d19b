//! Putting an answer on the wire, in whatever manner.

use crate::answer::{Answer, Manner};
use crate::http::Wire;
use crate::topology::Fault;
use crate::{Seen, clock};
use std::io::{self, Read, Write};
use std::time::Duration;

/// An answer with its body.
pub struct Reply {
    pub status: u16,
    answer: Answer,
    content_type: &'static str,
    body: String,
}

impl Reply {
    /// The answer as scripted, with this body where its manner brings none of its own.
    pub fn new(answer: &Answer, content_type: &'static str, body: String) -> Self {
        let status = match answer.manner {
            Manner::Redirect(_) if answer.status < 300 => 302,
            Manner::Gzip if answer.status < 400 => 502,
            _ => answer.status,
        };
        let body = match &answer.body {
            Some(said) => said.clone(),
            None if (200..300).contains(&status) && status != 204 => body,
            None => error_body(status, reason(status)),
        };
        Self { status, answer: answer.clone(), content_type, body }
    }

    /// What a request gets that departs from the protocol.
    pub fn fault(fault: &Fault) -> Self {
        let answer = Answer::status(fault.status);
        Self {
            status: fault.status,
            answer,
            content_type: "application/xml",
            body: error_body(fault.status, &fault.reason),
        }
    }

    /// What a request gets that today's Azure refuses: its JSON.
    pub fn refusal(status: u16, json: String) -> Self {
        Self { status, answer: Answer::status(status), content_type: "application/json", body: json }
    }

    /// Whether the connection is of use afterwards.
    pub fn keeps_alive(&self) -> bool {
        matches!(
            self.answer.manner,
            Manner::Plain
                | Manner::ContinueFirst
                | Manner::Chunked
                | Manner::Redirect(_)
                | Manner::Gzip
                | Manner::Large(_)
                | Manner::Trickle
        )
    }

    /// The plain answer.
    pub fn bytes(&self, now_s: i64) -> Vec<u8> {
        let mut bytes = self.head(now_s);
        if self.status == 204 {
            bytes.extend_from_slice(b"\r\n");
        } else {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n{}", self.body.len(), self.body).as_bytes());
        }
        bytes
    }

    fn head(&self, now_s: i64) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nDate: {}\r\nServer: omsd-standin\r\nContent-Type: {}\r\n",
            self.status,
            reason(self.status),
            clock::http_date(now_s),
            self.content_type
        );
        if let Some(value) = &self.answer.retry_after {
            head.push_str(&format!("Retry-After: {value}\r\n"));
        }
        if let Manner::Redirect(location) = &self.answer.manner {
            head.push_str(&format!("Location: {location}\r\n"));
        }
        head.into_bytes()
    }
}

/// Sends an answer as its manner says. Fails when the peer has gone, or when the manner is to leave.
pub fn send<S: Read + Write>(wire: &mut Wire<S>, reply: &Reply, now_s: i64) -> io::Result<()> {
    std::thread::sleep(reply.answer.delay);
    let plain = reply.bytes(now_s);
    match &reply.answer.manner {
        Manner::Plain | Manner::Early | Manner::Redirect(_) => wire.write(&plain),
        Manner::Reset | Manner::Close { .. } => Err(io::ErrorKind::ConnectionAborted.into()),
        Manner::Silence { .. } => until_the_peer_leaves(wire),
        Manner::Trickle => plain.iter().try_for_each(|byte| {
            std::thread::sleep(Duration::from_secs(1));
            wire.write(&[*byte])
        }),
        Manner::EndlessHeader => {
            wire.write(&reply.head(now_s))?;
            loop {
                wire.write(&b"X-More: and more, and more, and more, and more, and more\r\n".repeat(100))?;
            }
        }
        Manner::ContinueFirst => wire.write(&[&b"HTTP/1.1 100 Continue\r\n\r\n"[..], &plain].concat()),
        Manner::Chunked => {
            let mut bytes = reply.head(now_s);
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\nTrailer: X-After\r\n\r\n");
            for part in reply.body.as_bytes().chunks(100) {
                bytes.extend_from_slice(format!("{:x};name=value\r\n", part.len()).as_bytes());
                bytes.extend_from_slice(part);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\nX-After: the body\r\n\r\n");
            wire.write(&bytes)
        }
        Manner::Http10 => {
            let mut bytes = reply.head(now_s);
            bytes[..8].copy_from_slice(b"HTTP/1.0");
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(reply.body.as_bytes());
            wire.write(&bytes)
        }
        Manner::Gzip => {
            let body = gzip(reply.body.as_bytes());
            let mut bytes = reply.head(now_s);
            bytes.extend_from_slice(
                format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
            );
            bytes.extend_from_slice(&body);
            wire.write(&bytes)
        }
        Manner::Large(count) => {
            let mut bytes = reply.head(now_s);
            bytes.extend_from_slice(format!("Content-Length: {count}\r\n\r\n").as_bytes());
            wire.write(&bytes)?;
            let part = vec![b'x'; 64 * 1024];
            let mut left = *count;
            while left > 0 {
                let step = left.min(part.len());
                wire.write(&part[..step])?;
                left -= step;
            }
            Ok(())
        }
        Manner::Garbage => {
            wire.write(b"\x00\x01\x02 this is not HTTP \xff\xfe\r\n\r\n")?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
    }
}

/// The sums as one JSON object.
pub fn counts_json(seen: &Seen) -> String {
    let counts = seen.counts;
    format!(
        "{{\"connections\":{},\"handshakes_failed\":{},\"requests\":{},\"taken\":{},\"records\":{},\"body_bytes\":{},\
         \"wire_bytes\":{},\"unique\":{},\"duplicates\":{},\"complaints\":{},\"agents\":{}}}\n",
        counts.connections,
        counts.handshakes_failed,
        counts.requests,
        counts.taken,
        counts.records,
        counts.body_bytes,
        counts.wire_bytes,
        seen.numbers.unique(),
        seen.numbers.duplicates(),
        seen.complaints.len(),
        seen.agents.len()
    )
}

fn until_the_peer_leaves<S: Read + Write>(wire: &mut Wire<S>) -> io::Result<()> {
    let mut bytes = [0; 1024];
    while wire.stream().read(&mut bytes)? > 0 {}
    Err(io::ErrorKind::ConnectionAborted.into())
}

fn error_body(status: u16, text: &str) -> String {
    match status {
        204 => String::new(),
        _ => format!("<Error><Code>{status}</Code><Reason>{text}</Reason></Error>"),
    }
}

/// A gzip file of one stored block. Source: RFC 1952, RFC 1951 3.2.4.
fn gzip(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("error pages of ours are short");
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&(!length).to_le_bytes());
    bytes.extend_from_slice(body);
    let crc = body.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    bytes.extend_from_slice(&(!crc).to_le_bytes());
    bytes.extend_from_slice(&u32::from(length).to_le_bytes());
    bytes
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        302 => "Found",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
