//! omsd against servers that nobody here wrote: openssl's, nginx and stunnel, each with one suite, group, version, signature scheme or certificate. Of
//! each it is written here whether data arrives or TLS is refused; if it is refused, no byte of a request was sent, and stderr and the status say why
//! and what to do.

use crate::harness::authority::{AUTHORITY, Certificates, Kind, SERVER};
use crate::harness::{Omsd, Server, Site, at_the_same_time, wait_until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

/// A server, whom omsd trusts, and what comes of it.
struct Row {
    certificates: Arc<Certificates>,
    program: Program,
    /// Authorities in `ca_file`.
    trusted: &'static [&'static str],
    /// Words of the reason; `None`: data arrives.
    refused: Option<&'static str>,
}

enum Program {
    Openssl(String),
    Nginx(String),
    Stunnel(String),
}

const RSA: &str = "-cert rsa.crt -key rsa.key";
const ECDSA: &str = "-cert ecdsa.crt -key ecdsa.key";
/// What the server lacks.
const NOT_APPROVED: &str = "offers no TLS that is approved here";
const NOT_TRUSTED: &str =
    "no authority trusted on this host signed the certificate of the server: update the host's CA bundle";
const ON_OURS: &str = "the server refuses this agent's certificate";

#[test]
fn only_approved_suites_connect() {
    let made = ordinary();
    let tls12 = |of: &str, suite: &str| format!("{of} -tls1_2 -cipher {suite}:@SECLEVEL=0");
    let tls13 = |suite: &str| format!("{RSA} -tls1_3 -ciphersuites {suite}");
    at_the_same_time(
        vec![
            connects(&made, "1.3 AES-256-GCM", tls13("TLS_AES_256_GCM_SHA384")),
            connects(&made, "1.3 AES-128-GCM", tls13("TLS_AES_128_GCM_SHA256")),
            refused(&made, "1.3 ChaCha20", tls13("TLS_CHACHA20_POLY1305_SHA256"), NOT_APPROVED),
            refused(&made, "1.3 AES-128-CCM", tls13("TLS_AES_128_CCM_SHA256"), NOT_APPROVED),
            connects(&made, "1.2 RSA AES-256-GCM", tls12(RSA, "ECDHE-RSA-AES256-GCM-SHA384")),
            connects(&made, "1.2 RSA AES-128-GCM", tls12(RSA, "ECDHE-RSA-AES128-GCM-SHA256")),
            connects(&made, "1.2 ECDSA AES-256-GCM", tls12(ECDSA, "ECDHE-ECDSA-AES256-GCM-SHA384")),
            connects(&made, "1.2 ECDSA AES-128-GCM", tls12(ECDSA, "ECDHE-ECDSA-AES128-GCM-SHA256")),
            refused(&made, "1.2 ChaCha20", tls12(RSA, "ECDHE-RSA-CHACHA20-POLY1305"), NOT_APPROVED),
            refused(&made, "1.2 CBC with SHA-2", tls12(RSA, "ECDHE-RSA-AES256-SHA384"), NOT_APPROVED),
            refused(&made, "1.2 CBC with SHA-1", tls12(RSA, "ECDHE-RSA-AES128-SHA"), NOT_APPROVED),
            refused(&made, "1.2 key by RSA", tls12(RSA, "AES256-GCM-SHA384"), NOT_APPROVED),
            refused(&made, "1.2 finite fields", tls12(RSA, "DHE-RSA-AES256-GCM-SHA384"), NOT_APPROVED),
            refused(&made, "1.2 anonymous", tls12(RSA, "AECDH-AES256-SHA"), NOT_APPROVED),
            refused(&made, "1.2 no encryption", tls12(RSA, "ECDHE-RSA-NULL-SHA"), NOT_APPROVED),
        ],
        check,
    );
}

