//! Servers whose TLS is broken: silence, garbage, lies about what was agreed, messages without end, chains of certificates of 16 MB. And a good server of
//! openssl's on a line that breaks or spoils a byte, at every byte that it sends until TLS stands. omsd ends each try by itself within its time, stays up
//! and small, says what it was, and no request goes out.

use crate::harness::authority::{AUTHORITY, Certificates, Kind, SERVER};
use crate::harness::{Server, Site, Watch, at_the_same_time, run, wait_for};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A handshake may take 30 s; the rest of the time is the test machine's.
const TOLD_WITHIN: Duration = Duration::from_secs(50);
/// Resident memory of the daemon and of its child, each: less than the largest message.
const MEMORY_KB_MAX: u64 = 12 * 1024;

const CLOSED: &str = "the connection was closed before the answer";
const NOT_TLS: &str = "is the endpoint really an https:// one?";
const RULES: &str = "breaks the rules of TLS";
const LATE: &str = "waited too long for the TLS handshake";
const NOT_APPROVED: &str = "offers no TLS that is approved here";

/// What a server says once it has read the hello: first this, then that again and again.
struct Lie {
    first: Vec<u8>,
    again: Vec<u8>,
    pause: Duration,
    reason: &'static str,
}

#[test]
fn no_lie_hangs_grows_or_crashes_it() {
    let once = |name, first: Vec<u8>, reason| (name, Lie { first, again: Vec::new(), pause: Duration::ZERO, reason });
    let on_and_on =
        |name, first: Vec<u8>, again: Vec<u8>, reason| (name, Lie { first, again, pause: Duration::ZERO, reason });
    let slowly = |name, first: Vec<u8>, again: Vec<u8>, reason| {
        (name, Lie { first, again, pause: Duration::from_millis(20), reason })
    };
    let hello = |suite: [u8; 2], compression: u8, extensions: &[u8]| {
        record(22, &server_hello(*b"\x03\x03", [7; 32], suite, compression, extensions))
    };
    let gcm = [0xC0, 0x2F];
    let hello_1_3 =
        |random, extensions: &[u8]| record(22, &server_hello(*b"\x03\x03", random, [0x13, 0x01], 0, extensions));
    let agreed = hello(gcm, 0, EMS);
    let chain = |bytes: u32| {
        let length = bytes.to_be_bytes();
        record(22, &[11, length[1], length[2], length[3]])
    };
    let mut downgraded = [7; 32];
    downgraded[24..].copy_from_slice(b"DOWNGRD\x01");
    // RFC 8446 section 4.1.3: what a hello is that asks for another.
    let retry_random = [
        0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2, 0xA2,
        0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
    ];
    let retry_x25519 = b"\0\x2b\0\x02\x03\x04\0\x33\0\x02\0\x1d";
    let no_point = [&b"\0\x2b\0\x02\x03\x04\0\x33\0\x45\0\x17\0\x41\x04"[..], &[0x42; 64]].concat();
    let alert = |level: u8, what: u8| record(21, &[level, what]);
    at_the_same_time(
        vec![
            once("closes", vec![], CLOSED),
            once("closes in a header", vec![22, 3], CLOSED),
            once("closes in a record", vec![22, 3, 3, 0x40, 0, 2], CLOSED),
            slowly("silence", vec![], vec![], LATE),
            slowly("silence in a record", vec![22, 3, 3, 0x40, 0, 2], vec![], LATE),
            slowly("a byte at a time", vec![22, 3, 3, 0x40, 0], vec![2], LATE),
            once("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), NOT_TLS),
            once("SSH", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), NOT_TLS),
            on_and_on("zeros", vec![], vec![0; 16 * 1024], NOT_TLS),
            once("a record of 64 KB", [&[22, 3, 3, 0xff, 0xff][..], &[0; 0xffff]].concat(), NOT_TLS),
            once("an unknown kind of record", record(99, b"x"), NOT_TLS),
            once("data at once", record(23, b"HTTP/1.1 200 OK\r\n\r\n"), RULES),
            once("an empty hello", record(22, &[2, 0, 0, 0]), NOT_TLS),
            once("its own hello back", record(22, &[1, 0, 0, 0]), NOT_TLS),
            once("a suite that was not offered", hello([0xCC, 0xA8], 0, EMS), RULES),
            once("compression", hello(gcm, 1, EMS), RULES),
            once("no extended master secret", hello(gcm, 0, b""), NOT_APPROVED),
            once("an extension that was not offered", hello(gcm, 0, b"\0\x17\0\0\0\x10\0\x05\0\x03\x02h2"), RULES),
            once("the same extension twice", hello(gcm, 0, b"\0\x17\0\0\0\x17\0\0"), NOT_TLS),
            once("TLS 1.1", record(22, &server_hello(*b"\x03\x02", [7; 32], [0xC0, 0x13], 0, EMS)), NOT_APPROVED),
            once("a downgrade", record(22, &server_hello(*b"\x03\x03", downgraded, gcm, 0, EMS)), RULES),
            once("a retry with X25519", hello_1_3(retry_random, retry_x25519), RULES),
            once("a key that is no point", hello_1_3([7; 32], &no_point), RULES),
            once("finished at once", [agreed.clone(), record(20, &[1]), record(22, &[20, 0, 0, 12])].concat(), RULES),
            once("no certificate", [agreed.clone(), record(22, &[11, 0, 0, 3, 0, 0, 0])].concat(), CLOSED),
            on_and_on(
                "a chain of 16 MB",
                [agreed.clone(), chain(0xff_ffff)].concat(),
                record(22, &[0; 16 * 1024]),
                NOT_TLS,
            ),
            slowly(
                "a chain of 60 KB in records of a byte",
                [agreed.clone(), chain(60_000)].concat(),
                record(22, &[0]),
                LATE,
            ),
            on_and_on("requests for a hello", vec![], record(22, &[0, 0, 0, 0]), RULES),
            on_and_on("requests for a hello, later", agreed.clone(), record(22, &[0, 0, 0, 0]), RULES),
            on_and_on("empty records", vec![], record(22, &[]), NOT_TLS),
            on_and_on("hellos", vec![], agreed.clone(), RULES),
            on_and_on("changes of cipher", vec![], record(20, &[1]), RULES),
            on_and_on("warnings", vec![], alert(1, 90), "TLS"),
            once("no common ground", alert(2, 40), NOT_APPROVED),
            once("no such version", alert(2, 70), NOT_APPROVED),
            once("no such name", alert(2, 112), "ended TLS (UnrecognisedName)"),
            once("trouble of its own", alert(2, 80), "ended TLS (InternalError)"),
            once("our certificate", alert(2, 42), "refuses this agent's certificate (BadCertificate)"),
            once("an unknown alert", alert(2, 250), "ended TLS"),
        ],
        check_lie,
    );
}

