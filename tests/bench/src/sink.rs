//! The service of the peers, with the work of the stand-in: TLS, HTTP, the body's UTF-8 checked, its records counted, their numbers followed.
//! Answers as Elasticsearch does to a bulk request, which is also an answer to any other POST.

use crate::messages::MARKER;
use omsd_standin::http::{Head, Wire};
use omsd_standin::{Numbers, tls};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\nContent-Length: 36\r\n\r\n\
    {\"took\":1,\"errors\":false,\"items\":[]}";
const WRONG: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

/// What has arrived.
#[derive(Debug, Default)]
pub struct Seen {
    /// The numbers behind the marker.
    pub numbers: Numbers,
    /// Bytes of bodies on the wire.
    pub wire_bytes: u64,
    /// What was wrong, a sentence each.
    pub complaints: Vec<String>,
}

/// A running service; it ends with the program.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate that clients must trust, PEM.
    pub ca_pem: String,
    seen: Arc<Mutex<Seen>>,
}

impl Sink {
    /// Makes certificates and listens. Fails where either cannot be done.
    pub fn start() -> io::Result<Self> {
        let tls = tls::make().map_err(|error| io::Error::other(error.to_string()))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, seen) = (tls.config.clone(), shared.clone());
                std::thread::spawn(move || serve(stream, config, &seen));
            }
        });
        Ok(Self { address, ca_pem: tls.ca_pem, seen })
    }

    /// What has arrived; the service waits while this is held.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no thread panicked")
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, seen: &Mutex<Seen>) {
    let _ = stream.set_nodelay(true);
    let Ok(tls) = ServerConnection::new(config) else { return };
    let mut wire = Wire::new(StreamOwned::new(tls, stream));
    let mut body = Vec::new();
    // A peer that leaves without a good-bye is none of our business.
    while let Ok(Some(head)) = wire.read_head() {
        if wire.read_body(&head, &mut body).is_err() {
            return;
        }
        let judged = if head.method == "POST" { judge(&head, &body) } else { Ok(Vec::new()) };
        let answer = if judged.is_ok() { ANSWER } else { WRONG };
        {
            let mut seen = seen.lock().expect("no thread panicked");
            match judged {
                Ok(numbers) => {
                    seen.wire_bytes += body.len() as u64;
                    numbers.into_iter().for_each(|number| seen.numbers.note(number));
                }
                Err(complaint) => seen.complaints.push(complaint),
            }
        }
        if wire.write(answer).is_err() || !head.keeps_alive() {
            return;
        }
    }
}

fn judge(head: &Head, body: &[u8]) -> Result<Vec<usize>, String> {
    if let Some(encoding) = head.header("content-encoding") {
        return Err(format!("a body in {encoding}, which no peer can do in the versions measured so far"));
    }
    std::str::from_utf8(body).map_err(|error| format!("the body is not UTF-8: {error}"))?;
    let records = memchr::memmem::find_iter(body, br#""ident":"#).count();
    let numbers = Numbers::found(body, MARKER);
    if records == numbers.len() {
        Ok(numbers)
    } else {
        Err(format!("{records} records with {} numbers", numbers.len()))
    }
}