#[test]
fn only_approved_versions_groups_and_signatures_connect() {
    let made = ordinary();
    let with = |of: &str, what: &str| format!("{of} {what}");
    let rsa = |what: &str| with(RSA, what);
    let weak = |what: &str| with(RSA, what) + " -cipher ALL:@SECLEVEL=0";
    at_the_same_time(
        vec![
            connects(&made, "TLS 1.3", rsa("-tls1_3")),
            connects(&made, "TLS 1.2", rsa("-tls1_2")),
            refused(&made, "TLS 1.1", weak("-tls1_1"), NOT_APPROVED),
            refused(&made, "TLS 1.0", weak("-tls1"), NOT_APPROVED),
            connects(&made, "1.3 P-256", rsa("-tls1_3 -groups P-256")),
            connects(&made, "1.3 P-384", rsa("-tls1_3 -groups P-384")),
            connects(&made, "1.2 P-256", rsa("-tls1_2 -groups P-256")),
            connects(&made, "1.2 P-384", rsa("-tls1_2 -groups P-384")),
            refused(&made, "1.3 X25519", rsa("-tls1_3 -groups X25519"), NOT_APPROVED),
            refused(&made, "1.2 X25519", rsa("-tls1_2 -groups X25519"), NOT_APPROVED),
            refused(&made, "1.3 P-521", rsa("-tls1_3 -groups P-521"), NOT_APPROVED),
            refused(&made, "1.2 P-521", rsa("-tls1_2 -groups P-521"), NOT_APPROVED),
            refused(&made, "1.3 ffdhe2048", rsa("-tls1_3 -groups ffdhe2048"), NOT_APPROVED),
            connects(&made, "RSA-PSS SHA-256", rsa("-tls1_3 -sigalgs RSA-PSS+SHA256")),
            connects(&made, "RSA-PSS SHA-512", rsa("-tls1_2 -sigalgs RSA-PSS+SHA512")),
            connects(&made, "RSA SHA-256", rsa("-tls1_2 -sigalgs RSA+SHA256")),
            connects(&made, "ECDSA P-256", with(ECDSA, "-tls1_3 -sigalgs ECDSA+SHA256:RSA-PSS+SHA256")),
            connects(&made, "ECDSA P-384", with("-cert p384.crt -key p384.key", "-tls1_3")),
            refused(&made, "RSA SHA-1", weak("-tls1_2 -sigalgs RSA+SHA1"), NOT_APPROVED),
            refused(&made, "RSA SHA-224", weak("-tls1_2 -sigalgs RSA+SHA224"), NOT_APPROVED),
            refused(&made, "ECDSA P-521", with("-cert p521.crt -key p521.key", "-tls1_3"), NOT_APPROVED),
            refused(&made, "Ed25519", with("-cert ed25519.crt -key ed25519.key", "-tls1_3"), NOT_APPROVED),
            nginx(&made, "nginx as it comes", "", None),
            nginx(&made, "nginx TLS 1.2", "ssl_protocols TLSv1.2;", None),
            nginx(
                &made,
                "without extended master secret",
                "ssl_protocols TLSv1.2; ssl_conf_command Options -ExtendedMasterSecret;",
                Some("ExtendedMasterSecretExtensionRequired): it needs TLS 1.3, or 1.2 with extended master secret"),
            ),
            nginx(&made, "nginx with X25519 alone", "ssl_ecdh_curve X25519;", Some(NOT_APPROVED)),
            stunnel(&made, "stunnel as it comes", "", None),
            stunnel(&made, "stunnel TLS 1.2", "sslVersion = TLSv1.2", None),
            stunnel(&made, "stunnel TLS 1.1", "sslVersion = TLSv1.1\nciphers = ALL:@SECLEVEL=0", Some(NOT_APPROVED)),
            stunnel(&made, "stunnel with X25519 alone", "curves = X25519", Some(NOT_APPROVED)),
        ],
        check,
    );
}

