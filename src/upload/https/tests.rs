//! The client against a TLS server of rustls, in threads of the test, with certificate authorities made on the spot.

use super::*;
use crate::crypto::der;
use crate::onboard::certificate::{Certificate, Subject};
use crate::sys::clock;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use base64::Engine;
use core::sync::atomic::{AtomicUsize, Ordering};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, ServerConnection, SignatureScheme, StreamOwned};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Instant;

type ServerStream = StreamOwned<ServerConnection, TcpStream>;

/// A certificate authority with its own file for `ca_file`.
pub(crate) struct Authority {
    name: &'static str,
    key: EcdsaKeyPair,
    /// PEM
    pub(crate) file: PathBuf,
}

/// The authority that the tests trust.
pub(crate) static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("omsd test CA"));

/// A client certificate and its key, made once: that takes a second.
pub(crate) static CLIENT_CERTIFICATE: LazyLock<Certificate> = LazyLock::new(|| {
    let subject = Subject {
        workspace_id: "00000000-0000-0000-0000-000000000001",
        agent_guid: "00000000-0000-0000-0000-000000000002",
    };
    Certificate::generate(subject, i64::try_from(clock::wall_us() / 1_000_000).unwrap()).unwrap()
});

/// `UTCTime`s between which a certificate is valid.
type Valid = [&'static str; 2];
const ALWAYS: Valid = ["200101000000Z", "491231235959Z"];

const ECDSA_SHA256: &[u8] = &[0x30, 0x0a, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const P256: &[u8] =
    &[0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

impl Authority {
    pub(crate) fn new(name: &'static str) -> Authority {
        let (key, _) = new_key();
        let is_authority = der::sequence(&[&der::TRUE]);
        let extension = der::sequence(&[&der::oid(&[0x55, 0x1d, 19]), &der::TRUE, &der::octets(&is_authority)]);
        let certificate = sign(&key, &to_be_signed(name, name, &key, ALWAYS, &extension));
        let file = std::env::temp_dir().join(format!("omsd-{}-{}.pem", name.replace(' ', "-"), std::process::id()));
        let body = base64::engine::general_purpose::STANDARD.encode(certificate);
        fs::write(&file, format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")).unwrap();
        Authority { name, key, file }
    }

    /// A server's certificate and key for a DNS name and for 127.0.0.1.
    fn issue(&self, dns_name: &str, valid: Valid) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let (key, pkcs8) = new_key();
        let mut names = vec![der::tagged(0x82, &[dns_name.as_bytes()])];
        if dns_name == "localhost" {
            names.push(der::tagged(0x87, &[&[127, 0, 0, 1]]));
        }
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let extension = der::sequence(&[&der::oid(&[0x55, 0x1d, 17]), &der::octets(&der::sequence(&names))]);
        let certificate = sign(&self.key, &to_be_signed(self.name, "server", &key, valid, &extension));
        (certificate.into(), PrivatePkcs8KeyDer::from(pkcs8).into())
    }
}

fn new_key() -> (EcdsaKeyPair, Vec<u8>) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    (key, pkcs8.as_ref().to_vec())
}

fn to_be_signed(issuer: &str, subject: &str, key: &EcdsaKeyPair, valid: Valid, extension: &[u8]) -> Vec<u8> {
    let name = |text| der::sequence(&[&der::set(&der::sequence(&[&der::oid(&[0x55, 4, 3]), &der::utf8(text)]))]);
    let moment = |text: &str| der::tagged(0x17, &[text.as_bytes()]);
    der::sequence(&[
        &der::tagged(0xa0, &[&der::integer(&[2])]),
        &der::integer(&[7]),
        ECDSA_SHA256,
        &name(issuer),
        &der::sequence(&[&moment(valid[0]), &moment(valid[1])]),
        &name(subject),
        &der::sequence(&[P256, &der::bits(key.public_key().as_ref())]),
        &der::tagged(0xa3, &[&der::sequence(&[extension])]),
    ])
}

fn sign(key: &EcdsaKeyPair, body: &[u8]) -> Vec<u8> {
    let signature = key.sign(&SystemRandom::new(), body).unwrap();
    der::sequence(&[body, ECDSA_SHA256, &der::bits(signature.as_ref())])
}

/// Asks for a client certificate and takes any whose key is there: who it is, the test looks up.
#[derive(Debug)]
struct AnyClient;

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// How a test server differs from an ordinary one.
pub(crate) struct Kind {
    dns_name: &'static str,
    valid: Valid,
    versions: &'static [&'static rustls::SupportedProtocolVersion],
    change: fn(&mut rustls::crypto::CryptoProvider),
    /// Its key is the certificate's.
    has_key: bool,
}

pub(crate) const ORDINARY: Kind =
    Kind { dns_name: "localhost", valid: ALWAYS, versions: rustls::ALL_VERSIONS, change: |_| {}, has_key: true };

impl Kind {
    fn configuration(&self) -> Arc<ServerConfig> {
        let mut algorithms = provider::default_provider();
        (self.change)(&mut algorithms);
        let (certificate, key) = AUTHORITY.issue(self.dns_name, self.valid);
        let key = if self.has_key { key } else { AUTHORITY.issue(self.dns_name, self.valid).1 };
        let shown = CertifiedKey::new(vec![certificate], algorithms.key_provider.load_private_key(key).unwrap());
        let config = ServerConfig::builder_with_provider(Arc::new(algorithms))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_client_cert_verifier(Arc::new(AnyClient))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        Arc::new(config)
    }
}

/// A listening server; its thread ends with the test program.
pub(crate) struct Server {
    pub(crate) port: u16,
    /// TLS connections that were opened.
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Server {
    /// Handles one connection after another.
    pub(crate) fn start(kind: &Kind, handle: impl Fn(&mut ServerStream) + Send + 'static) -> Server {
        let config = kind.configuration();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let port = listen(move |stream| {
            stream.set_nodelay(true).unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            handle(&mut StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream));
        });
        Server { port, connections }
    }

    /// Answers each request on each connection with what `answer` makes of it.
    pub(crate) fn answering(kind: &Kind, answer: impl Fn(&Request) -> String + Send + 'static) -> Server {
        Server::start(kind, move |stream| {
            while let Some(request) = Request::read(stream) {
                if stream.write_all(answer(&request).as_bytes()).is_err() {
                    return;
                }
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}/path", self.port)
    }
}

/// Accepts on a free port of 127.0.0.1.
pub(crate) fn listen(handle: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().for_each(|stream| handle(stream.unwrap())));
    port
}

/// A request as it arrived.
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// DER of the client certificate.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn read(stream: &mut ServerStream) -> Option<Request> {
        let mut reader = BufReader::with_capacity(1, &mut *stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let mut request = Request { head, body: Vec::new(), certificate: None };
        request.body.resize(request.header("content-length").map_or(0, |length| length.parse().unwrap()), 0);
        reader.read_exact(&mut request.body).ok()?;
        drop(reader);
        request.certificate = stream.conn.peer_certificates().map(|chain| chain[0].to_vec());
        Some(request)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn options<'a>() -> Options<'a> {
    Options { ca_file: Some(&AUTHORITY.file), ..Options::default() }
}

const HASTY: Limits = Limits { connect_ms: 1000, answer_ms: 300, body_ms: 300, request_ms: 2000 };

fn hasty_client() -> Client {
    Client::with_limits(options(), HASTY).unwrap()
}

#[test]
fn a_request_arrives_whole_and_its_answer_comes_back() {
    for version in rustls::ALL_VERSIONS {
        let versions = core::slice::from_ref(version);
        let server = Server::answering(&Kind { versions, ..ORDINARY }, |request| {
            assert!(request.head.starts_with("POST /path HTTP/1.1\r\n"), "{}", request.head);
            assert_eq!(request.header("x-ms-one"), Some("1"));
            assert_eq!(request.header("accept"), Some("*/*"));
            assert_eq!(request.header("accept-encoding"), Some("identity"));
            assert_eq!(request.header("user-agent"), None);
            assert!(request.header("host").unwrap().starts_with("127.0.0.1:"));
            assert_eq!(request.body, vec![b'x'; 300_000]);
            "HTTP/1.1 503 Busy\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nsoon".into()
        });
        let answer = Client::new(options()).unwrap().post(&server.url(), &[("x-ms-one", "1")], &[b'x'; 300_000]);
        let expected =
            Answer { status: 503, retry_after_s: Some(7), date_unix_s: Some(784_111_777), body: b"soon".to_vec() };
        assert_eq!(answer, Ok(expected), "{version:?}");
    }
}

#[test]
fn the_client_shows_its_own_certificate_in_both_versions_of_tls() {
    let made = &*CLIENT_CERTIFICATE;
    let body: String = made.certificate_pem.lines().filter(|line| !line.starts_with('-')).collect();
    let expected = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    for version in rustls::ALL_VERSIONS {
        let versions = core::slice::from_ref(version);
        let expected = expected.clone();
        let server = Server::answering(&Kind { versions, ..ORDINARY }, move |request| {
            assert_eq!(request.certificate.as_ref(), Some(&expected));
            ok("")
        });
        let identity = Identity { certificate_pem: made.certificate_pem.as_bytes(), key_pem: made.key_pem.as_bytes() };
        let client = Client::new(Options { identity: Some(identity), ..options() }).unwrap();
        assert_eq!(client.post(&server.url(), &[], b"").unwrap().status, 200, "{version:?}");
    }
}

#[test]
fn a_broken_identity_is_said_before_anything_is_sent() {
    let made = &*CLIENT_CERTIFICATE;
    let (certificate, key) = (made.certificate_pem.as_bytes(), made.key_pem.as_bytes());
    for (certificate_pem, key_pem) in [(certificate, &b""[..]), (b"", key), (certificate, certificate), (key, key)] {
        let identity = Identity { certificate_pem, key_pem };
        let refused = Client::new(Options { identity: Some(identity), ..options() }).err();
        assert!(matches!(refused, Some(HttpsError::Identity(_))), "{refused:?}");
    }
}

#[test]
fn many_requests_share_one_tls_connection() {
    let server = Server::answering(&ORDINARY, |request| ok(core::str::from_utf8(&request.body).unwrap()));
    let client = Client::new(options()).unwrap();
    for index in 0..20 {
        let text = index.to_string();
        assert_eq!(client.post(&server.url(), &[], text.as_bytes()).unwrap().body, text.as_bytes());
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_connection_closed_between_requests_is_replaced() {
    let server = Server::start(&ORDINARY, |stream| {
        Request::read(stream);
        let _ = stream.write_all(ok("").as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    let client = Client::new(options()).unwrap();
    for _ in 0..3 {
        assert_eq!(client.post(&server.url(), &[], b"x").unwrap().status, 200);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

#[track_caller]
fn check_refused(kind: &Kind, options: Options, expected: &TlsFault) {
    let server = Server::answering(kind, |_| panic!("a request got through"));
    let refused = Client::new(options).unwrap().post(&server.url(), &[], b"secret");
    assert_eq!(refused, Err(HttpsError::Tls(expected.clone())));
}

#[test]
fn a_server_that_cannot_prove_its_name_gets_nothing() {
    let other = Authority::new("another test CA");
    check_refused(&ORDINARY, Options { ca_file: Some(&other.file), ..Options::default() }, &TlsFault::UnknownIssuer);
    check_refused(&ORDINARY, Options::default(), &TlsFault::UnknownIssuer);
    check_refused(&Kind { dns_name: "elsewhere.example", ..ORDINARY }, options(), &TlsFault::WrongName);
    check_refused(&Kind { valid: ["200101000000Z", "210101000000Z"], ..ORDINARY }, options(), &TlsFault::Expired);
    check_refused(&Kind { valid: ["480101000000Z", "490101000000Z"], ..ORDINARY }, options(), &TlsFault::NotYetValid);
}

#[test]
fn a_server_that_shows_a_certificate_without_having_its_key_gets_nothing() {
    for version in rustls::ALL_VERSIONS {
        let versions = core::slice::from_ref(version);
        let bad = TlsFault::Certificate("a bad signature, or an RSA key of fewer than 2,048 bits".into());
        check_refused(&Kind { has_key: false, versions, ..ORDINARY }, options(), &bad);
    }
}

#[test]
fn a_server_without_approved_algorithms_is_refused() {
    let refusal = TlsFault::NothingInCommon("HandshakeFailure".into());
    let chacha: fn(&mut rustls::crypto::CryptoProvider) = |provider| {
        provider.cipher_suites.retain(|suite| format!("{:?}", suite.suite()).contains("CHACHA"));
    };
    check_refused(&Kind { change: chacha, ..ORDINARY }, options(), &refusal);
    let x25519: fn(&mut rustls::crypto::CryptoProvider) =
        |provider| provider.kx_groups = vec![provider::kx_group::X25519];
    check_refused(&Kind { change: x25519, ..ORDINARY }, options(), &refusal);
}

#[test]
fn the_configuration_is_fips_in_the_fips_build_and_never_in_the_standard_one() {
    assert_eq!(fips(), cfg!(feature = "fips"));
}

#[test]
fn a_ca_file_that_is_missing_or_empty_is_named() {
    for path in ["/nonexistent/ca.pem", "/dev/null"] {
        let refused = Client::new(Options { ca_file: Some(Path::new(path)), ..Options::default() }).err().unwrap();
        assert!(refused.to_string().contains(path), "{refused}");
    }
}

#[test]
fn a_name_a_port_and_a_url_that_lead_nowhere_are_told_apart() {
    let client = hasty_client();
    let error = client.post("https://name.invalid/", &[], b"").unwrap_err();
    assert!(matches!(&error, HttpsError::NameNotFound { hop, .. } if !hop.is_proxy), "{error:?}");
    let unused = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let error = client.post(&format!("https://{unused}/"), &[], b"").unwrap_err();
    assert!(
        error.to_string().starts_with(&format!("{unused} was not reached (127.0.0.1: Connection refused)")),
        "{error}"
    );
    for url in ["http://127.0.0.1/", "nonsense", "https://", "https://a b/"] {
        let error = client.post(url, &[], b"").unwrap_err();
        assert!(matches!(error, HttpsError::BadRequest(_)), "{url}: {error:?}");
    }
    let error = client.post("https://localhost/", &[("x", "a\r\nb: c")], b"").unwrap_err();
    assert!(matches!(error, HttpsError::BadRequest(_)), "{error:?}");
}

#[test]
fn what_is_no_tls_at_all_is_said() {
    let port = listen(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read(&mut [0; 1000]);
    });
    let error = hasty_client().post(&format!("https://127.0.0.1:{port}/"), &[], b"").unwrap_err();
    assert!(matches!(error, HttpsError::Tls(TlsFault::Broken(_))), "{error:?}");
}

#[test]
fn a_handshake_that_trickles_ends_at_the_deadline() {
    let port = listen(|mut stream| {
        // A record of the handshake that says it is 16 KiB long, and then a byte now and then.
        let _ = stream.write_all(&[22, 3, 3, 0x40, 0]);
        while stream.write_all(&[2]).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let start = Instant::now();
    let limits = Limits { connect_ms: 300, ..HASTY };
    let client = Client::with_limits(options(), limits).unwrap();
    let error = client.post(&format!("https://127.0.0.1:{port}/"), &[], b"").unwrap_err();
    assert_eq!(error, HttpsError::TimedOut("the TLS handshake"));
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// A server that reads one request and then answers by writing pieces for as long as the client takes them.
fn from_hell(first: &'static str, again: &'static str, pause_ms: u64) -> Server {
    Server::start(&ORDINARY, move |stream| {
        if Request::read(stream).is_none() || stream.write_all(first.as_bytes()).is_err() {
            return;
        }
        while !again.is_empty() && stream.write_all(again.as_bytes()).is_ok() {
            thread::sleep(Duration::from_millis(pause_ms));
        }
    })
}

#[track_caller]
fn check_hell(first: &'static str, again: &'static str, pause_ms: u64, expected: fn(&HttpsError) -> bool) {
    let start = Instant::now();
    let error = hasty_client().post(&from_hell(first, again, pause_ms).url(), &[], b"x").unwrap_err();
    assert!(expected(&error), "{first:?} {again:?}: {error:?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn answers_from_hell_end_in_an_error_soon_and_small() {
    let malformed = |error: &HttpsError| matches!(error, HttpsError::Malformed(_));
    let late = |error: &HttpsError| *error == HttpsError::TimedOut("an answer");
    let closed = |error: &HttpsError| *error == HttpsError::ClosedEarly;
    check_hell("HTTP/1.1 200 OK\r\n", "X-More: and more and more and more\r\n", 0, malformed);
    check_hell("HTTP/1.1 200 OK\r\nX: ", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, malformed);
    check_hell("HTTP/1.1 200 OK\r\nX: ", "a", 20, late);
    check_hell("", "HTTP/1.1 100 Continue\r\n\r\n", 20, late);
    check_hell("SSH-2.0-OpenSSH_9.6\r\n", "", 0, malformed);
    check_hell("HTTP/1.1 2x0 OK\r\n\r\n", "", 0, malformed);
    check_hell("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "", 0, malformed);
    check_hell("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", "", 0, malformed);
    check_hell("HTTP/1.1 200 OK\r\nContent-", "", 0, closed);
    check_hell("", "", 0, closed);
}

#[track_caller]
fn check_body(
    first: &'static str,
    again: &'static str,
    pause_ms: u64,
    expected_bytes: core::ops::RangeInclusive<usize>,
) {
    let start = Instant::now();
    let answer = hasty_client().post(&from_hell(first, again, pause_ms).url(), &[], b"x").unwrap();
    assert_eq!(answer.status, 200);
    assert!(expected_bytes.contains(&answer.body.len()), "{first:?}: {}", answer.body.len());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_status_counts_whatever_becomes_of_its_body() {
    const MOST: usize = limits::ANSWER_BODY_BYTES_MAX;
    check_body("HTTP/1.1 200 OK\r\n\r\n", "0123456789abcdef", 0, MOST..=MOST);
    check_body("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "0123456789abcdef", 0, MOST..=MOST);
    check_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "10\r\n0123456789abcdef\r\n", 0, MOST..=MOST);
    check_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "a", 0, 0..=0);
    check_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "zz\r\n", 0, 0..=0);
    check_body("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "a", 20, 1..=100);
    check_body("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc", "", 0, 3..=3);
}

#[test]
fn a_redirect_is_an_answer_not_an_order() {
    let server = Server::answering(&ORDINARY, |request| {
        assert!(request.head.starts_with("POST /path "));
        "HTTP/1.1 307 Elsewhere\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".into()
    });
    assert_eq!(hasty_client().post(&server.url(), &[], b"x").unwrap().status, 307);
}

#[test]
fn a_refusal_sent_before_the_body_was_read_is_seen() {
    let server = Server::start(&ORDINARY, |stream| {
        let mut reader = BufReader::with_capacity(1, &mut *stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        drop(reader);
        let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = stream.sock.shutdown(std::net::Shutdown::Read);
    });
    let answer = hasty_client().post(&server.url(), &[], &vec![b'x'; 8_000_000]);
    assert_eq!(answer.map(|answer| answer.status), Ok(413));
}

/// A proxy that answers CONNECT with `answer`, and after a 200 copies bytes both ways. Gives its port and what it was asked.
pub(crate) fn proxy(answer: &'static str) -> (u16, Arc<Mutex<String>>) {
    let asked = Arc::new(Mutex::new(String::new()));
    let seen = asked.clone();
    let port = listen(move |mut client| {
        let mut reader = BufReader::with_capacity(1, client.try_clone().unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        head.clone_into(&mut seen.lock().unwrap());
        let _ = client.write_all(answer.as_bytes());
        if answer.starts_with("HTTP/1.1 200") {
            let target = head.split(' ').nth(1).unwrap().replace("server.example", "127.0.0.1");
            let mut server = TcpStream::connect(target).unwrap();
            let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
            let _ = std::io::copy(&mut client, &mut server);
            let _ = server.shutdown(std::net::Shutdown::Write);
        }
    });
    (port, asked)
}

#[test]
fn a_proxy_is_asked_for_a_tunnel_and_tls_goes_through_it() {
    let server = Server::answering(&Kind { dns_name: "server.example", ..ORDINARY }, |_| ok("hello"));
    let (port, asked) = proxy("HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n");
    let proxy = Proxy { host: "localhost".into(), port, credentials: Some("user:p@ss".into()), tls: false };
    let client = Client::new(Options { proxy: Some(proxy), ..options() }).unwrap();
    // Only the proxy could know this name: it is not looked up here.
    let url = format!("https://server.example:{}/path", server.port);
    assert_eq!(client.post(&url, &[], b"x").unwrap().body, b"hello");
    assert_eq!(client.post(&url, &[], b"x").unwrap().body, b"hello");
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let target = format!("server.example:{}", server.port);
    let expected =
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n\r\n");
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[track_caller]
fn check_proxy(answer: &'static str, expected: fn(&HttpsError) -> bool) {
    let (port, _) = proxy(answer);
    let proxy = Proxy { host: "127.0.0.1".into(), port, credentials: None, tls: false };
    let client = Client::with_limits(Options { proxy: Some(proxy), ..options() }, HASTY).unwrap();
    let error = client.post("https://server.example/", &[], b"x").unwrap_err();
    assert!(expected(&error), "{answer:?}: {error:?}");
}

#[test]
fn a_proxy_that_refuses_is_told_from_one_that_is_none() {
    let refused = |error: &HttpsError| matches!(error, HttpsError::ProxyRefused { status: 407, hop } if hop.is_proxy);
    check_proxy("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 9\r\n\r\nplease pay", refused);
    check_proxy("HTTP/1.1 407 Proxy Authentication Required\r\n", refused);
    check_proxy("HTTP/1.0 502 Bad Gateway\r\n\r\n", |error| {
        matches!(error, HttpsError::ProxyRefused { status: 502, .. })
    });
    let none = |error: &HttpsError| matches!(error, HttpsError::NotSuchAProxy { hop, tls: false, .. } if hop.is_proxy);
    check_proxy("220 smtp.example ESMTP\r\n\r\n", none);
    check_proxy("\x15\x03\x03\0\x02\x02\x0a\r\n\r\n", none); // TLS's alert
    check_proxy("", none);
}

#[test]
fn a_proxy_that_knows_its_users_by_other_ways_than_basic_is_told_so() {
    let basic = |error: &HttpsError| matches!(error, HttpsError::ProxyRefused { status: 407, .. });
    let other = |error: &HttpsError| error.to_string().contains("asks for a user by Negotiate, NTLM (407)");
    let many = "HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate:NTLM\r\n\r\n";
    check_proxy(many, other);
    check_proxy(
        "HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM TlRM=\r\n\r\nBasic",
        other,
    );
    check_proxy("HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM\r\nProxy-Authenticate: BASIC realm=\"x\"\r\n\r\n", basic);
    check_proxy("HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM, Basic\r\n\r\n", basic);
    check_proxy("HTTP/1.1 407 No\r\nProxy-Authenticate:\r\n\r\n", basic);
    check_proxy("HTTP/1.1 407 No\r\nProxy-Authenticate: \x1b[2J\r\n\r\n", basic);
}

/// A proxy that speaks TLS, asks its clients for a certificate, and after a good CONNECT copies bytes both ways.
fn tls_proxy(kind: &Kind) -> Server {
    Server::start(kind, |client| {
        let Some(request) = Request::read(client) else { return };
        assert_eq!(request.certificate, None, "the proxy has seen our certificate");
        assert!(request.head.contains("\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n"), "{}", request.head);
        let target = request.head.split(' ').nth(1).unwrap().replace("server.example", "127.0.0.1");
        let mut server = TcpStream::connect(target).unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        client.sock.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        server.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        while copy_what_is_there(client, &mut server) && copy_what_is_there(&mut server, client) {}
    })
}

/// Whether the source is still open.
fn copy_what_is_there(from: &mut impl Read, to: &mut impl Write) -> bool {
    let mut part = [0; 16 * 1024];
    match from.read(&mut part) {
        Ok(0) => false,
        Ok(count) => to.write_all(&part[..count]).and_then(|()| to.flush()).is_ok(),
        Err(error) => matches!(error.kind(), std::io::ErrorKind::WouldBlock),
    }
}

fn by_tls_proxy(port: u16, ca_file: &Path) -> Client {
    let proxy = Proxy { tls: true, host: "localhost".into(), port, credentials: Some("user:p@ss".into()) };
    let made = &*CLIENT_CERTIFICATE;
    let identity = Identity { certificate_pem: made.certificate_pem.as_bytes(), key_pem: made.key_pem.as_bytes() };
    let options =
        Options { identity: Some(identity), ca_file: Some(ca_file), proxy: Some(proxy), ..Options::default() };
    Client::new(options).unwrap()
}

#[test]
fn tls_to_the_server_travels_in_tls_to_the_proxy() {
    for version in rustls::ALL_VERSIONS {
        let versions = core::slice::from_ref(version);
        let server = Server::answering(&Kind { dns_name: "server.example", versions, ..ORDINARY }, |request| {
            assert!(request.certificate.is_some());
            ok(&request.body.len().to_string())
        });
        let proxy = tls_proxy(&Kind { versions, ..ORDINARY });
        let client = by_tls_proxy(proxy.port, &AUTHORITY.file);
        let url = format!("https://server.example:{}/path", server.port);
        for length in [1, 300_000, 0] {
            let answer = client.post(&url, &[], &vec![b'x'; length]).unwrap();
            assert_eq!(answer.body, length.to_string().as_bytes(), "{version:?}");
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
        assert_eq!(proxy.connections.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_proxy_that_cannot_prove_its_name_is_not_told_the_password() {
    let check = |kind: &Kind, ca_file: &Path, expected: TlsFault| {
        let proxy = Server::answering(kind, |_| panic!("the password got through"));
        let error = by_tls_proxy(proxy.port, ca_file).post("https://server.example/", &[], b"").unwrap_err();
        assert!(matches!(&error, HttpsError::ProxyTls { fault, .. } if *fault == expected), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("the certificate of the proxy localhost:{}", proxy.port)), "{text}");
    };
    let other = Authority::new("a proxy's test CA");
    check(&ORDINARY, &other.file, TlsFault::UnknownIssuer);
    check(&Kind { dns_name: "elsewhere.example", ..ORDINARY }, &AUTHORITY.file, TlsFault::WrongName);
    check(&Kind { valid: ["200101000000Z", "210101000000Z"], ..ORDINARY }, &AUTHORITY.file, TlsFault::Expired);
}

#[test]
fn a_proxy_without_tls_that_is_written_https_is_told_to_be_written_http() {
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let port = listen(move |mut stream| {
            let _ = stream.read(&mut [0; 1000]);
            let _ = stream.write_all(answer.as_bytes());
        });
        let error = by_tls_proxy(port, &AUTHORITY.file).post("https://server.example/", &[], b"").unwrap_err();
        assert!(matches!(&error, HttpsError::NotSuchAProxy { tls: true, .. }), "{answer:?}: {error:?}");
        assert!(error.to_string().contains("write http:// in the proxy setting"), "{error}");
    }
}

#[test]
fn hosts_of_no_proxy_are_reached_without_it() {
    let server = Server::answering(&ORDINARY, |_| ok("direct"));
    let unused = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let client = |no_proxy| {
        let proxy = Proxy { tls: true, host: "127.0.0.1".into(), port: unused, credentials: None };
        Client::with_limits(Options { proxy: Some(proxy), no_proxy, ..options() }, HASTY).unwrap()
    };
    assert_eq!(client("127.0.0.0/8").post(&server.url(), &[], b"").unwrap().body, b"direct");
    let error = client("localhost.example").post(&server.url(), &[], b"").unwrap_err();
    assert!(matches!(&error, HttpsError::NotReached { hop, .. } if hop.is_proxy), "{error:?}");
}

#[test]
fn a_proxy_is_looked_up_and_reached_first() {
    let lost = Proxy { host: "proxy.invalid".into(), port: 1, credentials: None, tls: false };
    let error = Client::new(Options { proxy: Some(lost), ..options() }).unwrap().post("https://a.b/", &[], b"");
    assert!(matches!(&error, Err(HttpsError::NameNotFound { hop, .. }) if hop.is_proxy), "{error:?}");
    let unused = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let closed =
        Proxy { host: "127.0.0.1".into(), port: unused.port(), credentials: Some("u:secret".into()), tls: false };
    let error = Client::new(Options { proxy: Some(closed), ..options() }).unwrap().post("https://a.b/", &[], b"");
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("the proxy 127.0.0.1:") && !error.contains("secret"), "{error}");
}
