//! From a name to addresses: by the hosts file, else by the name servers, as they stand in `/etc/hosts` and `/etc/resolv.conf`
//! now.
//!
//! The C library's resolver is not used. The one of the static programs takes no answer above 512 bytes (it has no TCP), which
//! the alias chains of Azure's private links exceed; all of them take their own time, and one with a time limit takes a thread.
//!
//! ```text
//!  address? ─> hosts file ─> name, and name + each search domain:
//!       server 1 ── 2 s without an answer, or it cannot say ──> server 2 ──> server 3 ──> once more, without the extension
//!          │ answer           (an answer of an earlier one still counts)
//!          └ truncated ──> TCP
//! ```

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::time::Duration;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Instant;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::line::{Route, target};
use super::{Hop, HttpsError};
use crate::limits::{HOSTS_BYTES_MAX, LOOKUP_MS_MAX, LOOKUP_STEP_MS, RESOLV_CONF_BYTES_MAX, SEARCH_MAX};
use crate::sys::poll::{PollFd, READABLE, poll};
use crate::sys::random_bytes;
use crate::upload::dns::{self, Answer, Kind, UDP_BYTES_MAX};

/// What [`ResolvedSocketAddrs`] holds.
const ADDRESSES_MAX: usize = 16;
/// Name servers that are asked, as in every resolver.
const SERVERS_MAX: usize = 3;
/// Once the addresses of one kind are here, the other kind has so much longer: some servers never answer for IPv6.
const OTHER_KIND_MS: u64 = 300;

/// Finds the addresses of the first hop: the proxy's if there is one, else the server's. In place, without a thread.
#[derive(Debug)]
pub(super) struct FirstHop {
    pub route: Arc<Route>,
}

impl Resolver for FirstHop {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let server = target(uri)?;
        let proxy = self.route.proxy_to(server.0);
        let (host, port) = proxy.map_or(server, |proxy| (proxy.host.as_str(), proxy.port));
        let hop = Hop { name: host.to_owned(), is_proxy: proxy.is_some() };
        self.route.notes.note(|notes| (notes.hop, notes.found) = (Some(hop.clone()), false));
        let found = find(host).map_err(|cause| HttpsError::NameNotFound { hop, cause })?;
        self.route.notes.note(|notes| notes.found = true);
        let mut addresses = self.empty();
        found.iter().take(ADDRESSES_MAX).for_each(|&address| addresses.push(SocketAddr::new(address, port)));
        Ok(addresses)
    }
}

/// At least one address, or why there is none.
fn find(name: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = name.parse() {
        return Ok(Vec::from([address]));
    }
    let known = from_hosts(&read("/etc/hosts", HOSTS_BYTES_MAX), name);
    if !known.is_empty() {
        return Ok(known);
    }
    if name.eq_ignore_ascii_case("localhost") {
        // Source: RFC 6761 section 6.3; containers come without a hosts file.
        return Ok(Vec::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]));
    }
    let setting = Setting::parse(&read("/etc/resolv.conf", RESOLV_CONF_BYTES_MAX));
    let deadline = Instant::now() + Duration::from_millis(LOOKUP_MS_MAX);
    look_up(name, &setting, deadline)
}

/// The text of a file; empty if it cannot be read, as every resolver takes it.
fn read(path: &str, bytes_max: u64) -> String {
    let mut bytes = Vec::new();
    let _ = File::open(path).and_then(|file| file.take(bytes_max).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The addresses of a name in a hosts file. Source: hosts(5).
fn from_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    text.lines().filter_map(address).collect()
}

/// What `resolv.conf` says. Source: resolv.conf(5).
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    /// A name with so many dots is tried as it is before it is tried in the search domains.
    dots: usize,
}

impl Setting {
    /// Without a server there is one on this host. What cannot be understood is passed over.
    fn parse(text: &str) -> Setting {
        let mut setting = Setting { servers: Vec::new(), search: Vec::new(), dots: 1 };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => setting.servers.extend(words.next().and_then(server)),
                Some("search" | "domain") => setting.search = words.take(SEARCH_MAX).map(str::to_owned).collect(),
                Some("options") => {
                    let dots = words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                    setting.dots = dots.unwrap_or(setting.dots);
                }
                _ => {}
            }
        }
        setting.servers.truncate(SERVERS_MAX);
        if setting.servers.is_empty() {
            setting.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT));
        }
        setting
    }

    /// The names to ask for, in their order.
    fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return Vec::from([name.to_owned()]);
        }
        let mut candidates: Vec<String> =
            self.search.iter().map(|domain| format!("{name}.{}", domain.trim_matches('.'))).collect();
        let as_it_is = if name.matches('.').count() >= self.dots { 0 } else { candidates.len() };
        candidates.insert(as_it_is, name.to_owned());
        candidates
    }
}

