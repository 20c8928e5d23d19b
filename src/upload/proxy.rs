//! The proxy setting: `proxy.conf`'s one line, and `-p`.
//!
//! `[http://|https://][user:password@]host[:port]`. `https://` means TLS to the proxy itself, port 443 if none is given; otherwise
//! the port is 80. We also take what administrators write: a line end, a byte order mark, one trailing slash, an IPv6 address
//! in brackets, and `%40` and the like in user and password. Anything else is an error, never "no proxy".

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use crate::config::hosts;

/// An HTTP proxy that is asked to CONNECT. Neither `Debug` nor `Display` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Whether TLS is spoken to the proxy itself.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `user:password`, percent-decoded; `None`: the proxy asks for nothing.
    pub credentials: Option<Vec<u8>>,
}

/// What is wrong with a proxy setting; the text never holds the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyError {
    /// A scheme other than `http` and `https`.
    Scheme,
    /// A user without `:` and password, or no user.
    Credentials,
    /// No host, or characters that no host has.
    Host,
    /// Not a number from 1 to 65535.
    Port,
}

impl Proxy {
    /// Reads a setting; `Ok(None)` if it is empty.
    pub fn parse(text: &str) -> Result<Option<Proxy>, ProxyError> {
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            return Ok(None);
        }
        let (tls, text) = split_scheme(text)?;
        let text = text.strip_suffix('/').unwrap_or(text);
        let (credentials, host_port) = match text.rsplit_once('@') {
            Some((credentials, rest)) => (Some(parse_credentials(credentials)?), rest),
            None => (None, text),
        };
        let (host, port) = split_host_port(host_port)?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(Some(Proxy { tls, host: host.to_owned(), port, credentials }))
    }
}

/// Whether requests to this host (no brackets) go past the proxy: `no_proxy` covers it, or it is where a cloud tells a machine
/// about itself, which answers to nobody else.
pub fn goes_past(no_proxy: &str, host: &str) -> bool {
    /// Azure's own address on every virtual machine. Source: Azure's documentation of 168.63.129.16.
    const WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
    let is_metadata = |address: Ipv4Addr| address.is_link_local() || address == WIRE_SERVER;
    host.parse().is_ok_and(is_metadata) || hosts::covers(no_proxy, host)
}

/// Whether it is https, and what is behind the scheme. In front of a `://` in a password there is a `:`.
fn split_scheme(text: &str) -> Result<(bool, &str), ProxyError> {
    match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => Ok((true, rest)),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => Ok((false, rest)),
        Some((scheme, _)) if !scheme.contains(':') => Err(ProxyError::Scheme),
        _ => Ok((false, text)),
    }
}

fn parse_credentials(text: &str) -> Result<Vec<u8>, ProxyError> {
    match text.split_once(':') {
        Some((user, _)) if !user.is_empty() => Ok(percent_decoded(text)),
        _ => Err(ProxyError::Credentials),
    }
}

/// `%XX` becomes its byte; a `%` that starts no such thing stays, as the original never decoded.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let decoded = match tail {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    bytes
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn split_host_port(text: &str) -> Result<(&str, Option<u16>), ProxyError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or(ProxyError::Host)?;
            host.parse::<core::net::Ipv6Addr>().map_err(|_| ProxyError::Host)?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(ProxyError::Port)?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (check_name(host)?, Some(port)),
            None => (check_name(text)?, None),
        },
    };
    let port = port.map(parse_port).transpose()?;
    Ok((host, port))
}

fn parse_port(text: &str) -> Result<u16, ProxyError> {
    let port = if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None };
    port.filter(|port| *port != 0).ok_or(ProxyError::Port)
}

fn check_name(name: &str) -> Result<&str, ProxyError> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if !name.is_empty() && name.len() <= 253 && name.bytes().all(fine) { Ok(name) } else { Err(ProxyError::Host) }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let credentials = if self.credentials.is_some() { "***@" } else { "" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{credentials}{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyError::Scheme => "the proxy's scheme is neither http:// nor https://",
            ProxyError::Credentials => "the proxy's credentials are not user:password (write @ as %40)",
            ProxyError::Host => "the proxy's host is missing or is not a name or an address",
            ProxyError::Port => "the proxy's port is not a number from 1 to 65535",
        })
    }
}

