//! A stand-in for Azure Monitor: it checks what the service checks, remembers what it took, and misbehaves when told to.
//!
//! ```text
//!  tls.rs       own authority, server certificate, client certificate asked for
//!  http.rs      header and body off the wire
//!  topology.rs  the onboarding request and its answer
//!  ods.rs       the data request: headers, zlib, JSON, items
//!  token.rs     the token endpoint            ingestion.rs  the Logs Ingestion API, and the Data Collector API
//!  metadata.rs  the metadata services of a VM and of Azure Arc, by plain HTTP            azure.rs  what these have in common
//!  answer.rs    what is answered, in which manner        wire.rs  putting it on the wire
//!  numbers.rs   which numbered messages arrived          clock.rs civil time
//! ```
//!
//! One thread a connection, one for the listener. Nothing is ever believed that was not checked: a request that departs from the
//! protocol gets the status it earned and leaves a complaint, and a test that ends with complaints has found a defect.

pub mod answer;
pub mod azure;
pub mod clock;
pub mod http;
pub mod ingestion;
pub mod metadata;
pub mod numbers;
pub mod ods;
mod service;
pub mod tls;
pub mod token;
pub mod topology;
mod wire;

pub use answer::{Answer, Manner, Refusal, RefuseWhen};
pub use azure::{Azure, Row};
pub use http::Head;
pub use numbers::Numbers;
pub use ods::Item;
pub use serde_json;
pub use topology::{Agent, Told};

use base64::prelude::{BASE64_STANDARD, Engine};
use service::Shared;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a stand-in is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0: a free one.
    pub address: SocketAddr,
    /// The one workspace it knows.
    pub workspace_id: String,
    /// That workspace's shared key, base64.
    pub shared_key: String,
    /// Keep and check every item (`true`), or only count them, for loads where the stand-in must stay cheap.
    pub keep_items: bool,
    /// What stands in front of the number of a numbered message; empty: numbers are not followed.
    pub marker: String,
    /// How far the service's clock is ahead, in seconds: `Date` headers and the check of `x-ms-Date`.
    pub clock_offset_s: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            workspace_id: "5f3a1c0e-7b64-4d0e-9c1f-2a6b8d9e4f10".to_owned(),
            shared_key: BASE64_STANDARD.encode([0x5a; 64]),
            keep_items: true,
            marker: String::new(),
            clock_offset_s: 0,
        }
    }
}

/// The kinds of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// Onboarding.
    Topology,
    /// A topology heartbeat: the same address, known by the certificate and not signed.
    Heartbeat,
    /// A new certificate is announced.
    Renewal,
    /// Records.
    Data,
    /// A token for an application.
    Token,
    /// Rows, by the Logs Ingestion API.
    Rows,
    /// Rows, by the HTTP Data Collector API.
    Collector,
    /// A token for a machine.
    Metadata,
}

/// One request that was read to its end, or answered at its header ([`Manner::Early`]).
#[derive(Debug, Clone)]
pub struct Request {
    /// Its kind.
    pub route: Route,
    /// Which connection, counted from 1.
    pub connection: u64,
    /// When its last byte was in.
    pub at: Instant,
    /// Status of the answer that was chosen; the manner may have kept it from arriving.
    pub status: u16,
    /// Whether its records count as delivered.
    pub taken: bool,
    /// `x-ms-client-request-retry-count`
    pub retry_count: u32,
    /// Records in it; 0 where it was not understood.
    pub records: usize,
    /// Bytes of the body, uncompressed.
    pub body_bytes: usize,
    /// Bytes of the body on the wire.
    pub wire_bytes: usize,
}

/// Sums over everything that was taken, and over everything that was not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// TLS handshakes that failed.
    pub handshakes_failed: u64,
    /// Data requests read to their end.
    pub requests: u64,
    /// Data requests taken.
    pub taken: u64,
    /// Records in them.
    pub records: u64,
    /// Their bodies' bytes, uncompressed.
    pub body_bytes: u64,
    /// Their bodies' bytes on the wire.
    pub wire_bytes: u64,
}

/// Everything the stand-in has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Agents onboarded, each GUID once.
    pub agents: Vec<Agent>,
    /// Items taken, in order; empty in counting mode.
    pub items: Vec<Item>,
    /// Rows taken, in order; empty in counting mode.
    pub rows: Vec<Row>,
    /// Requests of all kinds, in order.
    pub requests: Vec<Request>,
    /// What was wrong with requests, a sentence each. Refused topology requests are not among them: a wrong key is no defect.
    pub complaints: Vec<String>,
    /// Why topology requests were refused.
    pub refusals: Vec<String>,
    /// Why handshakes failed.
    pub handshake_errors: Vec<String>,
    /// The sums.
    pub counts: Counts,
    /// The numbers of numbered messages taken.
    pub numbers: Numbers,
}