#[test]
fn only_good_certificates_are_believed() {
    let made = ordinary();
    make_bad_ones(&made);
    let of = |name: &str| format!("-cert {name}.crt -key {name}.key -cipher DEFAULT:@SECLEVEL=0");
    let below = |name: &str, issuer: &str| format!("{} -cert_chain {issuer}.crt", of(name));
    let bad = |name, server, reason| refused(&made, name, server, reason);
    let renew = |name: &'static str, row: (&'static str, Row), trusted| (name, Row { trusted, ..row.1 });
    at_the_same_time(
        vec![
            bad("expired", of("expired"), "has expired by this host's clock: check the clock, then the server"),
            bad("not yet valid", of("early"), "is not valid yet by this host's clock: check the clock"),
            bad("wrong name", of("elsewhere"), "is for another name: check endpoint, DNS and proxy"),
            bad("a name in its subject only", of("nameless"), "is for another name"),
            bad("self-signed", of("selfsigned"), NOT_TRUSTED),
            bad("SHA-1", of("sha1"), "not signed by an approved algorithm"),
            bad("1,024 bits", of("rsa1024"), "RSA key of fewer than 2,048 bits"),
            bad(
                "an authority with 1,024 bits",
                below("below1024", "intermediate1024"),
                "RSA key of fewer than 2,048 bits",
            ),
            bad("for clients", of("client"), "the certificate of the server is refused (it is none for servers)"),
            bad("outside its issuer's names", below("outside", "limited"), "refused (NameConstraintViolation)"),
            connects(&made, "within its issuer's names", below("within", "roomy")),
            bad("below a server's", below("belowserver", "rsa"), "refused (EndEntityUsedAsCa)"),
            connects(&made, "with its intermediate", below("leaf", "intermediate")),
            bad("without its intermediate", of("leaf"), NOT_TRUSTED),
            connects(&made, "3,072 bits", of("rsa3072")),
            renew("signed by the old authority", refused(&made, "", of("rsa"), NOT_TRUSTED), &["other"]),
            renew("two authorities", connects(&made, "", of("rsa")), &["other", "root"]),
            connects(&made, "asks for our certificate", format!("{RSA} -verify 2")),
            bad(
                "refuses our certificate in 1.3",
                format!("{RSA} -tls1_3 -Verify 2 -verify_return_error -CAfile other.crt"),
                ON_OURS,
            ),
            bad(
                "refuses our certificate in 1.2",
                format!("{RSA} -tls1_2 -Verify 2 -verify_return_error -CAfile other.crt"),
                ON_OURS,
            ),
            stunnel(
                &made,
                "stunnel refuses our certificate",
                "verifyChain = yes\nCAfile = {dir}/other.crt",
                Some(ON_OURS),
            ),
        ],
        check,
    );
}

/// nginx takes any certificate in its handshake, and says no by a page with status 400: the status by which the service refuses records.
#[test]
fn a_page_that_refuses_our_certificate_costs_no_record() {
    let made = ordinary();
    let lines = "ssl_certificate {dir}/rsa.crt; ssl_certificate_key {dir}/rsa.key; ssl_client_certificate {dir}/other.crt; ssl_verify_client on;";
    let server = Server::nginx(made.dir(), lines);
    let (site, omsd) = agent(&made, &["root"], server.port);
    omsd.wait_for_stderr("put off");
    assert!(omsd.stderr().contains("refuses this agent's certificate (400)"), "{}", omsd.stderr());
    wait_until("nginx has noted it", || server.file("access").contains(" 400 "));
    assert_eq!(site.stream("heartbeat")["refused"], 0);
}

#[test]
fn no_new_handshake_begins_within_a_connection() {
    let made = ordinary();
    let mut server = Server::openssl(made.dir(), &format!("{RSA} -tls1_2"));
    let (_site, omsd) = agent(&made, &["root"], server.port);
    wait_until("a request arrives", || server.output().contains("POST "));
    assert!(server.type_in("R\n"), "the server asks for it");
    wait_until("the server is told no", || server.output().contains(":no renegotiation:"));
    omsd.wait_for_stderr("the server ended TLS (HandshakeFailure)");
}