fn check_lie(lie: Lie) {
    let reason = lie.reason;
    let port = listen(move |mut client| {
        let Some(session_id) = session_id(&mut client) else { return };
        let mut first = lie.first.clone();
        if let Some(at) = first.windows(SESSION_ID.len()).position(|part| part == SESSION_ID) {
            first[at..at + SESSION_ID.len()].copy_from_slice(&session_id);
        }
        let _ = client.write_all(&first);
        // Once omsd has closed, there is an error or an end.
        let _ = client.set_read_timeout(Some(Duration::from_millis(1)));
        while !lie.pause.is_zero() || !lie.again.is_empty() {
            let gone = client.write_all(&lie.again).is_err() || matches!(client.read(&mut [0; 64]), Ok(0));
            if gone {
                break;
            }
            thread::sleep(lie.pause);
        }
    });
    let site = Site::new();
    site.send_to(&format!("https://localhost:{port}"));
    site.configure(&[], "max_retry_wait 20m");
    site.add_heartbeat();
    let omsd = site.start();
    let watch = Watch::start(omsd.pid());
    wait_for(TOLD_WITHIN, "omsd says what it was", || omsd.stderr().contains("put off"));
    assert!(omsd.stderr().contains(reason), "{reason:?} is not in {}", omsd.stderr());
    assert!(!omsd.stderr().contains("child ended"), "{}", omsd.stderr());
    assert!(omsd.runs());
    let peak = watch.end_at_once();
    assert!(peak.parent_kb.max(peak.child_kb) <= MEMORY_KB_MAX, "{peak:?}");
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a record");
    [&[kind, 3, 3][..], &length.to_be_bytes(), content].concat()
}

/// Extended master secret.
const EMS: &[u8] = b"\0\x17\0\0";

/// Stands for what the client has sent.
const SESSION_ID: [u8; 32] = [0xEE; 32];

