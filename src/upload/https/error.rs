//! Why a request got no answer: whose fault it is and what the operator can do.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};

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
    /// The proxy wants to know its user (407), but not by a password that is sent to it (Basic).
    ProxyLogin {
        /// The proxy.
        hop: Hop,
        /// The ways that it offers.
        offered: String,
    },
    /// What should be the proxy does not speak as its setting says.
    NotSuchAProxy {
        /// The proxy.
        hop: Hop,
        /// Whether the setting says https.
        tls: bool,
        /// What it did instead.
        cause: String,
    },
    /// TLS with the proxy itself failed.
    ProxyTls {
        /// The proxy.
        hop: Hop,
        /// Why.
        fault: TlsFault,
    },
    /// The TLS handshake with the server or a later TLS message failed.
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

/// What is wrong with a TLS connection; "the server" is the peer, which may be a proxy.
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
    /// The server ended it because of our certificate, or because we showed none. Holds its alert.
    OurCertificate(String),
    /// The server ended it with another alert.
    Alert(String),
    /// The two sides share no approved protocol, suite, group or signature.
    NothingInCommon(String),
    /// The server does what TLS does not allow.
    Misbehaved(String),
    /// Not TLS at all, a bad record.
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
    /// Whether the server may have acted on the request all the same: it was sent, and what came of it is not known.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, HttpsError::ClosedEarly | HttpsError::TimedOut("an answer"))
    }

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

impl HttpsError {
    /// This error of a handshake, if it was one with a proxy.
    pub(super) fn of_proxy_handshake(self, hop: &Hop) -> HttpsError {
        let not_tls = |cause| HttpsError::NotSuchAProxy { hop: hop.clone(), tls: true, cause };
        match self {
            HttpsError::Tls(TlsFault::Broken(cause)) => not_tls(cause),
            HttpsError::ClosedEarly => not_tls("it closed the connection".to_owned()),
            HttpsError::Tls(fault) => HttpsError::ProxyTls { hop: hop.clone(), fault },
            other => other,
        }
    }

    /// This error of asking a proxy for a tunnel.
    pub(super) fn of_tunnel(self, hop: &Hop) -> HttpsError {
        let no_proxy = |cause| HttpsError::NotSuchAProxy { hop: hop.clone(), tls: false, cause };
        match self {
            HttpsError::Malformed(cause) => no_proxy(cause),
            HttpsError::ClosedEarly => no_proxy("it closed the connection without an answer".to_owned()),
            HttpsError::Tls(fault) => HttpsError::ProxyTls { hop: hop.clone(), fault },
            other => other,
        }
    }
}

impl From<&rustls::Error> for TlsFault {
    fn from(error: &rustls::Error) -> TlsFault {
        match error {
            rustls::Error::InvalidCertificate(reason) => reason.into(),
            rustls::Error::AlertReceived(alert) => of_alert(*alert),
            rustls::Error::PeerIncompatible(reason) => TlsFault::NothingInCommon(format!("{reason:?}")),
            rustls::Error::InvalidMessage(_) => TlsFault::Broken(error.to_string()),
            other => TlsFault::Misbehaved(other.to_string()),
        }
    }
}

/// Source: RFC 8446 section 6.2, RFC 5246 section 7.2.2.
fn of_alert(alert: AlertDescription) -> TlsFault {
    use AlertDescription as Alert;
    let name = format!("{alert:?}");
    match alert {
        Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            TlsFault::NothingInCommon(name)
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::CertificateRequired => TlsFault::OurCertificate(name),
        _ => TlsFault::Alert(name),
    }
}

impl From<&CertificateError> for TlsFault {
    fn from(reason: &CertificateError) -> TlsFault {
        match reason {
            CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongName,
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                TlsFault::Certificate("not signed by an approved algorithm, RSA or ECDSA with SHA-2".to_owned())
            }
            // The library does not tell the two apart.
            CertificateError::BadSignature => {
                TlsFault::Certificate("a bad signature, or an RSA key of fewer than 2,048 bits".to_owned())
            }
            CertificateError::InvalidPurposeContext { .. } => {
                TlsFault::Certificate("it is none for servers".to_owned())
            }
            CertificateError::Other(other) => TlsFault::Certificate(other.0.to_string()),
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
                write!(
                    f,
                    "{hop} asks for a user and a password, or others than are set (407): write them as user:password@ in the proxy setting"
                )
            }
            HttpsError::ProxyRefused { hop, status } if *status >= 500 => {
                write!(f, "{hop} could not reach the server ({status}): ask whoever runs the proxy")
            }
            HttpsError::ProxyRefused { hop, status } => {
                write!(f, "{hop} refuses to connect to the server ({status}): have it allowed there")
            }
            HttpsError::ProxyLogin { hop, offered } => {
                write!(
                    f,
                    "{hop} asks for a user by {offered} (407), but omsd knows only Basic: have that, or this host, allowed there"
                )
            }
            HttpsError::NotSuchAProxy { hop, tls: true, cause } => {
                write!(
                    f,
                    "{hop} does not speak TLS ({cause}): write http:// in the proxy setting, or the port of its TLS"
                )
            }
            HttpsError::NotSuchAProxy { hop, tls: false, cause } => {
                write!(f, "{hop} is no HTTP proxy ({cause}): check its port, and write https:// if it wants TLS")
            }
            HttpsError::ProxyTls { hop, fault } => fault.tell(hop, f),
            HttpsError::Tls(fault) => fault.tell(&"the server", f),
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

impl TlsFault {
    /// Says it of `who`, the peer.
    fn tell(&self, who: &dyn fmt::Display, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsFault::UnknownIssuer => write!(
                f,
                "no authority trusted on this host signed the certificate of {who}: update the host's CA bundle, or, if it \
                 is a CA of your own, or a proxy opens TLS on its way, name the CA in ca_file",
            ),
            TlsFault::Expired => {
                write!(f, "the certificate of {who} has expired by this host's clock: check the clock, then the server")
            }
            TlsFault::NotYetValid => {
                write!(f, "the certificate of {who} is not valid yet by this host's clock: check the clock")
            }
            TlsFault::WrongName => {
                write!(f, "the certificate of {who} is for another name: check endpoint, DNS and proxy")
            }
            TlsFault::Certificate(what) => {
                write!(f, "the certificate of {who} is refused ({what}): whoever runs it must replace it")
            }
            TlsFault::OurCertificate(what) => {
                write!(
                    f,
                    "{who} refuses this agent's certificate ({what}): check this host's clock, then onboard again"
                )
            }
            TlsFault::Alert(what) => write!(f, "{who} ended TLS ({what}): ask whoever runs it"),
            TlsFault::NothingInCommon(what) => write!(
                f,
                "{who} offers no TLS that is approved here ({what}): it needs TLS 1.3, or 1.2 with extended master secret, \
                 AES-GCM, P-256 or P-384, and SHA-2",
            ),
            TlsFault::Misbehaved(what) => {
                write!(f, "{who} breaks the rules of TLS ({what}): ask whoever runs it, or a proxy on the way")
            }
            TlsFault::Broken(what) => {
                write!(f, "TLS with {who} failed ({what}): is the endpoint really an https:// one?")
            }
        }
    }
}

impl core::error::Error for HttpsError {}
