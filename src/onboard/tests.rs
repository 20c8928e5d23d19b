//! Onboarding against a service of the test's own, which checks what Azure checks.

use super::identity::tests::Root;
use super::*;
use crate::sys::file::write_atomically;
use crate::upload::https::tests::{
    AUTHORITY, Authority, CLIENT_CERTIFICATE, Kind, ORDINARY, Request as Received, Server,
};
use crate::upload::https::{Hop, TlsFault};
use alloc::vec::Vec;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fs;
use std::net::TcpListener;

const WORKSPACE: &str = "0e6b5a53-2c1f-4a4e-9d7a-111111111111";
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==";
const DSC: &str = "https://dsc.example/Nodes(AgentId='a')";

fn request<'a>(root: &'a Root, endpoint: &'a str) -> Request<'a> {
    Request {
        workspace_id: WORKSPACE,
        shared_key: SharedKey::parse(KEY.into()).unwrap(),
        domain: None,
        proxy: None,
        no_proxy: "",
        resource_id: None,
        endpoint: Some(endpoint),
        ca_file: Some(&AUTHORITY.file),
        root: &root.0,
        allow_non_fips: true,
    }
}

/// What the service says to a request that is signed as it should be, and to one that is not.
fn judge(request: &Received) -> String {
    let header = |name| request.header(name).unwrap_or_else(|| panic!("no {name} in {}", request.head));
    let body = String::from_utf8(request.body.clone()).unwrap();
    assert!(request.head.starts_with("POST /AgentService.svc/LinuxAgentTopologyRequest HTTP/1.1\r\n"));
    assert_eq!(header("x-ms-version"), "August, 2014");
    assert_eq!(header("user-agent"), USER_AGENT);
    assert_eq!(header("accept-language"), "en-US");
    assert_eq!(header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(header("x-ms-sha256_content"), topology::content_hash(&request.body));
    let shown: String =
        body.split("Certificate>").nth(1).unwrap().trim_end_matches("</Authentication").lines().collect();
    assert_eq!(STANDARD.decode(shown).ok(), request.certificate, "the body and TLS show different certificates");
    let key = SharedKey::parse(KEY.into()).unwrap();
    let signature = topology::signature(&key, header("x-ms-date"), header("x-ms-sha256_content"));
    if header("authorization") == format!("{WORKSPACE}; {signature}") {
        crate::upload::https::tests::ok(&format!(
            "<R queryInterval=\"PT1H\"><CertificateUpdateEndpoint updateCertificate=\"false\">https://w.example/RenewCertificate\
             </CertificateUpdateEndpoint><DscConfiguration><Endpoint>{DSC}</Endpoint></DscConfiguration></R>"
        ))
    } else {
        refusal("")
    }
}

fn refusal(more_headers: &str) -> String {
    let body = "<Error><Reason>The signature is wrong.</Reason></Error>";
    format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n{more_headers}\r\n{body}", body.len())
}

fn service() -> (Server, String) {
    service_of(&ORDINARY, judge)
}

fn service_of(kind: &Kind, answer: impl Fn(&Received) -> String + Send + 'static) -> (Server, String) {
    let server = Server::answering(kind, answer);
    let endpoint = format!("https://127.0.0.1:{}", server.port);
    (server, endpoint)
}

/// Path and bytes of each file below the installation, and where each link leads.
fn files(root: &Root) -> Vec<(String, Vec<u8>)> {
    fn collect(path: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(path).unwrap().flatten() {
            let path = entry.path();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                collect(&path, found);
            } else {
                let name = path.display().to_string();
                let link = kind.is_symlink().then(|| fs::read_link(&path).unwrap().display().to_string().into_bytes());
                found.push((name, link.unwrap_or_else(|| fs::read(&path).unwrap())));
            }
        }
    }
    let mut found = Vec::new();
    collect(&root.0, &mut found);
    found.sort();
    found
}

#[test]
fn a_new_agent_is_known_by_five_files_and_again_by_the_same() {
    let (_server, endpoint) = service();
    let root = Root::new();
    let first = onboard(&Request { resource_id: Some("/subscriptions/s"), ..request(&root, &endpoint) }).unwrap();
    assert!(!first.kept_certificate && is_guid(&first.agent_guid) && first.warning.is_none(), "{first:?}");
    assert_eq!(first.oms_endpoint, format!("{endpoint}/OperationalData.svc/PostJsonDataItems"));
    let conf = fs::read_to_string(root.0.join("etc/opt/omsd/conf/omsadmin.conf")).unwrap();
    let written = AdminConf::parse(&conf).unwrap();
    assert_eq!(written.workspace_id, WORKSPACE);
    assert_eq!(written.agent_guid, first.agent_guid);
    assert_eq!(written.url_tld, "opinsights.azure.com");
    assert_eq!(written.dsc_endpoint, DSC);
    assert_eq!(written.certificate_update_endpoint, "https://w.example/RenewCertificate");
    assert_eq!(written.azure_resource_id, "/subscriptions/s");
    let before = files(&root);
    assert_eq!(before.len(), 5, "{before:?}");
    assert!(
        !before.iter().any(|(_, bytes)| String::from_utf8_lossy(bytes).contains(&KEY[..20])),
        "the key was written"
    );

    let second = onboard(&request(&root, &endpoint)).unwrap();
    assert_eq!(second, Onboarded { kept_certificate: true, ..first });
    assert_eq!(files(&root), before);
}

