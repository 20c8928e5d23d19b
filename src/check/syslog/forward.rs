//! Where the configurations of rsyslog and syslog-ng send messages: as much of their grammars as that takes.

use crate::config::Listen;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// A rule that sends messages out of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Where it begins, from 1.
    pub line: usize,
    /// How it sends.
    pub by: By,
    /// Host name, address or path.
    pub target: String,
    /// Port; 0 for a path.
    pub port: u16,
}

/// The kinds of socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// A socket in the file system, datagrams or a stream.
    Path,
}

/// `udp 127.0.0.1:25224`
impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            By::Udp => write!(f, "udp {}:{}", self.target, self.port),
            By::Tcp => write!(f, "tcp {}:{}", self.target, self.port),
            By::Path => f.write_str(&self.target),
        }
    }
}

impl Forward {
    /// Whether messages that it sends arrive at this source.
    pub fn leads_to(&self, listen: &Listen) -> bool {
        let by_network = |by, address: &core::net::IpAddr, port| {
            self.by == by && self.port == port && (self.is_local() || self.target.parse().as_ref() == Ok(address))
        };
        match listen {
            Listen::Udp(address, port) => by_network(By::Udp, address, *port),
            Listen::Tcp(address, port) => by_network(By::Tcp, address, *port),
            Listen::UnixDatagram(path) | Listen::UnixStream(path) => self.by == By::Path && self.target == *path,
        }
    }

    /// Whether it stays on this host.
    pub fn is_local(&self) -> bool {
        let is_loopback = |address: core::net::IpAddr| address.is_loopback();
        match self.by {
            By::Path => true,
            By::Udp | By::Tcp => self.target == "localhost" || self.target.parse().is_ok_and(is_loopback),
        }
    }
}

/// The ports that the daemons send to if none is given.
const PORT_DEFAULT: u16 = 514;

/// The rules of a file of rsyslog: `SELECTOR @HOST:PORT`, `@@` for TCP, `action(type="omfwd" ...)` and `omuxsock`.
/// Source: rsyslog.conf(5), the manual's pages on omfwd and omuxsock.
pub fn of_rsyslog(text: &str) -> Vec<Forward> {
    let text = without_comments(text);
    let mut all = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let old_style = content.split_whitespace().last().filter(|word| word.starts_with('@'));
        all.extend(old_style.and_then(|word| of_old_style(line, word)));
    }
    for (at, arguments) in calls(&text, "action") {
        let value = |name: &str| parameter(arguments, name);
        let (by, target) = match value("type").as_deref() {
            Some("omfwd") => (protocol(value("protocol").as_deref().unwrap_or("udp")), value("target")),
            Some("omuxsock") => (By::Path, value("socket")),
            _ => continue,
        };
        let port = value("port").and_then(|port| port.parse().ok()).unwrap_or(PORT_DEFAULT);
        let Some(target) = target else { continue };
        all.push(Forward { line: line_of(&text, at), by, target, port: if by == By::Path { 0 } else { port } });
    }
    all
}

/// `@127.0.0.1:25224`, `@@(o)[::1]:25224;template`
fn of_old_style(line: usize, word: &str) -> Option<Forward> {
    let (by, rest) = match word.strip_prefix("@@") {
        Some(rest) => (By::Tcp, rest),
        None => (By::Udp, word.strip_prefix('@')?),
    };
    let rest = rest.split_once(')').map_or(rest, |(_, rest)| rest);
    let address = rest.split(';').next()?;
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(host, port)| (host, port.strip_prefix(':')))?,
        None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(PORT_DEFAULT), |port| port.parse().ok())?;
    Some(Forward { line, by, target: host.to_string(), port })
}

/// The drivers in the `destination` statements of a file of syslog-ng. Source: its administration guide, "Destination drivers".
pub fn of_syslog_ng(text: &str) -> Vec<Forward> {
    let text = without_comments(text);
    let mut all = Vec::new();
    for (from, _) in text.match_indices("destination") {
        // In a `log` statement its name is in parentheses.
        let Some(open) =
            text[from..].find(['{', '(', ';']).map(|at| from + at).filter(|&at| text[at..].starts_with('{'))
        else {
            continue;
        };
        let body = &text[open..open + balanced(&text[open..])];
        for driver in ["network", "syslog", "udp", "udp6", "tcp", "tcp6", "unix-dgram", "unix-stream"] {
            for (at, arguments) in calls(body, driver) {
                let inner = |name| calls(arguments, name).next().map(|(_, value)| unquoted(value));
                let by = match driver {
                    "network" | "syslog" => protocol(inner("transport").as_deref().unwrap_or("tcp")),
                    "unix-dgram" | "unix-stream" => By::Path,
                    other => protocol(other),
                };
                let port = inner("port").and_then(|port| port.parse().ok()).unwrap_or(PORT_DEFAULT);
                let target =
                    unquoted(arguments.split(['(', ')']).next().unwrap_or("").split_whitespace().next().unwrap_or(""));
                let line = line_of(&text, open + at);
                all.push(Forward { line, by, target, port: if by == By::Path { 0 } else { port } });
            }
        }
    }
    all
}

fn protocol(name: &str) -> By {
    if name.starts_with("udp") { By::Udp } else { By::Tcp }
}

