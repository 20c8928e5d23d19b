//! Senders of numbered messages: UDP, TCP and a unix datagram socket at once. Each says afterwards what it got rid of.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The ways in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Udp,
    Tcp,
    Unix,
}

impl Way {
    /// All of them, in the order of their numbers.
    pub const ALL: [Way; 3] = [Way::Udp, Way::Tcp, Way::Unix];

    fn letter(self) -> char {
        ['u', 't', 'x'][self as usize]
    }
}

/// One message as its program writes it.
pub fn message(way: Way, number: usize) -> String {
    format!("<13>Nov 22 20:00:00 web01 app: {}={number} and some text that makes it as long as they are", way.letter())
}

/// Way and number of a message, also with its header.
pub fn number_in(text: &str) -> Option<(Way, usize)> {
    let text = text.rsplit_once("app: ").map_or(text, |(_, text)| text);
    let (letter, rest) = text.split_once('=')?;
    let way = Way::ALL.into_iter().find(|way| letter == way.letter().to_string())?;
    Some((way, rest.split(' ').next()?.parse().ok()?))
}

/// How fast each sender goes.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Messages sent together.
    pub burst: usize,
    /// Time between them.
    pub pause: Duration,
}

/// Where it goes.
pub struct Targets {
    pub udp_port: u16,
    pub tcp: TcpStream,
    pub unix: PathBuf,
}

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The number behind the last message that went out whole, by way.
    pub next: [usize; 3],
    /// Bytes that went into the connection; the last message of them may be a part of one.
    pub tcp_bytes: usize,
}

/// Senders at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    tcp_bytes: Arc<AtomicUsize>,
    threads: [JoinHandle<usize>; 3],
}

impl Load {
    /// Starts sending; `next` has the first number of each way.
    pub fn start(targets: Targets, next: [usize; 3], pace: Pace) -> Load {
        let stop: Arc<AtomicBool> = Arc::default();
        let tcp_bytes: Arc<AtomicUsize> = Arc::default();
        let count = tcp_bytes.clone();
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        let unix = UnixDatagram::unbound().expect("a socket");
        unix.set_nonblocking(true).expect("a setting");
        targets.tcp.set_nonblocking(true).expect("a setting");
        let sender = |way: Way, send: Box<dyn FnMut(&str) -> bool + Send>| {
            let (stop, first) = (stop.clone(), next[way as usize]);
            std::thread::spawn(move || run(way, first, pace, &stop, send))
        };
        let patient = |stop: &Arc<AtomicBool>| Patient(stop.clone());
        let (udp_port, unix_path, mut stream) = (targets.udp_port, targets.unix, targets.tcp);
        let (wait_udp, wait_tcp, wait_unix) = (patient(&stop), patient(&stop), patient(&stop));
        let threads = [
            sender(
                Way::Udp,
                Box::new(move |text| {
                    wait_udp.all(text.as_bytes(), |bytes| udp.send_to(bytes, (Ipv4Addr::LOCALHOST, udp_port)))
                }),
            ),
            sender(
                Way::Tcp,
                Box::new(move |text| match text {
                    "" => stream.shutdown(Shutdown::Write).is_ok(),
                    text => wait_tcp.all(format!("{text}\n").as_bytes(), |bytes| {
                        stream.write(bytes).inspect(|written| {
                            count.fetch_add(*written, Ordering::SeqCst);
                        })
                    }),
                }),
            ),
            sender(
                Way::Unix,
                Box::new(move |text| wait_unix.all(text.as_bytes(), |bytes| unix.send_to(bytes, &unix_path))),
            ),
        ];
        Load { stop, tcp_bytes, threads }
    }

    /// Stops.
    pub fn stop(self) -> Sent {
        self.stop.store(true, Ordering::SeqCst);
        let next = self.threads.map(|thread| thread.join().expect("a sender does not panic"));
        Sent { next, tcp_bytes: self.tcp_bytes.load(Ordering::SeqCst) }
    }
}

fn run(way: Way, first: usize, pace: Pace, stop: &AtomicBool, mut send: impl FnMut(&str) -> bool) -> usize {
    let mut number = first;
    'sending: while !stop.load(Ordering::SeqCst) {
        for _ in 0..pace.burst {
            if !send(&message(way, number)) {
                break 'sending;
            }
            number += 1;
        }
        std::thread::sleep(pace.pause);
    }
    if way == Way::Tcp {
        send("");
    }
    number
}

/// Sends until it is told to stop.
struct Patient(Arc<AtomicBool>);

impl Patient {
    /// Whether everything went out before the stop.
    fn all(&self, mut bytes: &[u8], mut send: impl FnMut(&[u8]) -> std::io::Result<usize>) -> bool {
        while !bytes.is_empty() {
            match send(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.0.load(Ordering::SeqCst) {
                        return false;
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false, // nobody there
            }
        }
        true
    }
}
