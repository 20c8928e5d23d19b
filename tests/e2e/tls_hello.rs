//! What omsd offers a server before it knows it, as openssl reads it: approved suites, groups and signatures of TLS 1.3 and 1.2, extended master secret, the
//! server's name if it is one, and nothing of an earlier connection. A second connection, after the server has given tickets, offers the same.

use crate::harness::authority::{AUTHORITY, Certificates, Kind, SERVER};
use crate::harness::{Server, Site, at_the_same_time, wait_until};

const OFFERED: [&str; 22] = [
    "{0x13, 0x02} TLS_AES_256_GCM_SHA384",
    "{0x13, 0x01} TLS_AES_128_GCM_SHA256",
    "{0xC0, 0x2C} TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "{0xC0, 0x2B} TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "{0xC0, 0x30} TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "{0xC0, 0x2F} TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "{0x00, 0xFF} TLS_EMPTY_RENEGOTIATION_INFO_SCSV",
    "ecdsa_secp384r1_sha384 (0x0503)",
    "ecdsa_secp256r1_sha256 (0x0403)",
    "rsa_pss_rsae_sha512 (0x0806)",
    "rsa_pss_rsae_sha384 (0x0805)",
    "rsa_pss_rsae_sha256 (0x0804)",
    "rsa_pkcs1_sha512 (0x0601)",
    "rsa_pkcs1_sha384 (0x0501)",
    "rsa_pkcs1_sha256 (0x0401)",
    "psk_dhe_ke (1)",
    "secp256r1 (P-256) (23)",
    "secp384r1 (P-384) (24)",
    "TLS 1.3 (772)",
    "TLS 1.2 (771)",
    "No Compression (0x00)",
    "uncompressed (0)",
];
/// In no order: it is another each time. The modes of keys shared before stand here although none is offered.
const EXTENSIONS: [&str; 9] = [
    "ec_point_formats(11)",
    "extended_master_secret(23)",
    "key_share(51)",
    "psk_key_exchange_modes(45)",
    "server_name(0)",
    "signature_algorithms(13)",
    "status_request(5)",
    "supported_groups(10)",
    "supported_versions(43)",
];

#[test]
fn a_hello_offers_what_is_approved_and_nothing_of_an_earlier_connection() {
    let name = ("of a name", ("localhost", "subjectAltName=DNS:localhost", true));
    let address = ("of an address", ("127.0.0.1", "subjectAltName=IP:127.0.0.1", false));
    at_the_same_time(vec![name, address], check);
}

fn check((host, extensions, is_name): (&str, &str, bool)) {
    let made = Certificates::new();
    made.make("root", "root", &Kind { extensions: AUTHORITY, ..SERVER });
    made.make("server", "root", &Kind { extensions, ..SERVER });
    let mut server = Server::openssl(made.dir(), "-cert server.crt -key server.key -trace");
    let site = Site::new();
    site.write_ca(&made.bundle(&["root"]));
    site.send_to(&format!("https://{host}:{}", server.port));
    site.configure(&[], "");
    site.add_heartbeat();
    let _omsd = site.start();
    wait_until("a request arrives", || server.output().contains("POST "));
    assert!(server.output().contains("NewSessionTicket"), "the server gives no ticket: nothing is tested");
    assert!(server.type_in("q\n"), "the server ends the connection");
    wait_until("the request comes again", || server.output().matches("POST ").count() == 2);

    let output = server.output();
    let hellos: Vec<_> = output.split("ClientHello, Length=").skip(1).collect();
    assert_eq!(hellos.len(), 2, "{output}");
    for hello in hellos {
        check_hello(hello.split("Sent Record").next().expect("a first part"), is_name);
    }
}

fn check_hello(hello: &str, is_name: bool) {
    let lines = || hello.lines().map(str::trim);
    let list =
        |line: &&str| line.starts_with("{0x") || line.ends_with(')') && !line.contains('=') && !line.contains(':');
    let offered: Vec<_> = lines().filter(list).collect();
    let sorted = |mut list: Vec<String>| {
        list.sort_unstable();
        list
    };
    let owned = |list: &[&str]| sorted(list.iter().map(|&text| text.to_owned()).collect());
    assert_eq!(owned(&offered), owned(&OFFERED), "{hello}");

    let kinds = lines().filter_map(|line| Some(line.strip_prefix("extension_type=")?.split(',').next()?.to_owned()));
    let expected: Vec<_> = EXTENSIONS.into_iter().filter(|kind| is_name || !kind.starts_with("server_name")).collect();
    assert_eq!(sorted(kinds.collect()), owned(&expected), "{hello}");
    assert_eq!(hello.contains("localhost"), is_name, "{hello}");
}
