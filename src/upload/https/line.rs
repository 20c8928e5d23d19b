//! The line to the server: TCP, TLS to the proxy if it wants that, the proxy's tunnel, TLS; each step under one deadline.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use base64::Engine;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Stream, StreamOwned};
use ureq::http::Uri;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, LazyBuffers, NextTimeout, Transport};

use super::notes::Shared;
use super::{Hop, HttpsError, Notes, TlsFault};
use crate::limits::{ANSWER_HEADER_BYTES_MAX, CONNECT_TRY_MS, HTTP_BUFFER_BYTES, PROXY_TLS_MS_MAX, REQUEST_MS_MAX};
use crate::upload::proxy::{Proxy, goes_past};

/// The way to each server.
#[derive(Debug)]
pub(super) struct Route {
    /// The proxy, if one is set.
    pub proxy: Option<Proxy>,
    /// Hosts that are reached without it.
    pub no_proxy: String,
    /// What is seen on the way.
    pub notes: Shared,
}

impl Route {
    pub(super) fn proxy_to(&self, host: &str) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|_| !goes_past(&self.no_proxy, host))
    }
}

/// Host without brackets, and port, of an `https://` URL.
pub(super) fn target(uri: &Uri) -> Result<(&str, u16), HttpsError> {
    let host = uri.host().unwrap_or("").trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(HttpsError::BadRequest("the URL names no host".to_owned()));
    }
    Ok((host, uri.port_u16().unwrap_or(443)))
}

/// Opens a [`Line`].
pub(super) struct Connector {
    /// How to speak TLS with the server.
    pub tls: Arc<ClientConfig>,
    /// How to speak it with the proxy; there if the proxy wants it.
    pub proxy_tls: Option<Arc<ClientConfig>>,
    pub route: Arc<Route>,
}

impl ureq::unversioned::transport::Connector for Connector {
    type Out = Line;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Line>, ureq::Error> {
        let (host, port) = target(details.uri)?;
        let server = HostPort { host, port };
        self.route.notes.note(Notes::begin);
        let deadline = deadline(details.timeout);
        let mut socket = match self.route.proxy_to(host) {
            None => self.open(&details.addrs, &Hop { name: server.to_string(), is_proxy: false }, deadline)?,
            Some(proxy) => self.open_by(proxy, &details.addrs, deadline, &server)?,
        };
        let conn = shake_hands(self.tls.clone(), host, &mut socket, "the TLS handshake")?;
        self.route.notes.note_tls(&conn);
        let buffers = LazyBuffers::new(HTTP_BUFFER_BYTES, HTTP_BUFFER_BYTES);
        Ok(Some(Line { tls: StreamOwned::new(conn, socket), buffers }))
    }
}

impl Connector {
    /// The first hop.
    fn open(&self, addresses: &[SocketAddr], hop: &Hop, deadline: Instant) -> Result<Socket, HttpsError> {
        let begun = Instant::now();
        let socket = open(addresses, hop, deadline)?;
        self.route.notes.note(|notes| {
            notes.address = socket.stream.peer_addr().ok();
            notes.connect_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        });
        Ok(socket)
    }

    /// A tunnel through the proxy that ends at the server.
    fn open_by(
        &self,
        proxy: &Proxy,
        addresses: &[SocketAddr],
        deadline: Instant,
        server: &HostPort,
    ) -> Result<Socket, HttpsError> {
        let hop = Hop { name: HostPort { host: &proxy.host, port: proxy.port }.to_string(), is_proxy: true };
        let mut socket = self.open(addresses, &hop, deadline)?;
        if let Some(tls) = &self.proxy_tls {
            // The original took the scheme for decoration: many a setting says https:// of a proxy without TLS. Where no password
            // is at stake it is taken as it is; the TLS with the server is verified all the same.
            let may_be_plain = proxy.credentials.is_none();
            if may_be_plain {
                socket.deadline = deadline.min(Instant::now() + Duration::from_millis(PROXY_TLS_MS_MAX));
            }
            let shaken = shake_hands(tls.clone(), &proxy.host, &mut socket, PROXY_HANDSHAKE);
            match shaken.map_err(|error| error.of_proxy_handshake(&hop)) {
                Ok(conn) => socket = Socket { deadline, proxy_tls: Some(Box::new(conn)), ..socket },
                Err(HttpsError::NotSuchAProxy { .. } | HttpsError::TimedOut(_)) if may_be_plain => {
                    socket = open(addresses, &hop, deadline)?;
                }
                Err(error) => return Err(error),
            }
        }
        tunnel(&mut socket, proxy, hop, server)?;
        self.route.notes.note(|notes| notes.tunnelled = true);
        Ok(socket)
    }
}

/// What was waited for if a proxy that should speak TLS says nothing.
const PROXY_HANDSHAKE: &str = "the TLS handshake with the proxy (one without TLS is written http://)";

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

struct HostPort<'a> {
    host: &'a str,
    port: u16,
}

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)
    }
}

