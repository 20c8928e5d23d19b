//! The one door to ureq and rustls: POST requests over verified TLS, by whatever proxy, with bounds on time and memory.
//!
//! ```text
//!  Client::post ─> ureq (HTTP/1.1, one connection kept alive) ─> names: addresses ─> line: TCP ─> CONNECT ─> TLS
//!                                                               tls:  approved algorithms, client identity
//!                                                               trust: whose certificates are believed
//! ```
//!
//! No thread is ever started: ureq's own resolver would start one, so `names` brings ours. Redirects are not followed, the
//! environment's proxy variables are not looked at, the server's certificate is always verified.

mod answer;
mod error;
mod line;
mod names;
mod notes;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
mod trust;

pub use answer::{Answer, retry_after_s, unix_from_http_date};
pub use error::{Hop, HttpsError, TlsFault};
pub use line::tunnel_status;
pub use notes::Notes;
pub use tls::{fips, fitting_key};

use alloc::borrow::ToOwned;
use alloc::sync::Arc;
use core::time::Duration;
use std::path::Path;

use crate::limits;
use crate::upload::proxy::Proxy;

/// What a [`Client`] is made from.
#[derive(Default)]
pub struct Options<'a> {
    /// The certificate and key shown to the server, both PEM.
    pub identity: Option<Identity<'a>>,
    /// PEM file of certificate authorities trusted in addition to the system's.
    pub ca_file: Option<&'a Path>,
    /// Where to go first, if not to the server itself.
    pub proxy: Option<Proxy>,
    /// Hosts that are reached without the proxy, as [`crate::config::hosts`] reads them.
    pub no_proxy: &'a str,
}

/// A client certificate with its key.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    /// PEM, the certificate first, then its chain if it has one.
    pub certificate_pem: &'a [u8],
    /// PEM: an RSA key of 2048 bits or more, PKCS#1 or PKCS#8.
    pub key_pem: &'a [u8],
}

/// Times in milliseconds after which a request is given up. [`Limits::default`] is what `limits.rs` says.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the connection stands, TLS included; the lookup of its name is not part of it.
    pub connect_ms: u64,
    /// From the sent request to the answer's headers.
    pub answer_ms: u64,
    /// From the headers to the end of the body.
    pub body_ms: u64,
    /// All together.
    pub request_ms: u64,
}

impl Limits {
    /// Of a request of `omsd check`, which somebody waits for.
    pub const CHECK: Limits = Limits {
        connect_ms: limits::CHECK_CONNECT_MS_MAX,
        answer_ms: limits::CHECK_ANSWER_MS_MAX,
        body_ms: limits::CHECK_ANSWER_MS_MAX,
        request_ms: limits::CHECK_REQUEST_MS_MAX,
    };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect_ms: limits::CONNECT_MS_MAX,
            answer_ms: limits::ANSWER_MS_MAX,
            body_ms: limits::ANSWER_BODY_MS_MAX,
            request_ms: limits::REQUEST_MS_MAX,
        }
    }
}

/// Posts to one or more servers, one request at a time; keeps the last connection for the next request.
pub struct Client {
    agent: ureq::Agent,
    notes: notes::Shared,
}

impl Client {
    /// Reads the trusted certificates and the identity; opens no connection.
    /// Fails with [`HttpsError::Trust`] or [`HttpsError::Identity`].
    pub fn new(options: Options) -> Result<Client, HttpsError> {
        Client::with_limits(options, Limits::default())
    }

    /// As [`Client::new`], with other times.
    pub fn with_limits(options: Options, limits: Limits) -> Result<Client, HttpsError> {
        let roots = Arc::new(trust::roots(options.ca_file)?);
        let notes = notes::Shared::default();
        let tls = tls::configuration(roots.clone(), options.identity, &notes)?;
        // The proxy is nobody whom our certificate concerns.
        let wants_tls = options.proxy.as_ref().is_some_and(|proxy| proxy.tls);
        let proxy_tls = if wants_tls { Some(Arc::new(tls::configuration(roots, None, &notes)?)) } else { None };
        let route = line::Route { proxy: options.proxy, no_proxy: options.no_proxy.to_owned(), notes: notes.clone() };
        let route = Arc::new(route);
        let connector = line::Connector { tls: Arc::new(tls), proxy_tls, route: route.clone() };
        let resolver = names::FirstHop { route };
        Ok(Client { agent: ureq::Agent::with_parts(configuration(limits), connector, resolver), notes })
    }

    /// Posts `body` to an `https://` URL and gives whatever the server answers, whatever its status. `Host`,
    /// `Content-Length` and `Accept: */*` are added to `headers`.
    pub fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, HttpsError> {
        self.send(self.agent.post(url), headers, body)
    }

    /// As [`Client::post`], but all together within so many milliseconds.
    pub fn post_within(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        request_ms: u64,
    ) -> Result<Answer, HttpsError> {
        let limit = Some(Duration::from_millis(request_ms));
        self.send(self.agent.post(url).config().timeout_global(limit).build(), headers, body)
    }

    /// What was seen on the way of the last connection.
    pub fn notes(&self) -> Notes {
        self.notes.notes()
    }

    fn send(
        &self,
        mut request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, HttpsError> {
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send(body).map_err(HttpsError::from)?;
        Ok(Answer::read(response))
    }
}

fn configuration(limits: Limits) -> ureq::config::Config {
    let after = |ms| Some(Duration::from_millis(ms));
    ureq::config::Config::builder()
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent("")
        .accept_encoding("identity".to_owned())
        .input_buffer_size(limits::HTTP_BUFFER_BYTES)
        .output_buffer_size(limits::HTTP_BUFFER_BYTES)
        .max_response_header_size(limits::ANSWER_HEADER_BYTES_MAX)
        .max_idle_connections(1)
        .max_idle_connections_per_host(1)
        .timeout_connect(after(limits.connect_ms))
        .timeout_recv_response(after(limits.answer_ms))
        .timeout_recv_body(after(limits.body_ms))
        .timeout_global(after(limits.request_ms))
        .build()
}