impl core::error::Error for ProxyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    type Parts<'a> = (&'a str, u16, Option<&'a [u8]>);

    #[track_caller]
    fn check(text: &str, expected: Result<Option<Parts>, ProxyError>) {
        let found = Proxy::parse(text);
        let parts = found
            .as_ref()
            .map(|found| found.as_ref().map(|proxy| (proxy.host.as_str(), proxy.port, proxy.credentials.as_deref())));
        assert_eq!(parts, expected.as_ref().map(|parts| *parts), "{text:?}");
    }

    #[test]
    fn every_way_to_write_a_proxy_gives_host_and_port() {
        check("", Ok(None));
        check(" \n", Ok(None));
        check("\u{feff}\r\n", Ok(None));
        check("proxy", Ok(Some(("proxy", 80, None))));
        check("proxy\n", Ok(Some(("proxy", 80, None))));
        check("\u{feff}http://proxy:8080/\r\n", Ok(Some(("proxy", 8080, None))));
        check("http://proxy:3128", Ok(Some(("proxy", 3128, None))));
        check("https://proxy.example.com:8080/", Ok(Some(("proxy.example.com", 8080, None))));
        check("HTTP://10.0.0.1", Ok(Some(("10.0.0.1", 80, None))));
        check("https://proxy", Ok(Some(("proxy", 443, None))));
        check("[::1]:3128", Ok(Some(("::1", 3128, None))));
        check("http://[2001:db8::1]", Ok(Some(("2001:db8::1", 80, None))));
        check("HTTPS://[2001:db8::1]/", Ok(Some(("2001:db8::1", 443, None))));
    }

    #[test]
    fn only_https_means_tls_to_the_proxy() {
        let tls = |text| Proxy::parse(text).unwrap().unwrap().tls;
        assert!(tls("https://proxy") && tls("HTTPS://user:https://@proxy:3128"));
        assert!(!tls("http://proxy:443") && !tls("proxy:443") && !tls("https:https://@proxy"));
    }

    #[track_caller]
    fn check_credentials(written: &str, expected: &[u8]) {
        for scheme in ["", "http://", "https://"] {
            let proxy = Proxy::parse(&format!("{scheme}{written}@proxy:1")).unwrap().unwrap();
            assert_eq!((proxy.host.as_str(), proxy.credentials.as_deref()), ("proxy", Some(expected)), "{written}");
        }
    }

    #[test]
    fn odd_passwords_arrive_as_they_are_meant() {
        check_credentials("user:password", b"user:password");
        check_credentials("user:p:ss", b"user:p:ss");
        check_credentials("user:p%40ss%25%2f%3A", b"user:p@ss%/:");
        check_credentials("DOMAIN%5Cuser:x", b"DOMAIN\\user:x");
        check_credentials("user:100%", b"user:100%");
        check_credentials("user:%zz%4", b"user:%zz%4");
        check_credentials("user:p@ss", b"user:p@ss");
        check_credentials("user:p/s?s#", b"user:p/s?s#");
        check_credentials("user:a://b", b"user:a://b");
        check_credentials("user:a b+c", b"user:a b+c");
        check_credentials("user:\u{e4}", b"user:\xc3\xa4");
        check_credentials("user:%e4", b"user:\xe4");
        check_credentials("user:", b"user:");
    }

    #[test]
    fn what_a_cloud_tells_a_machine_never_comes_by_a_proxy() {
        for host in ["169.254.169.254", "169.254.0.1", "168.63.129.16"] {
            assert!(goes_past("", host), "{host}");
        }
        for host in
            ["169.255.169.254", "168.63.129.17", "127.0.0.1", "server.example", "169.254.169.254.example", "::1"]
        {
            assert!(!goes_past("", host), "{host}");
        }
        assert!(goes_past("example", "server.example"));
    }

    #[test]
    fn what_is_not_a_proxy_is_said_to_be_wrong() {
        check("socks5://proxy:1080", Err(ProxyError::Scheme));
        check("user@proxy", Err(ProxyError::Credentials));
        check(":password@proxy", Err(ProxyError::Credentials));
        check("user:a://b@socks5://proxy", Err(ProxyError::Port));
        check("user:password@", Err(ProxyError::Host));
        check("http://", Err(ProxyError::Host));
        check("a b", Err(ProxyError::Host));
        check("proxy\r\nX: y", Err(ProxyError::Host));
        check("[::1", Err(ProxyError::Host));
        check("[nonsense]:1", Err(ProxyError::Host));
        check("proxy:", Err(ProxyError::Port));
        check("proxy:0", Err(ProxyError::Port));
        check("proxy:65536", Err(ProxyError::Port));
        check("proxy:+80", Err(ProxyError::Port));
        check("proxy:80/path", Err(ProxyError::Port));
    }

    #[test]
    fn neither_user_nor_password_is_shown() {
        let proxy = Proxy::parse("http://user:secret@proxy:3128").unwrap().unwrap();
        assert_eq!(format!("{proxy}"), "http://***@proxy:3128");
        assert_eq!(format!("{proxy:?}"), "Proxy(http://***@proxy:3128)");
        let proxy = Proxy::parse("https://[::1]").unwrap().unwrap();
        assert_eq!(format!("{proxy}"), "https://[::1]:443");
    }
}