fn deadline(timeout: NextTimeout) -> Instant {
    let most = Duration::from_millis(REQUEST_MS_MAX);
    Instant::now() + timeout.not_zero().map_or(most, |left| (*left).min(most))
}

/// Tries the addresses in their order, each for a moment, then those that were only slow with the time that is left: a black
/// hole in front of a good address costs that moment, and a slow network is waited for all the same.
fn open(addresses: &[SocketAddr], hop: &Hop, deadline: Instant) -> Result<Socket, HttpsError> {
    let mut cause = String::new();
    let mut slow: Vec<&SocketAddr> = Vec::new();
    let left = || deadline.saturating_duration_since(Instant::now());
    let mut connect = |address: &SocketAddr, share: Duration| {
        let opened = TcpStream::connect_timeout(address, share).and_then(|stream| Socket::new(stream, deadline));
        opened.map_err(|error| {
            cause = format!("{}: {}", address.ip(), plain(&error));
            error.kind() == io::ErrorKind::TimedOut
        })
    };
    if addresses.len() == 1 {
        slow.extend(addresses);
    } else {
        for address in addresses {
            match connect(address, left().min(Duration::from_millis(CONNECT_TRY_MS)).max(A_TICK)) {
                Ok(socket) => return Ok(socket),
                Err(true) => slow.push(address),
                Err(false) => {}
            }
        }
    }
    for (index, address) in slow.iter().enumerate() {
        let others = u32::try_from(slow.len() - index).unwrap_or(1);
        if let Ok(socket) = connect(address, (left() / others).max(A_TICK)) {
            return Ok(socket);
        }
    }
    Err(HttpsError::NotReached { hop: hop.clone(), cause })
}

/// The system takes no time limit of zero.
const A_TICK: Duration = Duration::from_millis(1);

/// The system's words without `(os error 111)`.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Asks the proxy for a tunnel. Source: RFC 9110 section 9.3.6.
fn tunnel(socket: &mut Socket, proxy: &Proxy, hop: Hop, server: &HostPort) -> Result<(), HttpsError> {
    let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n");
    if let Some(credentials) = &proxy.credentials {
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(&base64::engine::general_purpose::STANDARD.encode(credentials));
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let (status, head) = socket
        .write_all(request.as_bytes())
        .and_then(|()| socket.flush())
        .map_err(|error| HttpsError::from_io(&error, "the proxy"))
        .and_then(|()| read_tunnel_answer(socket))
        .map_err(|error| error.of_tunnel(&hop))?;
    match (status, logins_but_basic(&head)) {
        (200..300, _) => Ok(()),
        (407, Some(offered)) => Err(HttpsError::ProxyLogin { hop, offered }),
        (status, _) => Err(HttpsError::ProxyRefused { hop, status }),
    }
}

/// Reads status and headers, to the empty line. Bytes after it would be the server's first, but in TLS the client speaks first.
fn read_tunnel_answer(socket: &mut Socket) -> Result<(u16, Vec<u8>), HttpsError> {
    let mut answer = Vec::new();
    let mut part = [0; 512];
    loop {
        let count = socket.read(&mut part).map_err(|error| HttpsError::from_io(&error, "the proxy"))?;
        answer.extend_from_slice(&part[..count]);
        let status = tunnel_status(&answer);
        let whole = answer.windows(4).any(|bytes| bytes == b"\r\n\r\n");
        let endless = answer.len() > ANSWER_HEADER_BYTES_MAX;
        match status {
            Some(407) if whole || endless || count == 0 => return Ok((407, answer)),
            // Another refusal may bring a page of explanation; nobody reads it.
            Some(status) if whole || !matches!(status, 200..300 | 407) => return Ok((status, answer)),
            _ if count == 0 => return Err(HttpsError::ClosedEarly),
            _ if whole || endless => return Err(HttpsError::Malformed("its answer is not HTTP".to_owned())),
            _ => {}
        }
    }
}

/// The ways of knowing a user that a proxy offers, if it names some and Basic is not one of them. Source: RFC 9110 section 11.7.1.
fn logins_but_basic(head: &[u8]) -> Option<String> {
    let mut offered = String::new();
    for (name, value) in String::from_utf8_lossy(head).lines().filter_map(|line| line.split_once(':')) {
        if !name.eq_ignore_ascii_case("proxy-authenticate") {
            continue;
        }
        let mut words =
            value.split([' ', ',']).filter(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic()));
        if words.clone().any(|word| word.eq_ignore_ascii_case("basic")) {
            return None;
        }
        if !offered.is_empty() {
            offered.push_str(", ");
        }
        offered.extend(words.next());
    }
    Some(offered).filter(|offered| !offered.is_empty())
}

/// The status in `HTTP/1.x NNN ...`, once its line's first 12 bytes are here.
pub fn tunnel_status(answer: &[u8]) -> Option<u16> {
    let line = answer.get(..12)?;
    let digits = line.strip_prefix(b"HTTP/1.")?.get(2..)?;
    core::str::from_utf8(digits).ok()?.parse().ok().filter(|status| (100..1000).contains(status))
}

