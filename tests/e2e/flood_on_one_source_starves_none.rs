//! One sender floods omsd over TCP as fast as it can, another sends a message a moment over UDP and a third over a unix socket. None of the quiet
//! senders' messages is lost or late.

use crate::harness::{Site, Source};
use omsd_standin::Options;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const QUIET: u32 = 200;

#[test]
fn quiet_senders_are_heard() {
    // Counting, and following the numbers of the quiet senders only.
    let site = Site::with(Options { keep_items: false, marker: "quiet=".to_owned(), ..Options::default() });
    let (flooded, udp) = (Source::tcp(), Source::udp());
    site.configure(&[flooded, udp, Source::UnixDatagram], "buffer_size 64m");
    let _omsd = site.start();
    let stop = Arc::new(AtomicBool::new(false));
    let flooded_lines = Arc::new(AtomicU64::new(0));
    let floods: Vec<_> = (0..2).map(|_| flood(flooded.port(), stop.clone(), flooded_lines.clone())).collect();

    let network = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let local = UnixDatagram::unbound().expect("a socket");
    for number in 0..QUIET {
        let message = |number| format!("<13>Nov 22 20:00:00 web01 quiet: quiet={number}");
        network.send_to(message(2 * number).as_bytes(), (Ipv4Addr::LOCALHOST, udp.port())).expect("it is sent");
        local.send_to(message(2 * number + 1).as_bytes(), site.socket()).expect("omsd takes it");
        std::thread::sleep(Duration::from_millis(10));
    }
    // The flood goes on until the quiet messages are through: they do not wait for its end.
    let heard = site.standin.wait(crate::harness::PATIENCE, |seen| seen.numbers.unique() == u64::from(2 * QUIET));
    stop.store(true, Ordering::SeqCst);
    floods.into_iter().for_each(|flood| flood.join().expect("the flood ends"));
    let seen = site.standin.seen();
    assert!(heard, "missing {:?}, {:?}", seen.numbers.missing(400, 9), seen.counts);
    assert_eq!(seen.numbers.duplicates(), 0);
    assert_eq!(seen.complaints, [""; 0]);
    let flooded = flooded_lines.load(Ordering::SeqCst);
    assert!(flooded > 100 * u64::from(QUIET), "that was no flood: {flooded}");
}

fn flood(port: u16, stop: Arc<AtomicBool>, lines: Arc<AtomicU64>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("omsd listens");
        stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        let block = "<13>Nov 22 20:00:00 web01 flood: one of a great many lines that nobody reads\n".repeat(500);
        let mut sent = 0;
        while !stop.load(Ordering::SeqCst) {
            // omsd may hold a stream back while its ring is full: go on from where it stopped.
            match stream.write(&block.as_bytes()[sent..]) {
                Ok(count) => sent += count,
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                }
                Err(error) => panic!("the flood broke off: {error}"),
            }
            if sent == block.len() {
                lines.fetch_add(500, Ordering::SeqCst);
                sent = 0;
            }
        }
    })
}
