//! The stand-in as a client sees it: what it refuses, what it keeps, and each of its manners on the wire.

use omsd_standin::{Agent, Answer, Manner, Options, Refusal, RefuseWhen, Route, Standin, ods};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const BODY: &str = r#"{"DataType":"LINUX_SYSLOGS_BLOB","IPName":"LOGMANAGEMENT","DataItems":[{"ident":"su","Timestamp":"2024-02-05T17:32:19.104Z","EventTime":"2024-02-05T17:32:18.000Z","Host":"web01","HostIP":"10.0.0.4","Message":"seq=7 text","Facility":"auth","Severity":"crit"}]}"#;

struct Client {
    config: Arc<ClientConfig>,
    certificate: Vec<u8>,
}

impl Client {
    fn new(standin: &Standin) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::default().self_signed(&key).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(standin.ca_pem().as_bytes()).expect("PEM")).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .expect("key and certificate");
        Self { config: Arc::new(config), certificate: certificate.der().to_vec() }
    }

    fn agent(&self) -> Agent {
        let text = |text: &str| text.to_owned();
        Agent {
            workspace_id: text("w"),
            agent_guid: text("g"),
            host: text("h"),
            certificate: self.certificate.clone(),
            announced: None,
        }
    }

    fn connect(&self, standin: &Standin) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(self.config.clone(), name).expect("a client");
        let stream = TcpStream::connect(standin.address()).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_millis(1500))).expect("a timeout");
        StreamOwned::new(tls, stream)
    }

    /// One request on a connection of its own; what came back until the end, or in a second and a half.
    fn post(&self, standin: &Standin, request: &str) -> Vec<u8> {
        let mut stream = self.connect(standin);
        stream.write_all(request.as_bytes()).expect("it is taken");
        let deadline = Instant::now() + Duration::from_millis(1500);
        let mut answer = Vec::new();
        let mut bytes = [0; 4096];
        loop {
            match stream.read(&mut bytes) {
                Ok(0) => return answer,
                Ok(count) => answer.extend_from_slice(&bytes[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return answer,
                Err(_) => return answer,
            }
            if answer.len() > 1_000_000 || Instant::now() > deadline {
                return answer;
            }
        }
    }
}

/// A good request with an id of its own; it asks for the connection to end, so that nothing has to wait.
fn request(body: &str) -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let id = format!("1b4e28ba-2fa1-4d2e-883f-{:012x}", LAST.fetch_add(1, Ordering::SeqCst));
    format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-ID: {id}\r\nx-ms-app: LinuxMonitoringAgent\r\n\
         x-ms-client-version: 0.1.0-0\r\nx-ms-client-platform: Linux\r\nx-ms-AzureRegion: OnPremise\r\nUser-Agent: LinuxMonitoringAgent/0.1.0-0\r\n\
         x-ms-client-request-retry-count: 0\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        ods::PATH,
        body.len()
    )
}

fn start() -> (Standin, Client) {
    let standin = Standin::start(Options { marker: "seq=".to_owned(), ..Options::default() }).expect("it starts");
    let client = Client::new(&standin);
    standin.adopt(client.agent());
    (standin, client)
}

#[track_caller]
fn expect_status(answer: &[u8], status: &str) {
    let text = String::from_utf8_lossy(answer);
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
}

#[test]
fn a_good_request_is_kept_and_its_number_followed() {
    let (standin, client) = start();
    expect_status(&client.post(&standin, &request(BODY)), "200");
    let seen = standin.seen();
    assert_eq!(seen.messages().collect::<Vec<_>>(), ["seq=7 text"]);
    assert_eq!((seen.counts.records, seen.numbers.unique(), seen.numbers.missing(8, 9).len()), (1, 1, 7));
    assert_eq!(seen.complaints, [""; 0]);
}

#[test]
fn an_unknown_certificate_is_refused() {
    let (standin, _) = start();
    let stranger = Client::new(&standin);
    expect_status(&stranger.post(&standin, &request(BODY)), "403");
    assert_eq!(standin.seen().counts.records, 0);
}

#[test]
fn each_departure_in_the_headers_is_refused() {
    let (standin, client) = start();
    for (from, to) in [
        ("application/json", "application/json; charset=utf-8"),
        ("X-Request-ID: 1b4e28ba-2fa1-4d2e", "X-Request-ID: 1b4e28ba-2fa1-1d2e"),
        ("x-ms-app: LinuxMonitoringAgent\r\n", ""),
        ("User-Agent: LinuxMonitoringAgent/0.1.0-0", "User-Agent: ureq"),
        ("retry-count: 0", "retry-count: none"),
        ("x-ms-AzureRegion: OnPremise", "x-ms-AzureRegion:"),
        ("Connection: close", "Connection: close\r\nContent-Encoding: deflate"),
        ("Connection: close", "Connection: close\r\nHost: twice"),
    ] {
        let request = request(BODY);
        assert!(request.contains(from), "{from}");
        expect_status(&client.post(&standin, &request.replacen(from, to, 1)), "400");
    }
    assert_eq!(standin.seen().counts.records, 0);
    assert_eq!(standin.seen().complaints.len(), 8);
}