/// A TCP connection with a deadline for everything that is done on it.
struct Socket {
    stream: TcpStream,
    deadline: Instant,
    /// TLS with the proxy, in which the server's TLS travels.
    proxy_tls: Option<Box<ClientConnection>>,
    /// The peer takes no more bytes. Its answer (413, say) may be here already, so writing goes on into nothing and reading
    /// tells what happened.
    deaf: bool,
}

impl Socket {
    fn new(stream: TcpStream, deadline: Instant) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        Ok(Socket { stream, deadline, proxy_tls: None, deaf: false })
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// Does something in the TLS with the proxy; `None` if there is no such thing.
    fn in_proxy_tls<T>(&mut self, act: impl FnOnce(&mut Stream<ClientConnection, Socket>) -> T) -> Option<T> {
        let mut conn = self.proxy_tls.take()?; // below it there is plain TCP
        let done = act(&mut Stream::new(&mut conn, self));
        self.proxy_tls = Some(conn);
        Some(done)
    }
}

impl Read for Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if let Some(done) = self.in_proxy_tls(|tls| read_on(tls, bytes)) {
            return done;
        }
        loop {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
                other => return other,
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(done) = self.in_proxy_tls(|tls| tls.write(bytes)) {
            return done;
        }
        loop {
            if self.deaf {
                return Ok(bytes.len());
            }
            self.stream.set_write_timeout(Some(self.left()?))?;
            match self.stream.write(bytes) {
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => self.deaf = true,
                    _ => return Err(error),
                },
                Ok(count) => return Ok(count),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.in_proxy_tls(|tls| tls.flush()).unwrap_or(Ok(()))
    }
}

/// Reads from a TLS stream. A message that it answers by itself (a request for renegotiation, which it declines) ends its read
/// with "would block", although the socket below waits: that one says that its time is up in other words.
fn read_on(tls: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

/// Speaks TLS with whoever is at the other end of the socket; `awaited` names it if that takes too long.
fn shake_hands(
    tls: Arc<ClientConfig>,
    host: &str,
    socket: &mut Socket,
    awaited: &'static str,
) -> Result<ClientConnection, HttpsError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| HttpsError::BadRequest(format!("{host} is not a name that a certificate can have")))?;
    let mut conn = ClientConnection::new(tls, name).map_err(|error| HttpsError::Tls((&error).into()))?;
    while conn.is_handshaking() {
        conn.complete_io(socket).map_err(|error| HttpsError::from_io(&error, awaited))?;
    }
    Ok(conn)
}

/// A TLS connection as the HTTP library wants it.
pub(super) struct Line {
    tls: StreamOwned<ClientConnection, Socket>,
    buffers: LazyBuffers,
}

impl Line {
    /// Whether nothing but TLS's own messages (a session ticket) is waiting on an idle connection.
    fn is_quiet(&mut self) -> io::Result<bool> {
        let StreamOwned { conn, sock } = &mut self.tls;
        sock.deadline = Instant::now() + Duration::from_millis(REQUEST_MS_MAX);
        for _ in 0..IDLE_READS_MAX {
            match conn.read_tls(sock) {
                // What would block is told as a time that is up.
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(true),
                Ok(1..) => {
                    let state = conn.process_new_packets().map_err(io::Error::other)?;
                    if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() {
                        return Ok(false);
                    }
                }
                _ => return Ok(false),
            }
        }
        Ok(false)
    }
}

/// Reads of an idle connection before it counts as noisy.
const IDLE_READS_MAX: usize = 16;

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.tls.sock.deadline = deadline(timeout);
        let output = &self.buffers.output()[..amount];
        self.tls.write_all(output).and_then(|()| self.tls.flush()).map_err(|error| for_ureq(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.tls.sock.deadline = deadline(timeout);
        let count =
            read_on(&mut self.tls, self.buffers.input_append_buf()).map_err(|error| for_ureq(error, timeout))?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        if self.tls.sock.deaf || self.tls.sock.stream.set_nonblocking(true).is_err() {
            return false;
        }
        self.is_quiet().unwrap_or(false) && self.tls.sock.stream.set_nonblocking(false).is_ok()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// The HTTP library knows what to do about a peer that closed; everything else is ours to name.
fn for_ureq(error: io::Error, timeout: NextTimeout) -> ureq::Error {
    match HttpsError::from_io(&error, "") {
        HttpsError::TimedOut(_) => ureq::Error::Timeout(timeout.reason),
        HttpsError::ClosedEarly => ureq::Error::Io(error),
        // The two had something in common before: it is a second handshake that the server wants.
        HttpsError::Tls(TlsFault::NothingInCommon(alert)) => HttpsError::Tls(TlsFault::Alert(alert)).into(),
        other => other.into(),
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}
