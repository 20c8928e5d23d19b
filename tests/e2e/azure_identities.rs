//! Every kind of identity gets its token from an endpoint that checks what the real one checks, and keeps it: for the next request, for the next upload
//! child, for the next start. Secrets and tokens show nowhere. Whoever gives tokens may be down, slow, or a page of a proxy; a secret may be rotated
//! while omsd runs; what an answer says of a token's life may be missing or absurd.

use crate::harness::{Omsd, Site, Source, at_the_same_time, mode, send_over_tcp, wait_for, wait_until};
use omsd_standin::{Answer, Manner, Options, Route};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A site, and the lines that choose the identity.
struct Known {
    site: Site,
    keys: String,
}

fn by_secret() -> Known {
    Known { site: Site::bare(Options::default()), keys: String::new() }
}

/// The certificate is made by openssl.
fn by_certificate() -> Known {
    let site = Site::bare(Options::default());
    let certs = site.etc("certs");
    std::fs::create_dir_all(&certs).expect("certs");
    let file = |name: &str| certs.join(name).to_string_lossy().into_owned();
    let (key, pem, der) = (file("ingestion.key"), file("ingestion.crt"), file("der"));
    openssl(&["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=omsd", "-keyout", &key, "-out", &pem]);
    openssl(&["x509", "-in", &pem, "-outform", "DER", "-out", &der]);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("private");
    let der = std::fs::read(der).expect("the certificate");
    site.standin.azure(|azure| azure.certificate = der);
    Known { site, keys: "identity certificate".to_owned() }
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn by_machine(kind: &str, more: &str) -> Known {
    let site = Site::bare(Options::default());
    let address = site.standin.start_metadata().expect("the metadata service listens");
    let challenges = site.root.join("var/opt/azcmagent/tokens");
    std::fs::create_dir_all(&challenges).expect("the directory of challenges");
    site.standin.azure(|azure| azure.challenges = challenges);
    let keys = format!("identity {kind}\nidentity_endpoint http://{address}/metadata/identity/oauth2/token\n{more}");
    Known { site, keys }
}

fn by_system() -> Known {
    by_machine("managed", "")
}

fn by_user_assigned() -> Known {
    by_machine("managed", "client_id 66666666-7777-8888-9999-aaaaaaaaaaaa")
}

fn by_arc() -> Known {
    by_machine("arc", "")
}

#[test]
fn each_identity_gets_one_token_for_all_that_follows() {
    at_the_same_time(
        vec![
            ("secret", by_secret as fn() -> Known),
            ("certificate", by_certificate),
            ("system-assigned", by_system),
            ("user-assigned", by_user_assigned),
            ("arc", by_arc),
        ],
        check_identity,
    );
}

fn check_identity(known: fn() -> Known) {
    let Known { site, keys } = known();
    let source = Source::tcp();
    site.configure_rows(&[source], &keys);
    let mut omsd = site.start();
    expect_row(&site, source, "one", &omsd);
    // Another child, then another start.
    wait_until("the child has gone", || children(&omsd) == 0);
    expect_row(&site, source, "two", &omsd);
    let first_run = omsd.stderr();
    omsd.terminate();
    let omsd = site.start();
    expect_row(&site, source, "three", &omsd);

    let seen = site.standin.seen();
    let given =
        seen.requests.iter().filter(|it| matches!(it.route, Route::Token | Route::Metadata) && it.status == 200);
    assert_eq!(given.count(), 1, "{:?}", seen.requests);
    assert_eq!(seen.complaints, [""; 0]);
    drop(seen);
    let token = token_file(&site);
    assert_eq!(mode(&token), 0o600);
    let shown = first_run + &omsd.stderr() + &site.status().to_string();
    let secret = site.standin.azure(|azure| azure.secret.clone());
    assert!(!shown.contains("standin.") && !shown.contains(&secret), "{shown}");
}

fn token_file(site: &Site) -> std::path::PathBuf {
    let entries = std::fs::read_dir(site.var("")).expect("var/opt/omsd").flatten();
    let found = entries.map(|entry| entry.path()).find(|path| name_of(path).starts_with("token-"));
    found.expect("the token is kept")
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn children(omsd: &Omsd) -> usize {
    let path = format!("/proc/{0}/task/{0}/children", omsd.pid());
    std::fs::read_to_string(path).unwrap_or_default().split_whitespace().count()
}

#[track_caller]
fn expect_row(site: &Site, source: Source, text: &str, omsd: &Omsd) {
    let _stream = send_over_tcp(source, &format!("<13>Nov 22 20:00:00 web01 app: {text}\n"));
    let arrived = site
        .standin
        .wait(Duration::from_secs(60), |seen| seen.rows.iter().any(|row| row.text("SyslogMessage") == text));
    assert!(arrived, "{text} does not arrive: {}\n{:?}", omsd.stderr(), site.standin.seen().complaints);
}

#[test]
fn a_secret_that_others_can_read_is_not_used() {
    let Known { site, keys } = by_secret();
    let source = Source::tcp();
    site.configure_rows(&[source], &keys);
    let secret = site.etc("secret");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o640)).expect("readable by a group");
    let omsd = site.start();
    let _stream = send_over_tcp(source, "<13>Nov 22 20:00:00 web01 app: before\n");
    omsd.wait_for_stderr("chmod 600");
    assert_eq!(site.standin.seen().requests.len(), 0, "nobody was asked");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("private");
    expect_row(&site, source, "after", &omsd);
}

