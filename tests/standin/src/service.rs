//! The service itself: connections, the judging of requests, the choice of answers, and the memory of it all.

use crate::answer::{Answer, Manner, Refusal};
use crate::azure::{Azure, Refused, Row};
use crate::http::{Head, Wire};
use crate::ods::{self, Item};
use crate::topology::{self, Agent, Fault, malformed};
use crate::wire::{self, Reply};
use crate::{Options, Request, Route, Seen, clock, ingestion, metadata, token};
use base64::prelude::{BASE64_STANDARD, Engine};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A connection on which nothing happens for so long is given up.
const IDLE: Duration = Duration::from_secs(300);

/// The answers to come.
#[derive(Default)]
pub struct Script {
    pub next: HashMap<Route, VecDeque<Answer>>,
    pub always: HashMap<Route, Answer>,
    pub refusals: Vec<Refusal>,
    pub told: topology::Told,
}

/// What all connections share.
pub struct Shared {
    pub options: Options,
    pub closing: AtomicBool,
    pub connections: Mutex<HashMap<u64, TcpStream>>,
    origin: String,
    keys: Vec<(String, Vec<u8>)>,
    tls: Arc<ServerConfig>,
    last_connection: AtomicU64,
    script: Mutex<Script>,
    request_ids: Mutex<HashSet<String>>,
    azure: Mutex<Azure>,
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Shared {
    pub fn new(options: Options, address: SocketAddr, tls: Arc<ServerConfig>) -> io::Result<Self> {
        let key = BASE64_STANDARD.decode(&options.shared_key).map_err(io::Error::other)?;
        Ok(Self {
            keys: vec![(options.workspace_id.clone(), key)],
            options,
            closing: AtomicBool::new(false),
            connections: Mutex::default(),
            origin: format!("https://{address}"),
            tls,
            last_connection: AtomicU64::new(0),
            script: Mutex::default(),
            request_ids: Mutex::default(),
            azure: Mutex::default(),
            seen: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.script.lock().expect("no thread panicked"))
    }

    pub fn azure<T>(&self, change: impl FnOnce(&mut Azure) -> T) -> T {
        change(&mut self.azure.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        // A test that fails while it looks poisons the lock; what it looked at is still whole.
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn wait(&self, timeout: Duration, mut condition: impl FnMut(&Seen) -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        let mut seen = self.seen();
        while !condition(&seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            seen = self.changed.wait_timeout(seen, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        true
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen());
        self.changed.notify_all();
    }

    fn now_s(&self) -> i64 {
        clock::now_s() + self.options.clock_offset_s
    }
}

/// Accepts until the stand-in closes.
pub fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for stream in listener.incoming() {
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = shared.clone();
        std::thread::spawn(move || {
            let number = shared.last_connection.fetch_add(1, Ordering::SeqCst) + 1;
            shared.note(|seen| seen.counts.connections += 1);
            if let Ok(copy) = stream.try_clone() {
                shared.connections.lock().expect("no thread panicked").insert(number, copy);
            }
            Connection { shared: &shared, number, body: Vec::new(), plain: Vec::new() }.serve(stream);
            shared.connections.lock().expect("no thread panicked").remove(&number);
        });
    }
}

/// How a client calls this service.
fn origin_of(head: &Head) -> String {
    format!("https://{}", head.header("host").unwrap_or_default())
}

/// Adds an agent, in place of the one with the same GUID.
pub fn remember(seen: &mut Seen, agent: Agent) {
    seen.agents.retain(|known| known.agent_guid != agent.agent_guid);
    seen.agents.push(agent);
}

/// Answers the metadata services' questions, one connection after another, until the stand-in closes.
pub fn accept_metadata(shared: &Arc<Shared>, listener: &TcpListener) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let shared = shared.clone();
        std::thread::spawn(move || {
            let _ = stream.set_read_timeout(Some(IDLE));
            let _ = answer_metadata(&shared, &mut Wire::new(stream));
        });
    }
}

fn answer_metadata(shared: &Arc<Shared>, wire: &mut Wire<TcpStream>) -> io::Result<()> {
    let Some(head) = wire.read_head()? else { return Ok(()) };
    let connection = Connection { shared, number: 0, body: Vec::new(), plain: Vec::new() };
    let answer = connection.next_answer(Route::Metadata);
    let judged = match answer.status {
        200 => shared.azure(|azure| metadata::answer(azure, &head)),
        _ => Ok(metadata::Said { status: answer.status, challenge: None, body: String::new() }),
    };
    let (reply, challenge, fault) = match judged {
        Ok(said) if said.status == 200 => (Reply::new(&answer, "application/json", said.body), None, None),
        Ok(said) => (Reply::refusal(said.status, answer.body.clone().unwrap_or(said.body)), said.challenge, None),
        Err(fault) => (Reply::refusal(fault.status, token::error_json(&fault)), None, Some(fault)),
    };
    connection.note_request(Route::Metadata, &head, (&reply, reply.status == 200, 0), fault, |_| {});
    let Some(challenge) = challenge else { return wire::send(wire, &reply, shared.now_s()) };
    let bytes = String::from_utf8_lossy(&reply.bytes(shared.now_s())).into_owned();
    let (status_line, rest) = bytes.split_once("\r\n").unwrap_or_default();
    wire.write(format!("{status_line}\r\nWWW-Authenticate: {challenge}\r\n{rest}").as_bytes())
}

type Tls = Wire<StreamOwned<ServerConnection, TcpStream>>;

/// One connection, and the buffers its requests share.
struct Connection<'a> {
    shared: &'a Shared,
    number: u64,
    body: Vec<u8>,
    plain: Vec<u8>,
}

/// What a good data request holds.
struct Load {
    records: usize,
    items: Vec<Item>,
}

impl Connection<'_> {
    fn serve(mut self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(IDLE));
        let _ = stream.set_write_timeout(Some(IDLE));
        let Ok(tls) = ServerConnection::new(self.shared.tls.clone()) else { return };
        let mut tls = StreamOwned::new(tls, stream);
        if let Err(error) = tls.conn.complete_io(&mut tls.sock) {
            self.shared.note(|seen| {
                seen.counts.handshakes_failed += 1;
                seen.handshake_errors.push(error.to_string());
            });
            return;
        }
        let mut wire = Wire::new(tls);
        while !self.shared.closing.load(Ordering::SeqCst) {
            match self.request(&mut wire) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.shared.note(|seen| seen.complaints.push(format!("connection {}: {error}", self.number)));
                    let fault = malformed(error.to_string());
                    let _ = wire.write(&Reply::fault(&fault).bytes(self.shared.now_s()));
                    break;
                }
                Err(_) => return, // the peer is gone; no good-bye
            }
        }
        wire.stream().conn.send_close_notify();
        let _ = wire.write(b"");
    }

    /// One request and its answer; whether another may follow on this connection.
    fn request(&mut self, wire: &mut Tls) -> io::Result<bool> {
        let Some(head) = wire.read_head()? else { return Ok(false) };
        let presented = wire.stream().conn.peer_certificates().and_then(|chain| chain.first()).map(|der| der.to_vec());
        let route = match (head.method.as_str(), head.path.as_str()) {
            ("POST", topology::PATH) if head.header("authorization").is_some() => Route::Topology,
            ("POST", topology::PATH) => Route::Heartbeat,
            ("POST", path) if path.ends_with(topology::RENEWAL_PATH) => Route::Renewal,
            ("POST", ods::PATH) => Route::Data,
            ("GET", "/standin/counts") => return self.counts(wire),
            ("GET", path) if token::discovery(path, "").is_some() => return self.discovery(wire, &head),
            ("POST", path) if token::is_path(path) => Route::Token,
            ("POST", path) if ingestion::is_path(path) => Route::Rows,
            ("POST", path) if ingestion::is_collector_path(path) => Route::Collector,
            (method, path) => {
                let fault = Fault { status: 404, reason: format!("{method} {path} is not served here") };
                return self.complain(wire, &fault);
            }
        };
        let answer = self.next_answer(route);
        if answer.manner == Manner::Reset {
            return Err(io::ErrorKind::ConnectionReset.into()); // dropped with bytes unread: the kernel sends a reset
        }
        if answer.manner == Manner::Early {
            self.body.clear();
            self.plain.clear();
            let mut request = self.summary(route, &head);
            request.status = answer.status;
            self.shared.note(|seen| seen.requests.push(request));
            wire.write(&Reply::new(&answer, "text/plain", String::new()).bytes(self.shared.now_s()))?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        wire.read_body(&head, &mut self.body)?;
        let reply = match route {
            Route::Topology | Route::Heartbeat => self.topology(route, &head, presented.as_deref(), &answer),
            Route::Renewal => self.renewal(&head, presented.as_deref(), &answer),
            Route::Data => self.data(&head, presented.as_deref(), answer),
            Route::Token => self.token(&head, &answer),
            Route::Rows | Route::Collector => self.rows(route, &head, answer),
            Route::Metadata => unreachable!("it is asked on another port"),
        };
        wire::send(wire, &reply, self.shared.now_s())?;
        Ok(head.keeps_alive() && reply.keeps_alive())
    }

    fn next_answer(&self, route: Route) -> Answer {
        self.shared.script(|script| match script.next.get_mut(&route).and_then(VecDeque::pop_front) {
            Some(answer) => answer,
            None => script.always.get(&route).cloned().unwrap_or_default(),
        })
    }

    fn topology(&mut self, route: Route, head: &Head, presented: Option<&[u8]>, answer: &Answer) -> Reply {
        let now_s = self.shared.now_s();
        let judged = if route == Route::Topology {
            topology::check(head, &self.body, presented, &self.shared.keys, now_s)
        } else {
            let known = self.shared.seen().agents.clone();
            topology::check_heartbeat(head, &self.body, presented, &known, now_s)
        };
        let told = self.shared.script(|script| script.told.clone());
        let taken = judged.is_ok() && answer.takes();
        let reply = match &judged {
            Ok(agent) => Reply::new(answer, "application/xml", topology::answer(agent, &self.shared.origin, &told)),
            Err(fault) if answer.status == 200 => Reply::fault(fault),
            Err(_) => Reply::new(answer, "text/plain", String::new()),
        };
        self.note_agent(self.summary(route, head), reply.status, judged, taken);
        reply
    }

    /// The agent is known by the new certificate as well, until its first heartbeat with it: from then on by that one alone.
    fn renewal(&mut self, head: &Head, presented: Option<&[u8]>, answer: &Answer) -> Reply {
        let known = self.shared.seen().agents.clone();
        let wanted = self.shared.script(|script| script.told.renewal_path.clone());
        let judged = if head.path == wanted {
            topology::check_renewal(head, &self.body, presented, &known)
        } else {
            Err(Fault { status: 404, reason: format!("announced at {}, not at {wanted}", head.path) })
        };
        let taken = judged.is_ok() && answer.takes();
        let reply = match &judged {
            Err(fault) if answer.status == 200 => Reply::fault(fault),
            _ => Reply::new(answer, "application/xml", String::new()),
        };
        self.note_agent(self.summary(Route::Renewal, head), reply.status, judged, taken);
        reply
    }

    /// Writes down a request by which an agent makes itself known, and the agent if it was taken.
    fn note_agent(&self, mut request: Request, status: u16, judged: Result<Agent, Fault>, taken: bool) {
        (request.status, request.taken) = (status, taken);
        self.shared.note(|seen| {
            seen.requests.push(request);
            match judged {
                Ok(agent) if taken => remember(seen, agent),
                Ok(_) => {}
                Err(fault) => seen.refusals.push(fault.reason),
            }
        });
    }

    fn data(&mut self, head: &Head, presented: Option<&[u8]>, answer: Answer) -> Reply {
        let judged = self.judge_data(head, presented);
        let answer = match &judged {
            Ok(_) => self.refusal_instead(answer),
            Err(_) => answer,
        };
        let taken = judged.is_ok() && answer.takes();
        let reply = match &judged {
            Err(fault) if answer.status == 200 => Reply::fault(fault),
            _ => Reply::new(&answer, "text/plain", String::new()),
        };
        let mut request = self.summary(Route::Data, head);
        (request.status, request.taken) = (reply.status, taken);
        request.records = judged.as_ref().map_or(0, |load| load.records);
        let mut numbers = None;
        if taken && !self.shared.options.marker.is_empty() {
            // Off the lock: the marker is looked for in a megabyte.
            numbers = Some(crate::Numbers::found(&self.plain, &self.shared.options.marker));
        }
        self.shared.note(|seen| {
            seen.counts.requests += 1;
            match judged {
                Ok(load) if taken => {
                    seen.counts.taken += 1;
                    seen.counts.records += load.records as u64;
                    seen.counts.body_bytes += request.body_bytes as u64;
                    seen.counts.wire_bytes += request.wire_bytes as u64;
                    seen.items.extend(load.items);
                    numbers.into_iter().flatten().for_each(|number| seen.numbers.note(number));
                }
                Ok(_) => {}
                Err(fault) => seen.complaints.push(format!("data request: {} ({})", fault.reason, fault.status)),
            }
            seen.requests.push(request);
        });
        reply
    }

    fn token(&mut self, head: &Head, answer: &Answer) -> Reply {
        let (now_s, origin) = (self.shared.now_s(), origin_of(head));
        let given = match answer.status {
            200 => self.shared.azure(|azure| token::give(azure, head, &self.body, &origin, now_s)),
            _ => Ok(String::new()),
        };
        let reply = match &given {
            Ok(json) => Reply::new(answer, "application/json", json.clone()),
            Err(fault) => Reply::refusal(fault.status, token::error_json(fault)),
        };
        self.plain.clear();
        self.note_request(Route::Token, head, (&reply, given.is_ok() && answer.takes(), 0), given.err(), |_| {});
        reply
    }

    fn rows(&mut self, route: Route, head: &Head, answer: Answer) -> Reply {
        let keep = self.shared.options.keep_items;
        let judged = match route {
            Route::Rows => {
                let (body, plain) = (&self.body, &mut self.plain);
                self.shared.azure(|azure| ingestion::check(azure, head, body, plain, keep))
            }
            _ => {
                self.plain.clone_from(&self.body);
                let (workspace, key) = &self.shared.keys[0];
                ingestion::check_collector(workspace, key, head, &self.body, self.shared.now_s())
            }
        };
        let answer = if judged.is_ok() { self.refusal_instead(answer) } else { answer };
        let taken = judged.is_ok() && answer.takes();
        let reply = match &judged {
            Err(fault) if answer.status == 200 && route == Route::Rows => {
                Reply::refusal(fault.status, ingestion::error_json(fault))
            }
            Err(fault) if answer.status == 200 => Reply::refusal(fault.status, ingestion::collector_error_json(fault)),
            _ if answer.status == 200 && answer.manner == Manner::Plain && route == Route::Rows => {
                Reply::new(&Answer { status: 204, ..answer }, "application/json", String::new())
            }
            _ => Reply::new(&answer, "application/json", String::new()),
        };
        let numbers = (taken && !self.shared.options.marker.is_empty())
            .then(|| crate::Numbers::found(&self.plain, &self.shared.options.marker));
        let sizes = (self.plain.len() as u64, self.body.len() as u64);
        let (records, rows, fault): (_, Vec<Row>, _) = match judged {
            Ok(load) => (load.records, load.rows, None),
            Err(fault) => (0, Vec::new(), Some(fault)),
        };
        self.note_request(route, head, (&reply, taken, records), fault, |seen| {
            seen.counts.requests += 1;
            if taken {
                seen.counts.taken += 1;
                seen.counts.records += records as u64;
                seen.counts.body_bytes += sizes.0;
                seen.counts.wire_bytes += sizes.1;
                numbers.into_iter().flatten().for_each(|number| seen.numbers.note(number));
                seen.rows.extend(if keep { rows } else { Vec::new() });
            }
        });
        reply
    }

    fn note_request(
        &self,
        route: Route,
        head: &Head,
        (reply, taken, records): (&Reply, bool, usize),
        fault: Option<Refused>,
        also: impl FnOnce(&mut Seen),
    ) {
        let mut request = self.summary(route, head);
        (request.status, request.taken, request.records) = (reply.status, taken, records);
        self.shared.note(|seen| {
            also(seen);
            if let Some(fault) = fault {
                seen.complaints.push(format!("{route:?}: {} ({} {})", fault.reason, fault.status, fault.code));
            }
            seen.requests.push(request);
        });
    }

    fn judge_data(&mut self, head: &Head, presented: Option<&[u8]>) -> Result<Load, Fault> {
        self.plain.clear();
        let presented = presented.ok_or_else(|| topology::forbidden("no client certificate in TLS"))?;
        if !self.shared.seen().agents.iter().any(|agent| agent.has(presented)) {
            return Err(topology::forbidden("the certificate in TLS is of no onboarded agent"));
        }
        ods::check_headers(head)?;
        let id = head.header("x-request-id").unwrap_or_default();
        if !self.shared.request_ids.lock().expect("no thread panicked").insert(id.to_owned()) {
            return Err(malformed("this X-Request-ID was used before"));
        }
        ods::inflate(head, &self.body, &mut self.plain)?;
        if !self.shared.options.keep_items {
            return ods::count(&self.plain).map(|records| Load { records, items: Vec::new() });
        }
        ods::parse(&self.plain).map(|items| Load { records: items.len(), items })
    }

    /// The answer of the first refusal that applies to the body at hand; the one that was due then stays due.
    fn refusal_instead(&self, due: Answer) -> Answer {
        self.shared.script(|script| match script.refusals.iter().find(|refusal| refusal.when.applies(&self.plain)) {
            None => due,
            Some(refusal) => {
                let instead = refusal.answer.clone();
                if script.always.get(&Route::Data).unwrap_or(&Answer::default()) != &due {
                    script.next.entry(Route::Data).or_default().push_front(due);
                }
                instead
            }
        })
    }

    fn summary(&self, route: Route, head: &Head) -> Request {
        Request {
            route,
            connection: self.number,
            at: Instant::now(),
            status: 0,
            taken: false,
            retry_count: head.header("x-ms-client-request-retry-count").and_then(|text| text.parse().ok()).unwrap_or(0),
            records: 0,
            body_bytes: self.plain.len(),
            wire_bytes: self.body.len(),
        }
    }

    fn complain(&self, wire: &mut Tls, fault: &Fault) -> io::Result<bool> {
        self.shared.note(|seen| seen.complaints.push(fault.reason.clone()));
        wire.write(&Reply::fault(fault).bytes(self.shared.now_s()))?;
        Ok(false)
    }

    fn discovery(&self, wire: &mut Tls, head: &Head) -> io::Result<bool> {
        let body = token::discovery(&head.path, &origin_of(head)).unwrap_or_default();
        wire.write(&Reply::new(&Answer::default(), "application/json", body).bytes(self.shared.now_s()))?;
        Ok(head.keeps_alive())
    }

    /// For a person with curl: the sums as JSON.
    fn counts(&self, wire: &mut Tls) -> io::Result<bool> {
        let body = wire::counts_json(&self.shared.seen());
        let reply = Reply::new(&Answer::default(), "application/json", body);
        wire.write(&reply.bytes(self.shared.now_s()))?;
        Ok(true)
    }
}