/// The same text with blanks in place of comments, so that places stay.
fn without_comments(text: &str) -> String {
    let mut quote = None;
    let mut in_comment = false;
    let blanked = text.chars().map(|character| {
        match (character, quote) {
            ('\n', _) => (quote, in_comment) = (None, false),
            _ if in_comment => {}
            ('#', None) => in_comment = true,
            ('"' | '\'', None) => quote = Some(character),
            (_, Some(open)) if character == open => quote = None,
            _ => {}
        }
        if in_comment && character != '\n' { ' ' } else { character }
    });
    blanked.collect()
}

/// Every `NAME(...)` of a text: where it begins, and what is between its parentheses.
fn calls<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    text.match_indices(name).filter_map(move |(at, _)| {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if text.as_bytes()[..at].last().is_some_and(is_part) {
            return None;
        }
        let behind = text[at + name.len()..].trim_start();
        behind.starts_with('(').then(|| (at, &behind[1..balanced(behind)]))
    })
}

/// Where the bracket that a text begins with is closed, or the text's end.
fn balanced(text: &str) -> usize {
    let (mut depth, mut quote) = (0, None);
    for (at, byte) in text.bytes().enumerate() {
        match (byte, quote) {
            (b'"' | b'\'', None) => quote = Some(byte),
            (_, Some(open)) if byte == open => quote = None,
            (b'(' | b'{', None) => depth += 1,
            (b')' | b'}', None) if depth == 1 => return at,
            (b')' | b'}', None) => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The value of `name="value"`; names have no case.
fn parameter(arguments: &str, name: &str) -> Option<String> {
    let lower = arguments.to_ascii_lowercase();
    lower.match_indices(name).find_map(|(at, _)| {
        let is_start = lower.as_bytes()[..at].last().is_none_or(|byte| byte.is_ascii_whitespace());
        let value = arguments[at + name.len()..].trim_start().strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        is_start.then(|| value[1..].split(quote).next().unwrap_or("").to_string())
    })
}

fn unquoted(text: &str) -> String {
    text.trim().trim_matches(['"', '\'']).to_string()
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].bytes().filter(|&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: Vec<Forward>, expected: &[(usize, &str)]) {
        let found: Vec<(usize, String)> = found.iter().map(|forward| (forward.line, forward.to_string())).collect();
        let expected: Vec<(usize, String)> = expected.iter().map(|(line, text)| (*line, text.to_string())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn rsyslog_sends_in_two_grammars() {
        check(of_rsyslog("*.info\t@127.0.0.1:25224 # to omsd\n"), &[(1, "udp 127.0.0.1:25224")]);
        check(of_rsyslog("#*.* @127.0.0.1:25224\nauth.* @@(o)[::1]:601;RSYSLOG_Forward\n"), &[(2, "tcp ::1:601")]);
        check(of_rsyslog("*.* @loghost\n*.* /var/log/all\n:msg, contains, \"@x\" stop\n"), &[(1, "udp loghost:514")]);
        let action = "# *.info action(type=\"omfwd\" target=\"10.0.0.1\")\n*.info action(type=\"omfwd\" name=\"omsd (udp)\"\n  \
                      Target=\"127.0.0.1\" port=\"25224\"\n protocol=\"tcp\")\naction(type=\"omfile\" file=\"x\")\n\
                      if 1 then { action(type='omuxsock' socket='/run/omsd.sock') }";
        check(of_rsyslog(action), &[(2, "tcp 127.0.0.1:25224"), (6, "/run/omsd.sock")]);
        let ours = of_rsyslog(include_str!("../../../conf/rsyslog.conf"));
        assert!(ours.iter().any(|forward| forward.to_string() == "udp 127.0.0.1:25224"), "{ours:?}");
        check(of_rsyslog("action(type=\"omfwd\" target=\"1.2.3.4\""), &[(1, "udp 1.2.3.4:514")]);
    }

    #[test]
    fn syslog_ng_sends_by_drivers_of_destinations_only() {
        let text = "source s { network(ip(\"0.0.0.0\") port(514)); };\n\
                    destination d { network(\"127.0.0.1\" port(25224) transport(\"udp\")); };\n\
                    destination e {\n  tcp(\"h\" port(\"601\"));\n  unix-dgram(\"/run/omsd.sock\");\n};\n\
                    log { source(s); destination(d); };\ndestination f { udp(\"g\"); }; # destination x { tcp(\"y\"); };\n";
        check(
            of_syslog_ng(text),
            &[(2, "udp 127.0.0.1:25224"), (4, "tcp h:601"), (5, "/run/omsd.sock"), (8, "udp g:514")],
        );
        check(of_syslog_ng("destination d { syslog(\"x\""), &[(1, "tcp x:514")]);
        let ours = of_syslog_ng(include_str!("../../../conf/syslog-ng.conf"));
        assert!(ours.iter().any(|forward| forward.to_string() == "udp 127.0.0.1:25224"), "{ours:?}");
    }

    #[test]
    fn any_text_is_read_to_its_end() {
        let text = "destination d { network(\"ä\" port(1)); action(type=\"omfwd\" target='ö@:[' port=\"x\") @@(]:;\n";
        for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)) {
            of_rsyslog(&text[..end]);
            of_syslog_ng(&text[..end]);
            of_rsyslog(&text[end..]);
            of_syslog_ng(&text[end..]);
        }
    }
}