#[test]
fn a_secret_is_rotated_while_omsd_runs() {
    let Known { site, keys } = by_secret();
    let source = Source::tcp();
    site.configure_rows(&[source], &keys);
    let omsd = site.start();
    expect_row(&site, source, "old", &omsd);
    site.standin.azure(|azure| {
        azure.secret = "another-one".to_owned();
        azure.revoke();
    });
    let _stream = send_over_tcp(source, "<13>Nov 22 20:00:00 web01 app: between\n");
    omsd.wait_for_stderr("AADSTS7000215");
    let secret = site.etc("secret");
    std::fs::write(&secret, "another-one").expect("the new secret");
    expect_row(&site, source, "between", &omsd);
}

#[test]
fn a_token_that_is_not_accepted_is_replaced_once_at_once() {
    let Known { site, keys } = by_secret();
    let source = Source::tcp();
    site.configure_rows(&[source], &keys);
    let omsd = site.start();
    expect_row(&site, source, "one", &omsd);
    site.standin.azure(omsd_standin::Azure::revoke);
    expect_row(&site, source, "two", &omsd);
    let seen = site.standin.seen();
    assert_eq!(seen.requests_of(Route::Token).count(), 2);
    assert!(!omsd.stderr().contains("put off"), "{}", omsd.stderr());
}

#[test]
fn a_token_is_renewed_before_its_end() {
    let Known { site, keys } = by_secret();
    let source = Source::tcp();
    site.configure_rows(&[source], &keys);
    site.standin.azure(|azure| azure.token_life = Duration::from_secs(4));
    let omsd = site.start();
    for number in 0..6 {
        expect_row(&site, source, &format!("message {number}"), &omsd);
    }
    let seen = site.standin.seen();
    assert!(seen.requests_of(Route::Token).count() >= 2);
    assert_eq!(seen.complaints, [""; 0], "an expired token was used");
}

#[test]
fn what_an_answer_says_of_a_tokens_life_may_be_anything() {
    let rows = [
        ("missing", ""),
        ("text", "\"3599\""),
        ("negative", "-1"),
        ("endless", "99999999999999999999"),
        ("words", "\"soon\""),
    ];
    at_the_same_time(rows.to_vec(), |expires_in| {
        let Known { site, keys } = by_secret();
        let source = Source::tcp();
        site.configure_rows(&[source], &keys);
        site.standin.azure(|azure| azure.expires_in = Some(expires_in.to_owned()));
        let omsd = site.start();
        expect_row(&site, source, "one", &omsd);
        expect_row(&site, source, "two", &omsd);
        assert_eq!(site.standin.seen().requests_of(Route::Token).count(), 1);
    });
}

/// Who gives tokens, how it answers for a while, and what omsd says of it.
struct Trouble {
    known: fn() -> Known,
    route: Route,
    answer: Answer,
    told: &'static str,
}

#[test]
fn whoever_gives_tokens_may_be_in_trouble() {
    let html = || Answer::default().saying("<html><body>Sign in to continue</body></html>");
    let row = |name, known: fn() -> Known, route, answer, told| (name, Trouble { known, route, answer, told });
    at_the_same_time(
        vec![
            row("down", by_secret, Route::Token, Answer::status(503), "answers 503"),
            row("a page", by_secret, Route::Token, html(), "there is no token in its answer"),
            row(
                "closed",
                by_secret,
                Route::Token,
                Answer::manner(Manner::Close { taken: false }),
                "no token: https://",
            ),
            row(
                "silent",
                by_secret,
                Route::Token,
                Answer::manner(Manner::Silence { taken: false }),
                "waited too long for an answer",
            ),
            row("machine: down", by_system, Route::Metadata, Answer::status(500), "answers 500"),
            row("machine: updating", by_system, Route::Metadata, Answer::status(410), "answers 410"),
            row("machine: a page", by_system, Route::Metadata, html(), "there is no token in its answer"),
            row(
                "machine: silent",
                by_system,
                Route::Metadata,
                Answer::manner(Manner::Silence { taken: false }),
                "no answer in time",
            ),
            row("arc: no challenge", by_arc, Route::Metadata, Answer::status(404), "without a challenge"),
        ],
        check_trouble,
    );
}

fn check_trouble(Trouble { known, route, answer, told }: Trouble) {
    let Known { site, keys } = known();
    let source = Source::tcp();
    site.configure_rows(&[source], &keys);
    site.standin.answer_always(route, answer);
    let omsd = site.start();
    let _stream = send_over_tcp(source, "<13>Nov 22 20:00:00 web01 app: one\n");
    wait_for(Duration::from_secs(60), told, || omsd.stderr().contains(told));
    assert_eq!(site.standin.seen().rows.len(), 0);
    assert!(!omsd.stderr().contains("Sign in"), "{}", omsd.stderr());
    site.standin.behave();
    expect_row(&site, source, "one", &omsd);
}