impl Seen {
    /// The messages of syslog items, in order.
    pub fn messages(&self) -> impl Iterator<Item = &str> {
        self.syslog().map(|item| item.text("Message"))
    }

    /// The items of performance counters, in order.
    pub fn perf(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.data_type == "LINUX_PERF_BLOB")
    }

    /// The sums as one line of JSON.
    pub fn counts_json(&self) -> String {
        wire::counts_json(self)
    }

    /// The rows of one stream, in order.
    pub fn rows_of<'s>(&'s self, stream: &'s str) -> impl Iterator<Item = &'s Row> {
        self.rows.iter().filter(move |row| row.stream == stream)
    }

    /// The requests of one kind, in order.
    pub fn requests_of(&self, route: Route) -> impl Iterator<Item = &Request> {
        self.requests.iter().filter(move |request| request.route == route)
    }

    /// The syslog items, in order.
    pub fn syslog(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.data_type == "LINUX_SYSLOGS_BLOB")
    }
}

/// A running stand-in. It ends when dropped.
pub struct Standin {
    shared: Arc<Shared>,
    address: SocketAddr,
    ca_pem: String,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl Standin {
    /// Makes certificates and listens. Fails where the address cannot be bound or certificates cannot be made.
    pub fn start(options: Options) -> io::Result<Self> {
        let tls = tls::make().map_err(|error| io::Error::other(error.to_string()))?;
        let listener = TcpListener::bind(options.address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options, address, tls.config)?);
        let standin = Self { shared, address, ca_pem: tls.ca_pem, acceptor: Mutex::new(None) };
        standin.listen(listener);
        Ok(standin)
    }

    /// What it was started with.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://address:port`
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The certificate that its clients must trust, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Appends to the answers for the next requests of this kind.
    pub fn answer_next(&self, route: Route, answers: impl IntoIterator<Item = Answer>) {
        self.shared.script(|script| script.next.entry(route).or_default().extend(answers));
    }

    /// Sets the answer for requests of this kind when no next one is due.
    pub fn answer_always(&self, route: Route, answer: Answer) {
        self.shared.script(|script| script.always.insert(route, answer));
    }

    /// Refuses data requests that are otherwise good. The first that applies counts.
    pub fn refuse(&self, refusal: Refusal) {
        self.shared.script(|script| script.refusals.push(refusal));
    }

    /// Forgets every answer and refusal set so far: all is well again.
    pub fn behave(&self) {
        self.shared.script(|script| *script = service::Script::default());
    }

    /// What topology requests are told from now on.
    pub fn tell(&self, told: topology::Told) {
        self.shared.script(|script| script.told = told);
    }

    /// Looks at, or changes, what is known of tenant, identities and rule.
    pub fn azure<T>(&self, change: impl FnOnce(&mut Azure) -> T) -> T {
        self.shared.azure(change)
    }

    /// Starts the metadata services of a VM and of Azure Arc: where they listen. They end with the program.
    pub fn start_metadata(&self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = self.shared.clone();
        std::thread::spawn(move || service::accept_metadata(&shared, &listener));
        Ok(address)
    }

    /// Takes an agent for onboarded without its asking, as the service would after an earlier request.
    pub fn adopt(&self, agent: Agent) {
        service::remember(&mut self.seen(), agent);
    }

    /// Everything seen so far; the stand-in waits while this is held.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen()
    }

    /// Waits until `condition` holds; `false` if it did not within `timeout`.
    pub fn wait(&self, timeout: Duration, condition: impl FnMut(&Seen) -> bool) -> bool {
        self.shared.wait(timeout, condition)
    }

    /// Ends every connection and refuses new ones, as a service that is down.
    pub fn close(&self) {
        let Some(acceptor) = self.acceptor.lock().expect("no thread panicked").take() else { return };
        self.shared.closing.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address)); // wakes the acceptor
        acceptor.join().expect("the acceptor does not panic");
        for (_, connection) in self.shared.connections.lock().expect("no thread panicked").drain() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Listens again on the same address after [`Standin::close`].
    pub fn open(&self) -> io::Result<()> {
        self.listen(TcpListener::bind(self.address)?);
        Ok(())
    }

    fn listen(&self, listener: TcpListener) {
        self.shared.closing.store(false, Ordering::SeqCst);
        let shared = self.shared.clone();
        let acceptor = std::thread::spawn(move || service::accept(&shared, &listener));
        *self.acceptor.lock().expect("no thread panicked") = Some(acceptor);
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.close();
    }
}