#[test]
fn a_failed_onboarding_again_leaves_the_working_identity_as_it_was() {
    let (_server, endpoint) = service();
    let root = Root::new();
    onboard(&request(&root, &endpoint)).unwrap();
    let before = files(&root);
    let wrong_key = SharedKey::parse("a2V5IQ==".into()).unwrap();
    let refused = onboard(&Request { shared_key: wrong_key, ..request(&root, &endpoint) }).unwrap_err();
    assert_eq!(refused.exit_code(), 69);
    let lost = Request { proxy: Some("127.0.0.1:1"), ..request(&root, &endpoint) };
    assert_eq!(onboard(&lost).unwrap_err().exit_code(), 75);
    assert_eq!(files(&root), before);
}

#[test]
fn a_failed_first_onboarding_leaves_nothing() {
    let (_server, endpoint) = service_of(&ORDINARY, |_| refusal(""));
    let root = Root::new();
    let error = onboard(&request(&root, &endpoint)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the service refuses (403): The signature is wrong.; check workspace id and shared key"
    );
    assert_eq!(files(&root), []);
    assert_eq!(identity::list(&root.0), []);
}

#[test]
fn a_wrong_key_is_told_from_a_wrong_clock() {
    let (_server, endpoint) = service_of(&ORDINARY, |_| refusal("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    let error = onboard(&request(&Root::new(), &endpoint)).unwrap_err();
    assert!(matches!(error, OnboardError::Clock { skew_s: Some(..0) }) && error.exit_code() == 69, "{error:?}");
    assert!(error.to_string().contains("min ahead of its clock: set the clock"), "{error}");
    let (_server, endpoint) = service();
    let short_key = SharedKey::parse("a2V5IQ==".into()).unwrap();
    let error = onboard(&Request { shared_key: short_key, ..request(&Root::new(), &endpoint) }).unwrap_err();
    assert!(
        error.to_string().ends_with("check workspace id and shared key (the key has 4 bytes, keys have 64)"),
        "{error}"
    );
}

#[track_caller]
fn check_certificate_replaced(change: impl Fn(&Directory)) {
    let (_server, endpoint) = service();
    let root = Root::new();
    let first = onboard(&request(&root, &endpoint)).unwrap();
    let directory = Directory::new(&root.0, WORKSPACE);
    let before = directory.load().unwrap().pair.certificate_pem.clone();
    change(&directory);
    let second = onboard(&request(&root, &endpoint)).unwrap();
    assert_eq!((second.kept_certificate, second.agent_guid), (false, first.agent_guid));
    assert_ne!(directory.load().unwrap().pair.certificate_pem, before);
    assert!(onboard(&request(&root, &endpoint)).unwrap().kept_certificate);
}

#[test]
fn a_certificate_about_to_end_is_replaced_under_the_same_agent() {
    check_certificate_replaced(|directory| {
        let made = i64::try_from(clock::wall_us() / 1_000_000).unwrap() - 336 * 86_400;
        let pair = Certificate::generate(Subject { workspace_id: WORKSPACE, agent_guid: "a" }, made).unwrap();
        directory.store_pair(&pair, None).unwrap();
    });
}

#[test]
fn a_key_of_another_certificate_is_replaced_under_the_same_agent() {
    check_certificate_replaced(|directory| {
        let other = Certificate::generate(Subject { workspace_id: WORKSPACE, agent_guid: "a" }, 0).unwrap();
        write_atomically(&directory.key(), other.key_pem.as_bytes(), 0o640).unwrap();
    });
}

#[test]
fn an_agent_without_its_key_becomes_a_new_agent() {
    let (_server, endpoint) = service();
    let root = Root::new();
    let first = onboard(&request(&root, &endpoint)).unwrap();
    fs::remove_file(Directory::new(&root.0, WORKSPACE).key()).unwrap();
    assert_ne!(onboard(&request(&root, &endpoint)).unwrap().agent_guid, first.agent_guid);
}

#[test]
fn the_proxy_is_used_and_kept_and_can_be_removed() {
    let (server, endpoint) = service();
    let (port, asked) = crate::upload::https::tests::proxy("HTTP/1.1 200 OK\r\n\r\n");
    let root = Root::new();
    let setting = format!("http://user:secret@127.0.0.1:{port}\n");
    onboard(&Request { proxy: Some(&setting), ..request(&root, &endpoint) }).unwrap();
    let kept = root.0.join("etc/opt/omsd/proxy.conf");
    assert_eq!(fs::read_to_string(&kept).unwrap(), setting.trim());
    asked.lock().unwrap().clear();
    onboard(&request(&root, &endpoint)).unwrap();
    assert!(
        asked.lock().unwrap().starts_with(&format!("CONNECT 127.0.0.1:{} ", server.port)),
        "proxy.conf was not used"
    );
    onboard(&Request { proxy: Some(""), ..request(&root, &endpoint) }).unwrap();
    assert!(!kept.exists());
}

#[track_caller]
fn check_error(request: &Request, exit_code: u8, words: &str) {
    let error = onboard(request).unwrap_err();
    assert_eq!(error.exit_code(), exit_code, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(!format!("{error:?} {error} {request:?}").contains(KEY), "the key is shown");
}

#[test]
fn each_cause_has_its_sentence_and_its_exit_code() {
    let root = Root::new();
    // An identity to keep, so that no key has to be made for each of these.
    let directory = Directory::new(&root.0, WORKSPACE);
    directory.prepare().unwrap();
    directory.store_pair(&CLIENT_CERTIFICATE, None).unwrap();
    let conf = AdminConf { agent_guid: WORKSPACE.into(), oms_endpoint: "https://e".into(), ..AdminConf::default() };
    directory.store_conf(&conf).unwrap();
    check_error(&Request { workspace_id: "scom", ..request(&root, "https://e") }, 64, "not a GUID");
    check_error(&Request { domain: Some("a b"), ..request(&root, "https://e") }, 64, "not a domain");
    check_error(&Request { resource_id: Some("a\nb"), ..request(&root, "https://e") }, 64, "resource id");
    check_error(&Request { proxy: Some("socks5://p"), ..request(&root, "https://e") }, 64, "scheme");
    check_error(&request(&root, "http://e"), 64, "https://host:port");
    check_error(&request(&root, "https://e/path"), 64, "https://host:port");
    check_error(&request(&root, "https://name.invalid"), 75, "the name of name.invalid was not found");
    check_error(
        &Request { proxy: Some("p.invalid"), ..request(&root, "https://e") },
        75,
        "the name of the proxy p.invalid was not found",
    );
    let unused = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    check_error(&request(&root, &format!("https://{unused}")), 75, "was not reached");
    check_error(
        &Request { ca_file: Some(Path::new("/nonexistent")), ..request(&root, "https://e") },
        78,
        "/nonexistent",
    );
    let elsewhere = Authority::new("onboard test CA");
    let (_server, endpoint) = service();
    check_error(
        &Request { ca_file: Some(&elsewhere.file), ..request(&root, &endpoint) },
        69,
        "no authority trusted on this host",
    );
    for (status, exit_code) in [(302, 69), (401, 69), (404, 69), (408, 75), (429, 75), (500, 75), (503, 75)] {
        let (_server, endpoint) =
            service_of(&ORDINARY, move |_| format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        check_error(&request(&root, &endpoint), exit_code, &format!("({status})"));
    }
    let root = Root::new();
    fs::write(root.0.join("etc"), "").unwrap();
    check_error(&request(&root, "https://e"), 73, "cannot write");
}

#[test]
fn every_kind_of_no_answer_has_an_exit_code() {
    let hop = || Hop { name: "h:1".into(), is_proxy: true };
    let code = |error| OnboardError::NoAnswer(error).exit_code();
    assert_eq!(code(HttpsError::ProxyRefused { hop: hop(), status: 407 }), 75);
    assert_eq!(code(HttpsError::TimedOut("an answer")), 75);
    assert_eq!(code(HttpsError::ClosedEarly), 75);
    assert_eq!(code(HttpsError::Malformed("x".into())), 75);
    assert_eq!(code(HttpsError::Tls(TlsFault::Expired)), 69);
    assert_eq!(code(HttpsError::Identity("x".into())), 69);
    let denied = FileError { path: "/p".into(), error: io::ErrorKind::PermissionDenied.into() };
    assert_eq!(OnboardError::from(denied).exit_code(), 77);
    assert_eq!(OnboardError::Clock { skew_s: None }.exit_code(), 75);
}

#[test]
fn the_names_are_made_from_workspace_and_domain() {
    let root = Root::new();
    let endpoints = |domain| Endpoints::of(&Request { endpoint: None, domain, ..request(&root, "") }).ok().unwrap();
    let topology = format!("https://{WORKSPACE}.oms.opinsights.azure.com/AgentService.svc/LinuxAgentTopologyRequest");
    assert_eq!(endpoints(None).topology, topology);
    let data = format!("https://{WORKSPACE}.ods.opinsights.azure.us/OperationalData.svc/PostJsonDataItems");
    assert_eq!(endpoints(Some("opinsights.azure.us")).data, data);
}