const DNS_PORT: u16 = 53;

/// An address with, for a link-local one, the name or number of its interface.
fn server(text: &str) -> Option<SocketAddr> {
    let (address, interface) = text.split_once('%').unwrap_or((text, ""));
    Some(match address.parse().ok()? {
        IpAddr::V6(address) if !interface.is_empty() => {
            let index = read(&format!("/sys/class/net/{interface}/ifindex"), 16);
            let scope = interface.parse().or_else(|_| index.trim().parse()).ok()?;
            SocketAddr::V6(SocketAddrV6::new(address, DNS_PORT, 0, scope))
        }
        address => SocketAddr::new(address, DNS_PORT),
    })
}

/// Asks for each candidate until one has an address.
fn look_up(name: &str, setting: &Setting, deadline: Instant) -> Result<Vec<IpAddr>, String> {
    let mut trouble = None;
    for candidate in setting.candidates(name) {
        match Lookup::new(&candidate, deadline).run(&setting.servers) {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => {}
            // The servers of one domain may have a problem and those of another not.
            Err(cause) => trouble = trouble.or(Some(cause)),
        }
    }
    Err(trouble.unwrap_or_else(|| "the name servers know no address of it".to_owned()))
}

/// One name's two questions on their way.
struct Lookup<'a> {
    name: &'a str,
    deadline: Instant,
    ids: [[u8; 2]; 2],
    /// The addresses of each kind; `None`: not answered yet.
    found: [Option<Vec<IpAddr>>; 2],
    /// Servers asked, with the socket that each answers to.
    asked: Vec<(SocketAddr, UdpSocket)>,
    /// What was last wrong.
    trouble: Option<String>,
}

const KINDS: [Kind; 2] = [Kind::V4, Kind::V6];

/// What an answer leaves to do.
#[derive(PartialEq)]
enum Left {
    Waiting,
    Done,
    /// This server will not help.
    NextServer,
}

impl<'a> Lookup<'a> {
    fn new(name: &'a str, deadline: Instant) -> Lookup<'a> {
        let mut ids = [0; 4];
        // The port is random, too, by the kernel.
        let _ = random_bytes(&mut ids);
        let ids = [[ids[0], ids[1]], [ids[2], ids[3]]];
        Lookup { name, deadline, ids, found: [None, None], asked: Vec::new(), trouble: None }
    }

    /// All addresses, kinds taking turns and IPv4 first; none if the name has none. `Err`: no server could say.
    fn run(mut self, servers: &[SocketAddr]) -> Result<Vec<IpAddr>, String> {
        for extended in [true, false] {
            for &server in servers {
                match self.send(server, extended) {
                    Ok(true) => {}
                    Ok(false) => return Err("it is not a name that can be asked for".to_owned()),
                    Err(error) => {
                        self.trouble = Some(format!("name server {}: {}", server.ip(), super::line::plain(&error)));
                        continue;
                    }
                }
                if self.wait(extended) == Left::Done {
                    return Ok(self.all());
                }
            }
        }
        // One kind may be enough.
        if self.found.iter().flatten().any(|found| !found.is_empty()) {
            return Ok(self.all());
        }
        let servers: Vec<String> = servers.iter().map(|server| server.ip().to_string()).collect();
        Err(self.trouble.unwrap_or_else(|| format!("no answer from name server {}", servers.join(", "))))
    }

    /// Sends what is not answered yet. `false`: it is no name.
    fn send(&mut self, server: SocketAddr, extended: bool) -> io::Result<bool> {
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        for (index, _) in self.found.iter().enumerate().filter(|(_, found)| found.is_none()) {
            let Some(question) = self.question(index, extended) else { return Ok(false) };
            socket.send(&question)?;
        }
        self.asked.push((server, socket));
        Ok(true)
    }

    fn question(&self, index: usize, extended: bool) -> Option<Vec<u8>> {
        dns::question(self.ids[index], self.name, KINDS[index], extended)
    }

    /// Takes answers of every server asked so far until there is nothing left to wait for, or it is the next one's turn.
    fn wait(&mut self, extended: bool) -> Left {
        let mut until = self.deadline.min(Instant::now() + Duration::from_millis(LOOKUP_STEP_MS));
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut set: Vec<PollFd> = self
                .asked
                .iter()
                .map(|(_, socket)| PollFd { fd: socket.as_raw_fd(), events: READABLE, revents: 0 })
                .collect();
            let ready = poll(&mut set, Some(u64::try_from(left.as_millis()).unwrap_or(0)));
            if left.is_zero() || ready.is_err() {
                let some = self.found.iter().flatten().any(|found| !found.is_empty());
                return if some { Left::Done } else { Left::NextServer };
            }
            for index in (0..set.len()).filter(|&index| set[index].revents != 0) {
                let last = index + 1 == self.asked.len();
                match self.hear(index, extended) {
                    Left::Done => return Left::Done,
                    // An earlier one was given up already.
                    Left::NextServer if last => return Left::NextServer,
                    _ => {}
                }
            }
            if self.found.iter().flatten().any(|found| !found.is_empty()) {
                until = until.min(Instant::now() + Duration::from_millis(OTHER_KIND_MS));
            }
        }
    }

