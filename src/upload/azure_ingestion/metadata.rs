//! A GET by plain HTTP from a metadata service: of the machine itself or of its link, never of anything further, never by a proxy. The
//! HTTP library of the other requests speaks TLS only, which is as it should be.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::config::Nearby;
use crate::limits::{ANSWER_BODY_BYTES_MAX, ANSWER_HEADER_BYTES_MAX, METADATA_MS_MAX};
use crate::sys;
use crate::upload::https::tunnel_status;
use crate::upload::oms::USER_AGENT;

/// What it answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `WWW-Authenticate`
    pub challenge: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Asks with this query and, if there is one, the proof that a challenge was for. The error says what happened.
pub fn get(place: &Nearby, query: &str, proof: Option<&str>) -> Result<Answer, String> {
    let deadline = Instant::now() + Duration::from_millis(METADATA_MS_MAX);
    let mut request = format!(
        "GET {}?{query} HTTP/1.1\r\nHost: {}\r\nMetadata: true\r\nUser-Agent: {USER_AGENT}\r\nConnection: close\r\n",
        place.path, place.address
    );
    if let Some(proof) = proof {
        request.push_str(&format!("Authorization: Basic {proof}\r\n"));
    }
    request.push_str("\r\n");
    let answer = exchange(place.address, request.as_bytes(), deadline);
    sys::wipe_string(&mut request);
    let bytes = answer.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => error.to_string().split(" (os error").next().unwrap_or_default().to_owned(),
    })?;
    parse(&bytes).ok_or_else(|| "what came back is no HTTP answer".to_owned())
}

/// Sends the request and reads to the end of the connection, or of what is looked at.
fn exchange(address: SocketAddr, request: &[u8], deadline: Instant) -> io::Result<Vec<u8>> {
    let left = || {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::Error::from(io::ErrorKind::TimedOut)) } else { Ok(left) }
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(request)?;
    let mut bytes = Vec::with_capacity(ANSWER_HEADER_BYTES_MAX + ANSWER_BODY_BYTES_MAX);
    let mut part = [0; 2048];
    while bytes.len() < ANSWER_HEADER_BYTES_MAX + ANSWER_BODY_BYTES_MAX && !is_whole(&bytes) {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Whether all is there that a length announced: some services leave the connection open.
fn is_whole(bytes: &[u8]) -> bool {
    let Some((head, body)) = split_head(bytes) else { return false };
    let length = header(head, "content-length").and_then(|length| length.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

fn split_head(bytes: &[u8]) -> Option<(&str, &[u8])> {
    const END: &[u8; 4] = b"\r\n\r\n";
    let end = bytes.windows(END.len()).position(|window| window == END)?;
    Some((core::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + END.len()..]))
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut pairs = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    pairs.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
}

/// Reads an answer. Source: RFC 9112.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let (head, body) = split_head(bytes)?;
    let status = tunnel_status(head.as_bytes())?;
    let chunked = header(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let length = header(head, "content-length").and_then(|length| length.parse().ok());
    let body = match (chunked, length) {
        (true, _) => without_chunks(body)?,
        (false, Some(length)) => Vec::from(body.get(..length)?),
        (false, None) => Vec::from(body),
    };
    Some(Answer { status, challenge: header(head, "www-authenticate").map(str::to_string), body })
}

/// A body in chunks as one; `None` if its end is missing. Source: RFC 9112 section 7.1.
fn without_chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = core::str::from_utf8(&bytes[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok().filter(|size| *size <= ANSWER_BODY_BYTES_MAX)?;
        if size == 0 {
            return Some(body);
        }
        let behind = &bytes[end + 2..];
        body.extend_from_slice(behind.get(..size)?);
        bytes = behind.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &str, expected: Option<(u16, Option<&str>, &str)>) {
        let found = parse(answer.as_bytes());
        let found =
            found.as_ref().map(|it| (it.status, it.challenge.as_deref(), core::str::from_utf8(&it.body).unwrap()));
        assert_eq!(found, expected, "{answer}");
    }

    #[test]
    fn an_answer_is_read_with_a_length_in_chunks_or_to_its_end() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}more", Some((200, None, "{}")));
        check("HTTP/1.0 500 No\r\n\r\nrest", Some((500, None, "rest")));
        check(
            "HTTP/1.1 401 Unauthorized\r\nWww-Authenticate: Basic realm=/x/y.key\r\n\r\n",
            Some((401, Some("Basic realm=/x/y.key"), "")),
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\n{\"a\r\n2\r\n\"}\r\n0\r\n\r\n",
            Some((200, None, "{\"a\"}")),
        );
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}", None);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}", None);
        check("HTTP/1.1 200 OK\r\nContent-Length: 2", None);
        check("nonsense\r\n\r\n", None);
    }
}