/// Source: RFC 5246 section 7.4.1.3.
fn server_hello(version: [u8; 2], random: [u8; 32], suite: [u8; 2], compression: u8, extensions: &[u8]) -> Vec<u8> {
    let length = u16::try_from(extensions.len()).expect("few extensions").to_be_bytes();
    // TLS 1.3 wants it back, 1.2 must not have it back.
    let session_id = if suite[0] == 0x13 { SESSION_ID } else { [5; 32] };
    let body = [&version[..], &random, &[32], &session_id, &suite, &[compression], &length, extensions].concat();
    let length = u32::try_from(body.len()).expect("a short hello").to_be_bytes();
    [&[2][..], &length[1..], &body].concat()
}

/// Reads a hello; `None` if none comes.
fn session_id(client: &mut TcpStream) -> Option<[u8; 32]> {
    let mut header = [0; 5];
    client.read_exact(&mut header).ok()?;
    let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    client.read_exact(&mut hello).ok()?;
    // Kind and length, version, random; the length, 32.
    hello.get(4 + 2 + 32 + 1..)?.first_chunk().copied()
}

/// Serves each connection in a thread of its own.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(client));
        }
    });
    port
}

/// What becomes of the byte at one place of what the server sends.
#[derive(Clone, Copy)]
enum Spoil {
    Cut,
    Flip,
}

/// Each worker takes the next place; TLS 1.2 and 1.3 by turns.
#[test]
fn a_line_that_breaks_or_lies_at_any_byte_is_an_error_soon() {
    let made = Certificates::new();
    made.make("root", "root", &Kind { extensions: AUTHORITY, ..SERVER });
    made.make("server", "root", &SERVER);
    let made = Arc::new(made);
    let places = Arc::new(AtomicUsize::new(0));
    let work = |name| (name, (made.clone(), places.clone()));
    at_the_same_time(vec![work("a"), work("b"), work("c"), work("d")], spoil_some);
    assert!(places.load(Ordering::SeqCst) >= PLACES);
}

/// What openssl sends until it has read a request, its tickets included, is about as long in either version.
const FLIGHT_BYTES: usize = 1000;
/// Every third byte, in two versions, in two ways.
const PLACES: usize = FLIGHT_BYTES / 3 * 4;

fn spoil_some((made, places): (Arc<Certificates>, Arc<AtomicUsize>)) {
    let quiet = "-cert server.crt -key server.key -quiet";
    let servers = ["-tls1_2", "-tls1_3"].map(|version| Server::openssl(made.dir(), &format!("{quiet} {version}")));
    let site = Site::new();
    let ca = site.root.join("root.pem");
    std::fs::write(&ca, made.bundle(&["root"])).expect("the authority is written");
    loop {
        let place = places.fetch_add(1, Ordering::SeqCst);
        if place >= PLACES {
            return;
        }
        let (server, spoil, at) = (&servers[place % 2], [Spoil::Cut, Spoil::Flip][place / 2 % 2], place / 4 * 3);
        let port = spoiling_line(server.port, at, spoil);
        let mut command = site.onboard_command_at(&format!("https://localhost:{port}"));
        let start = Instant::now();
        let output = run(command.env("SSL_CERT_FILE", &ca));
        assert!([69, 75].contains(&output.code()), "place {at}: {output:?}");
        assert!(output.stderr.starts_with("omsd: ") && output.stderr.contains(": "), "place {at}: {output:?}");
        assert!(start.elapsed() < TOLD_WITHIN, "place {at}: {:?}", start.elapsed());
    }
}

/// One connection to a server, with one byte of what it sends spoiled, or nothing after it. It ends when the server has had a
/// moment to send more: a client that waits for what will not come is not what is tested here.
fn spoiling_line(server: u16, at: usize, spoil: Spoil) -> u16 {
    listen(move |client| {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).expect("the server listens");
        let (mut up_from, mut up_to) = (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
        thread::spawn(move || {
            let _ = io::copy(&mut up_from, &mut up_to);
            let _ = up_to.shutdown(Shutdown::Write);
        });
        let (mut from, mut to, mut passed) = (server, client, 0);
        let _ = from.set_read_timeout(Some(Duration::from_millis(200)));
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut part) {
            let end = match at.checked_sub(passed).filter(|inside| *inside < count) {
                Some(inside) if matches!(spoil, Spoil::Cut) => inside,
                Some(inside) => {
                    part[inside] ^= 0x20;
                    count
                }
                None => count,
            };
            passed += count;
            if to.write_all(&part[..end]).is_err() || end < count {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    })
}