    /// Takes what came from one server.
    fn hear(&mut self, index: usize, extended: bool) -> Left {
        let mut message = [0; UDP_BYTES_MAX];
        loop {
            let (server, socket) = &self.asked[index];
            let server = *server;
            let count = match socket.recv(&mut message) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Left::Waiting,
                Err(error) => {
                    self.trouble = Some(format!("name server {}: {}", server.ip(), super::line::plain(&error)));
                    return Left::NextServer;
                }
            };
            for kind in 0..KINDS.len() {
                let Some(question) = self.question(kind, extended) else { continue };
                let Some(answer) = dns::answer(&message[..count], &question) else { continue };
                match self.take(kind, answer, server, &question) {
                    Left::Waiting => {}
                    left => return left,
                }
            }
        }
    }

    fn take(&mut self, kind: usize, answer: Answer, server: SocketAddr, question: &[u8]) -> Left {
        let answer = match answer {
            Answer::Truncated(some) => match self.ask_over_tcp(server, question) {
                Some(whole) => whole,
                // Some addresses are better than none.
                None if some.is_empty() => Answer::Failed(2),
                None => Answer::Addresses(some),
            },
            answer => answer,
        };
        match answer {
            Answer::Addresses(found) => self.found[kind] = Some(found),
            Answer::NoSuchName => self.found = [Some(Vec::new()), Some(Vec::new())],
            Answer::Failed(code) => {
                self.trouble = Some(format!("name server {} says {}", server.ip(), code_text(code)));
                return Left::NextServer;
            }
            Answer::Truncated(_) => return Left::NextServer,
        }
        if self.found.iter().all(Option::is_some) { Left::Done } else { Left::Waiting }
    }

    /// The whole of an answer that was truncated; `None` if the server does not give it in time. Source: RFC 7766.
    fn ask_over_tcp(&self, server: SocketAddr, question: &[u8]) -> Option<Answer> {
        let until = self.deadline.min(Instant::now() + Duration::from_millis(LOOKUP_STEP_MS));
        let left = || Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
        let mut stream = TcpStream::connect_timeout(&server, left()?).ok()?;
        stream.set_write_timeout(left()).ok()?;
        let length = u16::try_from(question.len()).ok()?;
        stream.write_all(&[&length.to_be_bytes(), question].concat()).ok()?;
        let mut message = Vec::new();
        let mut part = [0; 512];
        loop {
            if let Some((length, rest)) = message.split_first_chunk::<2>()
                && rest.len() >= usize::from(u16::from_be_bytes(*length))
            {
                return dns::answer(rest, question);
            }
            stream.set_read_timeout(Some(left()?)).ok()?;
            let count = stream.read(&mut part).ok().filter(|&count| count > 0)?;
            message.extend_from_slice(&part[..count]);
        }
    }

    fn all(self) -> Vec<IpAddr> {
        let [v4, v6] = self.found.map(Option::unwrap_or_default);
        let mut all = Vec::new();
        for index in 0..v4.len().max(v6.len()) {
            all.extend(v4.get(index).into_iter().chain(v6.get(index)));
        }
        all
    }
}

