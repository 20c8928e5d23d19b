//! Why a request got no answer: whose fault it is and what the operator can do.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use std::io;

use rustls::CertificateError;

/// Why there is no answer. Each displays as one sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpsError {
    /// The request cannot be sent as it is: no `https://` URL, or a header that HTTP does not allow. Holds what is wrong.
    BadRequest(String),
    /// The additional certificate authorities cannot be used. Holds the file and what is wrong.
    Trust(String),
    /// The client certificate or its key cannot be used. Holds what is wrong.
    Identity(String),
    /// The name has no address, or the name server did not answer.
    NameNotFound {
        /// Whose name.
        hop: Hop,
        /// What the C library said.
        cause: String,
    },
    /// No TCP connection.
    NotReached {
        /// To whom.
        hop: Hop,
        /// What the system said.
        cause: String,
    },
    /// The proxy answered CONNECT with this status.
    ProxyRefused {
        /// The proxy.
        hop: Hop,
        /// Its HTTP status, never 2xx.
        status: u16,
    },
    /// The TLS handshake or a later TLS message failed.
    Tls(TlsFault),
    /// A time limit passed. Holds what was waited for.
    TimedOut(&'static str),
    /// The connection broke before the answer.
    ClosedEarly,
    /// What came is not an HTTP answer within our bounds. Holds what is wrong.
    Malformed(String),
}

/// One end of a TCP connection of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// `host:port`
    pub name: String,
    /// Whether it is the proxy rather than the server.
    pub is_proxy: bool,
}

/// What is wrong with the TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsFault {
    /// No trusted authority signed the server's certificate.
    UnknownIssuer,
    /// The server's certificate has expired, by our clock.
    Expired,
    /// The server's certificate is not valid yet, by our clock.
    NotYetValid,
    /// The server's certificate is for another name.
    WrongName,
    /// The server's certificate is bad in another way.
    Certificate(String),
    /// The server ended it with an alert, perhaps because of our certificate.
    Alert(String),
    /// The two sides share no approved protocol, suite, group or signature.
    NothingInCommon(String),
    /// Anything else: not TLS at all, a bad record.
    Broken(String),
}

impl From<ureq::Error> for HttpsError {
    fn from(error: ureq::Error) -> HttpsError {
        match error {
            ureq::Error::Other(ours) => match ours.downcast::<HttpsError>() {
                Ok(ours) => *ours,
                Err(other) => HttpsError::Malformed(other.to_string()),
            },
            ureq::Error::Io(error) => HttpsError::from_io(&error, "an answer"),
            ureq::Error::Timeout(phase) => HttpsError::TimedOut(awaited(phase)),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::RequireHttpsOnly(_) => {
                HttpsError::BadRequest(error.to_string())
            }
            ureq::Error::LargeResponseHeader(..) => {
                HttpsError::Malformed("its headers are larger than 8 KiB".to_owned())
            }
            other => HttpsError::Malformed(other.to_string()),
        }
    }
}

fn awaited(phase: ureq::Timeout) -> &'static str {
    match phase {
        ureq::Timeout::Resolve | ureq::Timeout::Connect => "a connection",
        ureq::Timeout::SendRequest | ureq::Timeout::SendBody => "the server to take the request",
        _ => "an answer",
    }
}

/// So that an error of ours passes through the HTTP library unchanged.
impl From<HttpsError> for ureq::Error {
    fn from(error: HttpsError) -> ureq::Error {
        ureq::Error::Other(Box::new(error))
    }
}

impl HttpsError {
    /// Reads what rustls hides in an I/O error; `awaited` completes "no ... in time".
    pub(super) fn from_io(error: &io::Error, awaited: &'static str) -> HttpsError {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return HttpsError::Tls(tls.into());
        }
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => HttpsError::TimedOut(awaited),
            io::ErrorKind::InvalidData => HttpsError::Malformed(error.to_string()),
            // Whatever else befalls a standing connection ends it: a reset, a broken pipe, a route that went away.
            _ => HttpsError::ClosedEarly,
        }
    }
}

impl From<&rustls::Error> for TlsFault {
    fn from(error: &rustls::Error) -> TlsFault {
        match error {
            rustls::Error::InvalidCertificate(reason) => reason.into(),
            rustls::Error::AlertReceived(alert) => TlsFault::Alert(format!("{alert:?}")),
            rustls::Error::PeerIncompatible(reason) => TlsFault::NothingInCommon(format!("{reason:?}")),
            other => TlsFault::Broken(other.to_string()),
        }
    }
}

impl From<&CertificateError> for TlsFault {
    fn from(reason: &CertificateError) -> TlsFault {
        match reason {
            CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongName,
            other => TlsFault::Certificate(other.to_string()),
        }
    }
}

impl fmt::Display for HttpsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpsError::BadRequest(what) => write!(f, "the request cannot be sent as configured: {what}"),
            HttpsError::Trust(what) => write!(f, "cannot use the certificate authorities in {what}"),
            HttpsError::Identity(what) => write!(f, "cannot use the client certificate: {what}; onboard again"),
            HttpsError::NameNotFound { hop, cause } => {
                let advice = if hop.is_proxy {
                    "check the proxy setting and DNS"
                } else {
                    "check the workspace id, the domain and DNS"
                };
                write!(f, "the name of {hop} was not found ({cause}): {advice}")
            }
            HttpsError::NotReached { hop, cause } => {
                let advice =
                    if hop.is_proxy { "check the proxy setting" } else { "check firewall and route, or set a proxy" };
                write!(f, "{hop} was not reached ({cause}): {advice}")
            }
            HttpsError::ProxyRefused { hop, status: 407 } => {
                write!(f, "{hop} wants another user and password (407): set user:password@ in the proxy setting")
            }
            HttpsError::ProxyRefused { hop, status } if *status >= 500 => {
                write!(f, "{hop} could not reach the server ({status}): ask whoever runs the proxy")
            }
            HttpsError::ProxyRefused { hop, status } => {
                write!(f, "{hop} refuses to connect to the server ({status}): have it allowed there")
            }
            HttpsError::Tls(fault) => write!(f, "{fault}"),
            HttpsError::TimedOut(awaited) => {
                write!(f, "waited too long for {awaited}: network, proxy or service is slow")
            }
            HttpsError::ClosedEarly => {
                f.write_str("the connection was closed before the answer: network, proxy or service")
            }
            HttpsError::Malformed(what) => write!(f, "what came back is not an answer we can read: {what}"),
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_proxy { "the proxy " } else { "" }, self.name)
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsFault::UnknownIssuer => f.write_str(
                "no authority trusted on this host signed the server's certificate: update the host's CA bundle, or, \
                 if a proxy opens TLS on its way, name its CA in ca_file",
            ),
            TlsFault::Expired => f.write_str(
                "the server's certificate has expired by this host's clock: check the clock, then the server",
            ),
            TlsFault::NotYetValid => {
                f.write_str("the server's certificate is not valid yet by this host's clock: check the clock")
            }
            TlsFault::WrongName => {
                f.write_str("the server's certificate is for another name: check endpoint, DNS and proxy")
            }
            TlsFault::Certificate(what) => write!(f, "the server's certificate is refused: {what}"),
            TlsFault::Alert(what) => {
                write!(f, "the server ended TLS ({what}): if it refuses our certificate, onboard again")
            }
            TlsFault::NothingInCommon(what) => write!(f, "the server offers no TLS that is approved here ({what})"),
            TlsFault::Broken(what) => write!(f, "TLS failed ({what}): is the endpoint really an https:// one?"),
        }
    }
}

impl core::error::Error for HttpsError {}