#[test]
fn a_request_id_is_good_once() {
    let (standin, client) = start();
    let request = request(BODY);
    expect_status(&client.post(&standin, &request), "200");
    expect_status(&client.post(&standin, &request), "400");
}

#[test]
fn answers_come_in_their_order_and_their_manner() {
    let (standin, client) = start();
    #[track_caller]
    fn check(standin: &Standin, client: &Client, answer: &str, records: u64, good: impl Fn(&str) -> bool) {
        let before = standin.seen().counts.records;
        standin.answer_next(Route::Data, [answer.parse::<Answer>().expect("an answer")]);
        let got = client.post(standin, &request(BODY));
        let text = String::from_utf8_lossy(&got);
        assert!(good(&text), "{answer}: {}", &text[..text.len().min(2000)]);
        assert_eq!(standin.seen().counts.records - before, records, "{answer}");
    }
    let check = |answer, records, good: &dyn Fn(&str) -> bool| check(&standin, &client, answer, records, good);
    check("503 retry-after=7", 0, &|text| text.starts_with("HTTP/1.1 503 ") && text.contains("\r\nRetry-After: 7\r\n"));
    check("204", 1, &|text| text.starts_with("HTTP/1.1 204 ") && text.ends_with("\r\n\r\n"));
    check("202", 1, &|text| text.starts_with("HTTP/1.1 202 "));
    check("reset", 0, &str::is_empty);
    check("413 early", 0, &|text| text.starts_with("HTTP/1.1 413 "));
    check("close", 0, &str::is_empty);
    check("close-taken", 1, &str::is_empty);
    check("silence", 0, &str::is_empty);
    check("trickle", 1, &|text| !text.is_empty() && text.len() < 4);
    check("endless-header", 0, &|text| text.len() > 1_000_000 && !text.contains("\r\n\r\n"));
    check("continue", 1, &|text| text.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 "));
    check("500 chunked", 0, &|text| {
        text.contains(";name=value\r\n") && text.ends_with("0\r\nX-After: the body\r\n\r\n")
    });
    check("http10", 1, &|text| text.starts_with("HTTP/1.0 200 ") && !text.contains("Content-Length"));
    check("redirect=https://example.net/", 0, &|text| {
        text.starts_with("HTTP/1.1 302 ") && text.contains("Location: https://example.net/")
    });
    check("gzip", 0, &|text| text.starts_with("HTTP/1.1 502 ") && text.contains("Content-Encoding: gzip"));
    check("500 large=900000", 0, &|text| text.len() > 900_000 && text.ends_with("xxx"));
    check("garbage", 0, &|text| !text.is_empty() && !text.starts_with("HTTP"));
    check("200", 1, &|text| text.starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_refusal_hits_only_what_it_names_and_the_due_answer_stays_due() {
    let (standin, client) = start();
    let when = RefuseWhen::Contains(b"poison".to_vec());
    standin.refuse(Refusal { when, answer: Answer::status(400) });
    standin.refuse(Refusal {
        when: RefuseWhen::LargerThan(BODY.len()),
        answer: Answer::manner(Manner::Close { taken: false }),
    });
    standin.answer_next(Route::Data, [Answer::status(503)]);
    expect_status(&client.post(&standin, &request(&BODY.replace("text", "poison"))), "400");
    assert_eq!(client.post(&standin, &request(&BODY.replace("text", "longer text"))), b"");
    expect_status(&client.post(&standin, &request(BODY)), "503");
    expect_status(&client.post(&standin, &request(BODY)), "200");
    assert_eq!(standin.seen().complaints, [""; 0], "a scripted refusal is no complaint");
}

#[test]
fn close_cuts_connections_and_open_takes_them_again() {
    let (standin, client) = start();
    let mut open = client.connect(&standin);
    open.write_all(request(BODY).replace("Connection: close\r\n", "").as_bytes()).expect("it is taken");
    assert!(standin.wait(Duration::from_secs(9), |seen| seen.counts.records == 1));
    standin.close();
    let start = Instant::now();
    while open.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
    assert!(start.elapsed() < Duration::from_secs(1), "the connection is cut");
    assert!(TcpStream::connect(standin.address()).is_err(), "nobody listens");
    standin.open().expect("the port is still ours");
    expect_status(&client.post(&standin, &request(BODY)), "200");
}

#[test]
fn counting_counts_what_checking_checks() {
    let standin = Standin::start(Options { keep_items: false, ..Options::default() }).expect("it starts");
    let client = Client::new(&standin);
    standin.adopt(client.agent());
    expect_status(&client.post(&standin, &request(BODY)), "200");
    expect_status(&client.post(&standin, &request(&BODY.replace("]}", "]"))), "400");
    let seen = standin.seen();
    assert_eq!((seen.counts.records, seen.items.len()), (1, 0));
}