fn code_text(code: u8) -> String {
    match code {
        1 => "that it does not understand the question (FORMERR)".to_owned(),
        2 => "that it cannot answer now (SERVFAIL)".to_owned(),
        5 => "that it does not answer us (REFUSED)".to_owned(),
        code => format!("error {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn a_hosts_file_is_read_as_its_manual_says() {
        let text = "# 10.0.0.9 web\n10.0.0.1\tweb.example web # old\n::1 localhost WEB\nnonsense web\n10.0.0.2 web2\n";
        assert_eq!(from_hosts(text, "web"), [v4(1), "::1".parse().unwrap()]);
        assert!(from_hosts(text, "old").is_empty());
        assert!(from_hosts("", "web").is_empty());
    }

    #[track_caller]
    fn check_setting(text: &str, servers: &[&str], search: &[&str], dots: usize) {
        let servers = servers.iter().map(|server| server.parse().unwrap()).collect();
        let search = search.iter().map(|domain| (*domain).to_owned()).collect();
        assert_eq!(Setting::parse(text), Setting { servers, search, dots });
    }

    #[test]
    fn a_resolv_conf_is_read_as_its_manual_says() {
        check_setting("", &["127.0.0.1:53"], &[], 1);
        check_setting("nameserver nonsense\n; x\noptions\n", &["127.0.0.1:53"], &[], 1);
        let text = "nameserver 10.0.0.1\nnameserver ::1 # x\nnameserver fe80::1%lo\nnameserver 10.0.0.4\n\
                    domain a\nsearch b.example c.example\noptions timeout:1 ndots:2\n";
        check_setting(text, &["10.0.0.1:53", "[::1]:53", "[fe80::1%1]:53"], &["b.example", "c.example"], 2);
        check_setting("nameserver fe80::1%7\n", &["[fe80::1%7]:53"], &[], 1);
        check_setting("nameserver fe80::1%nosuch0\n", &["127.0.0.1:53"], &[], 1);
    }

    #[test]
    fn a_name_with_dots_is_tried_before_the_search_domains_and_one_without_after_them() {
        let setting = Setting::parse("search a.example b.\n");
        assert_eq!(setting.candidates("proxy"), ["proxy.a.example", "proxy.b", "proxy"]);
        assert_eq!(
            setting.candidates("w.ods.example"),
            ["w.ods.example", "w.ods.example.a.example", "w.ods.example.b"]
        );
        assert_eq!(setting.candidates("proxy."), ["proxy."]);
    }

    /// How a name server answers one question: address records, a code, or not at all.
    type Rule = fn(name: &str, kind: Kind, tcp: bool) -> Option<(u8, Vec<IpAddr>, bool)>;

    /// A name server on the loopback address that lives as long as the tests.
    fn serve(rule: Rule) -> SocketAddr {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        thread::spawn(move || {
            let mut message = [0; 512];
            while let Ok((count, from)) = udp.recv_from(&mut message) {
                let _ = reply(&message[..count], rule, false).map(|answer| udp.send_to(&answer, from));
            }
        });
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let mut stream = stream;
                let mut length = [0; 2];
                let _ = stream.read_exact(&mut length);
                let mut message = alloc::vec![0; usize::from(u16::from_be_bytes(length))];
                let _ = stream.read_exact(&mut message);
                if let Some(answer) = reply(&message, rule, true) {
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    let _ = stream.write_all(&[&length, &answer[..]].concat());
                }
            }
        });
        address
    }

    fn reply(question: &[u8], rule: Rule, tcp: bool) -> Option<Vec<u8>> {
        let mut name = String::new();
        let mut at = 12;
        while question[at] > 0 {
            let length = usize::from(question[at]);
            name.push_str(core::str::from_utf8(&question[at + 1..=at + length]).unwrap());
            name.push('.');
            at += 1 + length;
        }
        let kind = if question[at + 2] == 1 { Kind::V4 } else { Kind::V6 };
        let (code, addresses, truncated) = rule(&name, kind, tcp)?;
        let mut answer = question[..at + 5].to_vec();
        answer[2] = 0x81 | u8::from(truncated) << 1;
        answer[3] = 0x80 | code;
        (answer[7], answer[11]) = (u8::try_from(addresses.len()).unwrap(), 0);
        for address in addresses {
            let bytes = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            answer.extend_from_slice(&[
                0xc0,
                12,
                0,
                kind as u8,
                0,
                1,
                0,
                0,
                0,
                9,
                0,
                u8::try_from(bytes.len()).unwrap(),
            ]);
            answer.extend_from_slice(&bytes);
        }
        Some(answer)
    }

    fn good(name: &str, kind: Kind, _: bool) -> Option<(u8, Vec<IpAddr>, bool)> {
        match (name, kind) {
            ("a.example.", Kind::V4) => Some((0, Vec::from([v4(1), v4(2)]), false)),
            ("a.example.", Kind::V6) => Some((0, Vec::from(["fd00::1".parse().unwrap()]), false)),
            _ => Some((3, Vec::new(), false)),
        }
    }

    #[track_caller]
    fn check(servers: &[SocketAddr], name: &str, expected: Result<&[IpAddr], &str>) {
        let setting = Setting { servers: servers.to_vec(), search: Vec::from(["example".to_owned()]), dots: 1 };
        let deadline = Instant::now() + Duration::from_millis(LOOKUP_MS_MAX);
        match (look_up(name, &setting, deadline), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(cause), Err(words)) => assert!(cause.contains(words), "{cause}"),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn kinds_take_turns_and_search_domains_are_tried() {
        let all = [v4(1), "fd00::1".parse().unwrap(), v4(2)];
        check(&[serve(good)], "a.example", Ok(&all));
        check(&[serve(good)], "a", Ok(&all));
        check(&[serve(good)], "b", Err("know no address"));
        check(&[serve(good)], "a..b", Err("not a name"));
    }

    #[test]
    fn a_server_that_is_silent_or_gone_or_cannot_say_is_passed_over() {
        let all = [v4(1), "fd00::1".parse().unwrap(), v4(2)];
        let silent = serve(|_, _, _| None);
        check(&[silent, serve(good)], "a.example", Ok(&all));
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        check(&[gone, serve(good)], "a.example", Ok(&all));
        let refusing = serve(|_, _, _| Some((5, Vec::new(), false)));
        check(&[refusing, serve(good)], "a.example", Ok(&all));
        check(&[refusing], "a.example", Err("127.0.0.1 says that it does not answer us (REFUSED)"));
        check(&[gone], "a.example", Err("name server 127.0.0.1: Connection refused"));
    }

    #[test]
    fn a_server_that_never_answers_for_ipv6_does_not_keep_ipv4_waiting() {
        let half = serve(|_, kind, _| (kind == Kind::V4).then(|| (0, Vec::from([v4(3)]), false)));
        let start = Instant::now();
        check(&[half, half, half], "a.example", Ok(&[v4(3)]));
        assert!(start.elapsed() < Duration::from_millis(LOOKUP_STEP_MS), "{:?}", start.elapsed());
        let broken = serve(|_, kind, _| Some((if kind == Kind::V4 { 0 } else { 2 }, Vec::from([v4(3)]), false)));
        check(&[broken], "a.example", Ok(&[v4(3)]));
    }

    #[test]
    fn an_answer_that_does_not_fit_is_fetched_over_tcp() {
        let long = serve(|_, kind, tcp| match kind {
            Kind::V4 if tcp => Some((0, (1..=40).map(v4).collect(), false)),
            Kind::V4 => Some((0, Vec::new(), true)),
            Kind::V6 => Some((0, Vec::new(), false)),
        });
        let expected: Vec<IpAddr> = (1..=40).map(v4).collect();
        check(&[long], "a.example", Ok(&expected));
        let no_tcp = serve(|_, kind, tcp| {
            let count = if kind == Kind::V4 { 2 } else { 0 };
            (!tcp).then(|| (0, (1..=count).map(v4).collect(), kind == Kind::V4))
        });
        check(&[no_tcp], "a.example", Ok(&[v4(1), v4(2)]));
    }

    #[test]
    fn a_server_that_does_not_know_the_extension_is_asked_without_it() {
        // Its reply has no room for the question.
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let old = udp.local_addr().unwrap();
        thread::spawn(move || {
            let mut message = [0; 512];
            while let Ok((count, from)) = udp.recv_from(&mut message) {
                let answer = if message[11] == 1 {
                    [&message[..2], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat()
                } else {
                    reply(&message[..count], good, false).unwrap()
                };
                let _ = udp.send_to(&answer, from);
            }
        });
        check(&[old], "a.example", Ok(&[v4(1), "fd00::1".parse().unwrap(), v4(2)]));
    }

    #[test]
    fn a_name_that_is_never_answered_ends_at_the_bound() {
        let silent = serve(|_, _, _| None);
        let setting = Setting { servers: Vec::from([silent]), search: Vec::new(), dots: 1 };
        let deadline = Instant::now() + Duration::from_millis(300);
        assert_eq!(look_up("a.example", &setting, deadline), Err("no answer from name server 127.0.0.1".to_owned()));
    }
}