#[test]
fn new_keys_within_a_connection_are_taken() {
    let made = ordinary();
    let mut server = Server::openssl(made.dir(), &format!("{RSA} -tls1_3 -msg"));
    let (site, omsd) = agent(&made, &["root"], server.port);
    wait_until("a request arrives", || server.output().contains("POST "));
    assert!(server.type_in("K\n"), "the server changes its keys and asks for ours");
    wait_until("new keys", || server.output().contains(", KeyUpdate"));
    expect_data(&site, &omsd, &mut server, true);
}

/// Authorities `root` and `other`, and good servers' certificates by the first.
fn ordinary() -> Arc<Certificates> {
    let made = Certificates::new();
    for name in ["root", "other"] {
        made.make(name, name, &Kind { extensions: AUTHORITY, ..SERVER });
    }
    made.make("rsa", "root", &Kind { key: "-algorithm RSA -pkeyopt rsa_keygen_bits:2048", ..SERVER });
    made.make("ecdsa", "root", &SERVER);
    made.make("p384", "root", &Kind { key: "-algorithm EC -pkeyopt ec_paramgen_curve:P-384", ..SERVER });
    made.make("p521", "root", &Kind { key: "-algorithm EC -pkeyopt ec_paramgen_curve:P-521", ..SERVER });
    made.make("ed25519", "root", &Kind { key: "-algorithm ED25519", ..SERVER });
    Arc::new(made)
}

fn make_bad_ones(made: &Certificates) {
    let authority = Kind { extensions: AUTHORITY, ..SERVER };
    let limited = "basicConstraints=critical,CA:TRUE\nnameConstraints=critical,permitted;DNS:";
    made.make("limited", "root", &Kind { extensions: &format!("{limited}example.com"), ..SERVER });
    made.make("outside", "limited", &SERVER);
    made.make("roomy", "root", &Kind { extensions: &format!("{limited}localhost"), ..SERVER });
    made.make("within", "roomy", &SERVER);
    made.make("expired", "root", &Kind { end: "20210101000000Z", ..SERVER });
    made.make("early", "root", &Kind { start: "20480101000000Z", ..SERVER });
    made.make("elsewhere", "root", &Kind { extensions: "subjectAltName=DNS:elsewhere.example,IP:127.0.0.1", ..SERVER });
    made.make("nameless", "root", &Kind { extensions: "extendedKeyUsage=serverAuth", ..SERVER });
    made.make("selfsigned", "selfsigned", &SERVER);
    made.make("sha1", "root", &Kind { hash: "sha1", ..SERVER });
    made.make("rsa1024", "root", &Kind { key: "-algorithm RSA -pkeyopt rsa_keygen_bits:1024", ..SERVER });
    made.make("rsa3072", "root", &Kind { key: "-algorithm RSA -pkeyopt rsa_keygen_bits:3072", ..SERVER });
    made.make("intermediate1024", "root", &Kind { key: "-algorithm RSA -pkeyopt rsa_keygen_bits:1024", ..authority });
    made.make("below1024", "intermediate1024", &SERVER);
    made.make(
        "client",
        "root",
        &Kind { extensions: "subjectAltName=DNS:localhost\nextendedKeyUsage=clientAuth", ..SERVER },
    );
    made.make("intermediate", "root", &authority);
    made.make("leaf", "intermediate", &SERVER);
    made.make("belowserver", "rsa", &SERVER);
}

fn connects(made: &Arc<Certificates>, name: &'static str, server: String) -> (&'static str, Row) {
    row(made, name, Program::Openssl(server), None)
}

fn refused(made: &Arc<Certificates>, name: &'static str, server: String, why: &'static str) -> (&'static str, Row) {
    row(made, name, Program::Openssl(server), Some(why))
}

