//! The proxy setting: `proxy.conf`'s one line, and `-p`.
//!
//! `[http://|https://][user:password@]host[:port]`, port 80 if none is given. `https://` does not mean TLS to the proxy: as in
//! the original, the scheme is only decoration. We also take what administrators write: a line end, one trailing slash, an
//! IPv6 address in brackets, and `%40` and the like in user and password. Anything else is an error, never "no proxy".

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// An HTTP proxy that is asked to CONNECT. Neither `Debug` nor `Display` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `user:password`, percent-decoded; `None`: the proxy asks for nothing.
    pub credentials: Option<String>,
}

/// What is wrong with a proxy setting; the text never holds the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyError {
    /// A scheme other than `http` and `https`.
    Scheme,
    /// User without password, or the other way round.
    Credentials,
    /// No host, or characters that no host has.
    Host,
    /// Not a number from 1 to 65535.
    Port,
}

impl Proxy {
    /// Reads a setting; `Ok(None)` if it is empty.
    pub fn parse(text: &str) -> Result<Option<Proxy>, ProxyError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let text = without_scheme(text)?;
        let text = text.strip_suffix('/').unwrap_or(text);
        let (credentials, host_port) = match text.rsplit_once('@') {
            Some((credentials, rest)) => (Some(parse_credentials(credentials)?), rest),
            None => (None, text),
        };
        let (host, port) = split_host_port(host_port)?;
        Ok(Some(Proxy { host: host.to_owned(), port, credentials }))
    }
}

fn without_scheme(text: &str) -> Result<&str, ProxyError> {
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(text) };
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if known { Ok(rest) } else { Err(ProxyError::Scheme) }
}

fn parse_credentials(text: &str) -> Result<String, ProxyError> {
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => percent_decoded(text),
        _ => Err(ProxyError::Credentials),
    }
}

/// `%XX` becomes its byte; a `%` that starts no such thing stays, as the original never decoded.
fn percent_decoded(text: &str) -> Result<String, ProxyError> {
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
    String::from_utf8(bytes).map_err(|_| ProxyError::Credentials)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn split_host_port(text: &str) -> Result<(&str, u16), ProxyError> {
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
    let port = match port {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().map_err(|_| ProxyError::Port)?,
        Some(_) => return Err(ProxyError::Port),
        None => 80,
    };
    if port == 0 { Err(ProxyError::Port) } else { Ok((host, port)) }
}

fn check_name(name: &str) -> Result<&str, ProxyError> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if !name.is_empty() && name.len() <= 253 && name.bytes().all(fine) { Ok(name) } else { Err(ProxyError::Host) }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.credentials.as_deref().and_then(|text| text.split(':').next());
        if let Some(user) = user {
            write!(f, "{user}:***@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
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

    type Parts<'a> = (&'a str, u16, Option<&'a str>);

    #[track_caller]
    fn check(text: &str, expected: Result<Option<Parts>, ProxyError>) {
        let found = Proxy::parse(text);
        let parts = found
            .as_ref()
            .map(|found| found.as_ref().map(|proxy| (proxy.host.as_str(), proxy.port, proxy.credentials.as_deref())));
        assert_eq!(parts, expected.as_ref().map(|parts| *parts), "{text:?}");
    }

    #[test]
    fn every_way_to_write_a_proxy_gives_host_port_and_credentials() {
        check("", Ok(None));
        check(" \n", Ok(None));
        check("proxy", Ok(Some(("proxy", 80, None))));
        check("proxy\n", Ok(Some(("proxy", 80, None))));
        check("http://proxy:3128", Ok(Some(("proxy", 3128, None))));
        check("https://proxy.example.com:8080/", Ok(Some(("proxy.example.com", 8080, None))));
        check("HTTP://10.0.0.1", Ok(Some(("10.0.0.1", 80, None))));
        check("user:p:ss@proxy:1", Ok(Some(("proxy", 1, Some("user:p:ss")))));
        check("http://user:p%40ss%25@proxy:1", Ok(Some(("proxy", 1, Some("user:p@ss%")))));
        check("http://user:100%@proxy:1", Ok(Some(("proxy", 1, Some("user:100%")))));
        check("http://user:p@ss@proxy", Ok(Some(("proxy", 80, Some("user:p@ss")))));
        check("[::1]:3128", Ok(Some(("::1", 3128, None))));
        check("http://[2001:db8::1]", Ok(Some(("2001:db8::1", 80, None))));
    }

    #[test]
    fn what_is_not_a_proxy_is_said_to_be_wrong() {
        check("socks5://proxy:1080", Err(ProxyError::Scheme));
        check("user@proxy", Err(ProxyError::Credentials));
        check(":password@proxy", Err(ProxyError::Credentials));
        check("user:%ff@proxy", Err(ProxyError::Credentials));
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
    fn the_password_is_never_shown() {
        let proxy = Proxy::parse("http://user:secret@proxy:3128").unwrap().unwrap();
        assert_eq!(format!("{proxy}"), "user:***@proxy:3128");
        assert_eq!(format!("{proxy:?}"), "Proxy(user:***@proxy:3128)");
    }
}