fn nginx(
    made: &Arc<Certificates>,
    name: &'static str,
    lines: &str,
    refused: Option<&'static str>,
) -> (&'static str, Row) {
    let lines = format!("ssl_certificate {{dir}}/rsa.crt; ssl_certificate_key {{dir}}/rsa.key; {lines}");
    row(made, name, Program::Nginx(lines), refused)
}

fn stunnel(
    made: &Arc<Certificates>,
    name: &'static str,
    lines: &str,
    refused: Option<&'static str>,
) -> (&'static str, Row) {
    let lines = format!("cert = {{dir}}/rsa.crt\nkey = {{dir}}/rsa.key\n{lines}");
    row(made, name, Program::Stunnel(lines), refused)
}

fn row(
    made: &Arc<Certificates>,
    name: &'static str,
    program: Program,
    refused: Option<&'static str>,
) -> (&'static str, Row) {
    (name, Row { certificates: made.clone(), program, trusted: &["root"], refused })
}

fn check(row: Row) {
    let dir = row.certificates.dir();
    let mut server = match &row.program {
        Program::Openssl(arguments) => Server::openssl(dir, &format!("{arguments} -quiet")),
        Program::Nginx(lines) => Server::nginx(dir, lines),
        Program::Stunnel(lines) => Server::stunnel(dir, plain_server(), lines),
    };
    let (site, omsd) = agent(&row.certificates, row.trusted, server.port);
    match row.refused {
        None => expect_data(&site, &omsd, &mut server, matches!(row.program, Program::Openssl(_))),
        Some(reason) => expect_refusal(&site, &omsd, &server, reason),
    }
}

/// A running agent that sends to this port of localhost.
fn agent(made: &Certificates, trusted: &[&str], port: u16) -> (Site, Omsd) {
    let site = Site::new();
    site.write_ca(&made.bundle(trusted));
    site.send_to(&format!("https://localhost:{port}"));
    site.configure(&[], "");
    site.add_heartbeat();
    let omsd = site.start();
    (site, omsd)
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// openssl's server prints what it is sent, and sends what is typed.
fn expect_data(site: &Site, omsd: &Omsd, server: &mut Server, typed: bool) {
    if typed {
        wait_until("a request arrives", || server.output().contains("POST ") || omsd.stderr().contains("put off"));
        assert!(server.output().contains("POST /OperationalData.svc/PostJsonDataItems HTTP/1.1"), "{}", omsd.stderr());
        assert!(server.type_in(ANSWER));
    }
    wait_until("data is sent", || {
        site.stream("heartbeat")["sent"].as_u64() > Some(0) || omsd.stderr().contains("put off")
    });
    assert!(!omsd.stderr().contains("put off"), "{}", omsd.stderr());
}

fn expect_refusal(site: &Site, omsd: &Omsd, server: &Server, reason: &str) {
    wait_until("it is said why", || omsd.stderr().contains("put off"));
    assert!(omsd.stderr().contains(reason), "{reason:?} is not in {}", omsd.stderr());
    let mut told = String::new();
    wait_until("the status says so, too", || {
        site.status()["upload"]["last_reason"].as_str().unwrap_or_default().clone_into(&mut told);
        told.contains(reason)
    });
    assert!(told.contains(": "), "the reason has no advice, or was cut: {told}");
    assert!(!server.output().contains("POST "), "a request was sent: {}", server.output());
    assert_eq!(server.file("access"), "", "a request was sent");
    assert_eq!(site.stream("heartbeat")["sent"], 0);
}

/// A server without TLS that takes every request.
fn plain_server() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("it has one").port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut reader = BufReader::new(client.try_clone().expect("a second handle"));
            let (mut line, mut bytes) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
                bytes =
                    line.strip_prefix("content-length: ").map_or(bytes, |text| text.trim().parse().expect("a number"));
                line.clear();
            }
            let _ = reader.read_exact(&mut vec![0; bytes]);
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    port
}
