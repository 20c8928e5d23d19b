//! `out_oms`: ODS with a client certificate, one request for each chunk, with the original's headers.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::admin_conf::{AdminConf, AdminConfError};
use super::body::Body;
use super::guid::random_guid;
use super::https::{Answer, Client, HttpsError, Identity, Limits, Options};
use super::probe::{self, Probe};
use super::proxy::Proxy;
use super::{Destination, Outcome, Stream, Verdict};
use crate::config::OmsFiles;
use crate::limits::{IDENTITY_BYTES_MAX, REASON_BYTES_MAX};
use crate::sys::{self, clock};

/// Our version as the service expects one: `n.n.n-n`.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-0");
/// The `User-Agent` of every request of ours.
pub const USER_AGENT: &str = concat!("LinuxMonitoringAgent/", env!("CARGO_PKG_VERSION"), "-0");

/// Beyond this difference of clocks, in seconds, a 403 or 404 is put down to the clock.
const SKEW_S_MAX: i32 = 15 * 60;
/// A clock outside these years (2020 to 2099) is not set, and certificates cannot be judged by it.
const CLOCK_S: core::ops::Range<i64> = 1_577_836_800..4_102_444_800;

/// What an operator is told then.
pub(super) const CLOCK_NOT_SET: &str = "this host's clock is not set: set it, certificates depend on it";

/// Whether a clock is plausible: a dead battery must not make us reject the server's certificate or date our own wrongly.
pub fn clock_is_set(unix_s: i64) -> bool {
    CLOCK_S.contains(&unix_s)
}

/// ODS as a destination. Files are read at the first delivery, and again after each one that failed or when one was replaced;
/// otherwise connection, body and buffers serve one chunk after another.
pub struct Oms {
    files: OmsFiles,
    body: Body,
    attempt: u32,
    line: Option<Line>,
}

/// Where and as whom to post.
struct Line {
    client: Client,
    identity: AdminConf,
    /// What the files were when they were read.
    stamps: Stamps,
}

/// By which each of the files is known: another inode or time of writing, and it was replaced.
type Stamps = [Option<(u64, i64, i64)>; 4];

fn stamps(files: &OmsFiles) -> Stamps {
    [&files.omsadmin_conf, &files.certificate, &files.key, &files.proxy_conf].map(|path| {
        let found = fs::metadata(path).ok()?;
        Some((found.ino(), found.mtime(), found.mtime_nsec()))
    })
}

impl Oms {
    /// A destination known by `files`, whose paths are taken below `root`. Reads nothing yet.
    pub fn new(root: &Path, files: &OmsFiles) -> Oms {
        Oms { files: below(root, files), body: Body::new(files.compress), attempt: 0, line: None }
    }
}

/// The same files, below `root`.
pub fn below(root: &Path, files: &OmsFiles) -> OmsFiles {
    let below = |path: &str| rooted(root, path).to_string_lossy().into_owned();
    OmsFiles {
        omsadmin_conf: below(&files.omsadmin_conf),
        certificate: below(&files.certificate),
        key: below(&files.key),
        proxy_conf: below(&files.proxy_conf),
        no_proxy: files.no_proxy.clone(),
        ca_file: if files.ca_file.is_empty() { String::new() } else { below(&files.ca_file) },
        compress: files.compress,
    }
}

/// `path` below `root`, also when it is absolute.
pub(super) fn rooted(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

impl Destination for Oms {
    fn begin(&mut self, stream: Stream, attempt: u32) {
        self.attempt = attempt;
        self.body.begin(stream);
    }

    fn add(&mut self, received_us: u64, payload: &[u8]) {
        self.body.add(received_us, payload);
    }

    fn deliver(&mut self) -> Outcome {
        let now_unix_s = clock::wall_s();
        let mut outcome = self.post(now_unix_s);
        outcome.records = self.body.records();
        outcome.body_bytes = self.body.body_bytes();
        outcome.reason = one_line(&outcome.reason, REASON_BYTES_MAX);
        outcome
    }
}

impl Oms {
    /// The outcome but for the size of the body.
    fn post(&mut self, now_unix_s: i64) -> Outcome {
        let malformed = self.body.malformed();
        let Some(wire) = self.body.finish() else {
            return Outcome::new(Verdict::Refused, "the body is above its bound".to_owned());
        };
        if malformed > 0 {
            // Smaller chunks find out which, so that it is kept aside and counted.
            return Outcome::new(Verdict::Refused, format!("{malformed} records of the chunk cannot be rendered"));
        }
        if !clock_is_set(now_unix_s) {
            return Outcome::new(Verdict::Later, CLOCK_NOT_SET.to_owned());
        }
        // A renewed certificate or another endpoint is used at once.
        let line = self.line.take().filter(|line| line.stamps == stamps(&self.files));
        let line = match line.map_or_else(|| Line::open(&self.files, Limits::default()), Ok) {
            Ok(line) => line,
            Err(reason) => return Outcome::new(Verdict::Later, reason),
        };
        let judged = match line.post(self.attempt, self.files.compress, wire) {
            Ok(answer) => judge(&answer, now_unix_s),
            Err(error) => Outcome {
                broke: error == HttpsError::ClosedEarly,
                ambiguous: error.is_ambiguous(),
                ..Outcome::new(Verdict::Later, error.to_string())
            },
        };
        if judged.verdict != Verdict::Later {
            self.line = Some(line);
        }
        Outcome { wire_bytes: wire.len() as u64, ..judged }
    }
}

/// Posts no record, by these files below `root`: `now_unix_s` is the wall clock. The error is a sentence about a file.
pub fn probe(root: &Path, files: &OmsFiles, now_unix_s: i64) -> Result<Probe, String> {
    let files = below(root, files);
    let line = Line::open(&files, Limits::CHECK)?;
    let mut body = Body::new(files.compress);
    body.begin(Stream::Syslog);
    let answer = line.post(0, files.compress, body.finish().unwrap_or_default());
    let accepted = match &answer {
        Ok(answer) => probe::accepted(&judge(answer, now_unix_s)),
        Err(error) => Err(error.to_string()),
    };
    Ok(Probe { notes: line.client.notes(), answer, accepted })
}

impl Line {
    /// Reads all files, again if one was replaced meanwhile. The error is a sentence that names the file and what to do.
    fn open(files: &OmsFiles, limits: Limits) -> Result<Line, String> {
        let before = stamps(files);
        let line = Line::read(files, before, limits);
        if before == stamps(files) { line } else { Line::read(files, stamps(files), limits) }
    }

    fn read(files: &OmsFiles, stamps: Stamps, limits: Limits) -> Result<Line, String> {
        let text = |path: &str| read_identity(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let identity = AdminConf::parse(&text(&files.omsadmin_conf)?).map_err(|AdminConfError::Missing(key)| {
            format!("{} has no {key}: this agent is not onboarded, run omsd onboard", files.omsadmin_conf)
        })?;
        let proxy = read_proxy(&files.proxy_conf)?;
        let certificate = read_identity(&files.certificate)?;
        let mut key = read_identity(&files.key)?;
        let options = Options {
            identity: Some(Identity { certificate_pem: &certificate, key_pem: &key }),
            ca_file: (!files.ca_file.is_empty()).then(|| Path::new(&files.ca_file)),
            proxy,
            no_proxy: &files.no_proxy,
        };
        let client = Client::with_limits(options, limits);
        sys::wipe(&mut key);
        Ok(Line { client: client.map_err(|error| error.to_string())?, identity, stamps })
    }

    fn post(&self, attempt: u32, compressed: bool, body: &[u8]) -> Result<Answer, HttpsError> {
        let request_id = request_id();
        let attempt = attempt.to_string();
        let identity = &self.identity;
        let headers = [
            Some(("x-ms-client-request-retry-count", attempt.as_str())),
            Some(("x-ms-AzureResourceId", identity.azure_resource_id.as_str())).filter(has_value),
            Some(("x-ms-AzureRegion", "OnPremise")),
            Some(("x-ms-OMSCloudId", identity.cloud_id.as_str())).filter(has_value),
            identity.uuid_header().map(|uuid| ("x-ms-UUID", uuid)),
            Some(("X-Request-ID", request_id.as_str())),
            Some(("Content-Type", "application/json")),
            compressed.then_some(("Content-Encoding", "deflate")),
            Some(("User-Agent", USER_AGENT)),
            Some(("x-ms-app", "LinuxMonitoringAgent")),
            Some(("x-ms-client-version", VERSION)),
            Some(("x-ms-client-platform", "Linux")),
        ];
        let headers: Vec<(&str, &str)> = headers.into_iter().flatten().collect();
        self.client.post(&identity.oms_endpoint, &headers, body)
    }
}

/// A GUID for one request. Without random bytes it is one all the same: it serves those who look for a request in a log.
pub(super) fn request_id() -> String {
    let mut random = [0; 16];
    let _ = sys::random_bytes(&mut random);
    random_guid(random)
}

fn has_value(header: &(&str, &str)) -> bool {
    !header.1.is_empty()
}

/// One of the files that onboarding writes.
fn read_identity(path: &str) -> Result<Vec<u8>, String> {
    match read_bounded(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("{path} is missing: this agent is not onboarded, run omsd onboard"))
        }
        Err(error) => Err(format!("{path} cannot be read ({error}): give the agent's account access to it")),
    }
}

/// A proxy setting that cannot be read or understood is an error: going past the proxy would be the wrong surprise.
pub(crate) fn read_proxy(path: &str) -> Result<Option<Proxy>, String> {
    let bytes = match read_bounded(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{path} cannot be read ({error}): give the agent's account access to it")),
    };
    Proxy::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| format!("{path}: {error}"))
}

fn read_bounded(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(IDENTITY_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > IDENTITY_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 KiB"));
    }
    Ok(bytes)
}

/// What an answer means for the chunk.
pub fn judge(answer: &Answer, now_unix_s: i64) -> Outcome {
    judge_by(answer, now_unix_s, advice)
}

/// The same for a service that wants other advice on a status.
pub(super) fn judge_by(answer: &Answer, now_unix_s: i64, advice: fn(u16) -> &'static str) -> Outcome {
    let clock_skew_s = answer.date_unix_s.and_then(|date| i32::try_from(date.saturating_sub(now_unix_s)).ok());
    let (verdict, reason) = match answer.status {
        200..300 => (Verdict::Sent, String::new()),
        400 if is_about_our_certificate(&answer.body) => (
            Verdict::Later,
            "a server on the way refuses this agent's certificate (400): check this host's clock, then onboard again"
                .to_owned(),
        ),
        400 | 413 => (Verdict::Refused, refused(answer)),
        403 | 404 if clock_skew_s.is_some_and(|skew_s| skew_s.abs() > SKEW_S_MAX) => {
            (Verdict::Later, wrong_clock(answer.status, clock_skew_s.unwrap_or(0)))
        }
        status => (Verdict::Later, advice(status).to_owned()),
    };
    Outcome {
        status: answer.status,
        retry_after_s: answer.retry_after_s,
        clock_skew_s,
        ..Outcome::new(verdict, reason)
    }
}

/// A front end refuses certificates by a page, not by TLS (nginx, and Azure's Application Gateway): that is not about the records,
/// of which the service itself speaks in JSON.
fn is_about_our_certificate(body: &[u8]) -> bool {
    body.starts_with(b"<") && memchr::memmem::find(body, b"SSL certificate").is_some()
}

fn refused(answer: &Answer) -> String {
    let said = one_line(&String::from_utf8_lossy(&answer.body), 120);
    let colon = if said.is_empty() { "" } else { ": " };
    format!("the service will not take this body ({}){colon}{said}", answer.status)
}

fn wrong_clock(status: u16, skew_s: i32) -> String {
    let direction = if skew_s > 0 { "behind" } else { "ahead of" };
    format!(
        "the service refuses ({status}), and this host's clock is {} min {direction} its clock: set the clock",
        skew_s.abs() / 60
    )
}

pub(super) fn advice(status: u16) -> &'static str {
    match status {
        300..=399 => "the service answers with a redirect, which is not followed: check the endpoint and the proxy",
        401 => "the service does not accept our certificate (401): onboard again",
        403 => "the service refuses this agent (403): was the workspace removed, or the agent? onboard again",
        404 => "the service knows no such endpoint (404): check workspace id and domain, onboard again",
        408 => "the service waited too long for our request (408): the network is slow",
        407 => "a proxy on the way wants a user and a password (407): set it in proxy.conf",
        429 => "the service wants us to slow down (429)",
        503 => "the service is busy (503)",
        500.. => "the service has an error of its own",
        _ => "the service refuses for a reason of its own: see the status",
    }
}

/// Printable characters only, runs of others as one space, at most `bytes_max` bytes.
pub(crate) fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line = String::new();
    for character in text.trim().chars() {
        let shown = if character.is_control() || character == '\u{fffd}' { ' ' } else { character };
        if shown == ' ' && line.ends_with(' ') {
            continue;
        }
        if line.len() + shown.len_utf8() > bytes_max {
            break;
        }
        line.push(shown);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RECORD_HEADER_BYTES_MAX;
    use crate::record::{Sender, encode};
    use crate::upload::https::tests::{AUTHORITY, CLIENT_CERTIFICATE, ORDINARY, Request, Server, ok};
    use core::sync::atomic::{AtomicU32, Ordering};
    use std::path::PathBuf;
    use std::sync::mpsc;

    /// An installation in a directory of its own.
    struct Installation {
        root: PathBuf,
        files: OmsFiles,
    }

    impl Installation {
        fn new(endpoint: &str) -> Installation {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = COUNT.fetch_add(1, Ordering::SeqCst);
            let root = std::env::temp_dir().join(format!("omsd-oms-{}-{number}", std::process::id()));
            fs::create_dir_all(&root).unwrap();
            let made = &*CLIENT_CERTIFICATE;
            fs::write(root.join("crt"), &made.certificate_pem).unwrap();
            fs::write(root.join("key"), &made.key_pem).unwrap();
            fs::copy(&AUTHORITY.file, root.join("ca")).unwrap();
            let conf = AdminConf {
                agent_guid: "a".into(),
                oms_endpoint: endpoint.into(),
                azure_resource_id: "/subscriptions/s".into(),
                uuid: Some("not one".into()),
                ..AdminConf::default()
            };
            fs::write(root.join("conf"), conf.to_text()).unwrap();
            let files = OmsFiles {
                omsadmin_conf: "/conf".into(),
                certificate: "/crt".into(),
                key: "/key".into(),
                proxy_conf: "/proxy".into(),
                no_proxy: String::new(),
                ca_file: "/ca".into(),
                compress: true,
            };
            Installation { root, files }
        }

        fn oms(&self) -> Oms {
            Oms::new(&self.root, &self.files)
        }
    }

    impl Drop for Installation {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    fn add_message(oms: &mut Oms, message: &[u8]) {
        let mut payload = encode::header(Sender::Local, &mut [0; RECORD_HEADER_BYTES_MAX]).to_vec();
        payload.extend_from_slice(message);
        oms.add(1_700_000_000_000_000, &payload);
    }

    fn deliver_one(oms: &mut Oms, attempt: u32) -> Outcome {
        oms.begin(Stream::Syslog, attempt);
        add_message(oms, b"<13>Nov 14 22:13:20 host app: hello");
        oms.deliver()
    }

    #[test]
    fn a_chunk_arrives_with_the_headers_of_the_original() {
        let (sender, requests) = mpsc::channel();
        let server = Server::answering(&ORDINARY, move |request| {
            sender.send((request.head.clone(), request.body.clone(), request.certificate.is_some())).unwrap();
            ok("")
        });
        let installation =
            Installation::new(&format!("https://127.0.0.1:{}/OperationalData.svc/PostJsonDataItems", server.port));
        let mut oms = installation.oms();
        for attempt in [0, 3] {
            let outcome = deliver_one(&mut oms, attempt);
            assert_eq!((outcome.verdict, outcome.status, outcome.records), (Verdict::Sent, 200, 1), "{outcome:?}");
            let (head, body, shown) = requests.recv().unwrap();
            assert!(shown, "no client certificate");
            let request = Request { head, body, certificate: None };
            assert!(request.head.starts_with("POST /OperationalData.svc/PostJsonDataItems HTTP/1.1\r\n"));
            assert_eq!(outcome.wire_bytes, request.body.len() as u64);
            for (name, value) in [
                ("x-ms-client-request-retry-count", if attempt == 0 { "0" } else { "3" }),
                ("x-ms-azureresourceid", "/subscriptions/s"),
                ("x-ms-azureregion", "OnPremise"),
                ("x-ms-uuid", "00000000-0000-0000-0000-000000000000"),
                ("content-type", "application/json"),
                ("content-encoding", "deflate"),
                ("user-agent", USER_AGENT),
                ("x-ms-app", "LinuxMonitoringAgent"),
                ("x-ms-client-version", VERSION),
                ("x-ms-client-platform", "Linux"),
            ] {
                assert_eq!(request.header(name), Some(value), "{name}");
            }
            assert_eq!(request.header("x-ms-omscloudid"), None);
            assert!(crate::upload::guid::is_guid(request.header("x-request-id").unwrap()));
            let mut text = alloc::vec![0; usize::try_from(outcome.body_bytes).unwrap()];
            zlib_rs::Inflate::new(true, 15)
                .decompress(&request.body, &mut text, zlib_rs::InflateFlush::Finish)
                .unwrap();
            let text = String::from_utf8(text).unwrap();
            assert!(
                text.starts_with(r#"{"DataType":"LINUX_SYSLOGS_BLOB","IPName":"LOGMANAGEMENT","DataItems":[{"#),
                "{text}"
            );
            assert!(text.ends_with("}]}") && text.contains(r#""Message":"hello""#), "{text}");
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    }

    #[track_caller]
    fn check_judged(status: u16, skew_s: i64, verdict: Verdict, words: &str) {
        let now = 1_700_000_000;
        let answer = Answer {
            status,
            retry_after_s: Some(7),
            date_unix_s: Some(now + skew_s),
            body: b"Bad <x>\n\x01y".to_vec(),
        };
        let outcome = judge(&answer, now);
        assert_eq!((outcome.verdict, outcome.status, outcome.retry_after_s), (verdict, status, Some(7)));
        assert_eq!(outcome.clock_skew_s, i32::try_from(skew_s).ok());
        assert!(
            outcome.reason.contains(words) && (verdict == Verdict::Sent) == outcome.reason.is_empty(),
            "{outcome:?}"
        );
        assert!(outcome.reason.len() <= REASON_BYTES_MAX);
    }

    #[test]
    fn each_status_means_sent_later_or_refused() {
        check_judged(200, 0, Verdict::Sent, "");
        check_judged(202, -9999, Verdict::Sent, "");
        check_judged(307, 0, Verdict::Later, "redirect");
        check_judged(400, 0, Verdict::Refused, "(400): Bad <x> y");
        check_judged(401, 0, Verdict::Later, "onboard again");
        check_judged(403, 900, Verdict::Later, "workspace");
        check_judged(403, 901, Verdict::Later, "15 min behind its clock");
        check_judged(404, -7200, Verdict::Later, "120 min ahead of its clock");
        check_judged(404, 0, Verdict::Later, "no such endpoint");
        check_judged(408, 0, Verdict::Later, "408");
        check_judged(413, 0, Verdict::Refused, "413");
        check_judged(418, 0, Verdict::Later, "reason of its own");
        check_judged(429, 0, Verdict::Later, "slow down");
        check_judged(500, 0, Verdict::Later, "error of its own");
        check_judged(503, 0, Verdict::Later, "busy");
        check_judged(999, 0, Verdict::Later, "error of its own");
    }

    #[test]
    fn a_page_about_our_certificate_refuses_no_record() {
        let judged = |status, body: &[u8]| {
            judge(&Answer { status, retry_after_s: None, date_unix_s: None, body: body.to_vec() }, 1).verdict
        };
        let nginx = b"<html>\r\n<head><title>400 No required SSL certificate was sent</title></head>\r\n";
        assert_eq!(judged(400, nginx), Verdict::Later);
        assert_eq!(judged(413, nginx), Verdict::Refused);
        assert_eq!(judged(400, b"<html><head><title>400 Bad Request</title>"), Verdict::Refused);
        assert_eq!(judged(400, br#"{"Message":"<13>The SSL certificate error"}"#), Verdict::Refused);
    }

    #[test]
    fn a_clock_centuries_off_is_no_skew_but_no_panic_either() {
        let answer = Answer { status: 403, retry_after_s: None, date_unix_s: Some(i64::MAX), body: Vec::new() };
        assert_eq!(judge(&answer, 1).clock_skew_s, None);
    }

    #[track_caller]
    fn check_file(change: impl Fn(&Path), words: &str) {
        let installation = Installation::new("https://127.0.0.1:1/");
        change(&installation.root);
        let outcome = deliver_one(&mut installation.oms(), 0);
        assert_eq!(outcome.verdict, Verdict::Later);
        assert!(outcome.reason.contains(words), "{:?}", outcome.reason);
    }

    #[test]
    fn a_missing_or_broken_file_is_named_and_waited_for() {
        for file in ["conf", "crt", "key"] {
            let remove = |root: &Path| fs::remove_file(root.join(file)).unwrap();
            check_file(remove, &format!("/{file} is missing: this agent is not onboarded"));
            let widen = |root: &Path| fs::write(root.join(file), alloc::vec![b'A'; 70_000]).unwrap();
            check_file(widen, &format!("/{file} cannot be read (larger than 64 KiB)"));
        }
        check_file(|root| fs::write(root.join("conf"), "AGENT_GUID=a\n").unwrap(), "has no OMS_ENDPOINT");
        check_file(|root| fs::write(root.join("key"), "nonsense").unwrap(), "cannot use the client certificate");
        check_file(|root| fs::write(root.join("ca"), "nonsense").unwrap(), "/ca: it holds no certificate");
        check_file(|root| fs::write(root.join("proxy"), "socks5://p:1").unwrap(), "/proxy: the proxy's scheme");
        check_file(
            |root| fs::write(root.join("proxy"), "u:secret@127.0.0.1:1\n").unwrap(),
            "the proxy 127.0.0.1:1 was not",
        );
        check_file(|_| {}, "127.0.0.1:1 was not reached");
    }

    #[test]
    fn a_file_that_appears_later_is_used_at_the_next_delivery() {
        let server = Server::answering(&ORDINARY, |_| ok(""));
        let installation = Installation::new(&server.url());
        let (key, away) = (installation.root.join("key"), installation.root.join("away"));
        fs::rename(&key, &away).unwrap();
        let mut oms = installation.oms();
        assert_eq!(deliver_one(&mut oms, 0).verdict, Verdict::Later);
        fs::rename(&away, &key).unwrap();
        assert_eq!(deliver_one(&mut oms, 1).verdict, Verdict::Sent);
    }

    #[test]
    fn a_payload_that_is_no_record_refuses_the_chunk_so_that_it_is_found_and_counted() {
        let installation = Installation::new("https://127.0.0.1:1/");
        let mut oms = installation.oms();
        oms.begin(Stream::Syslog, 0);
        add_message(&mut oms, b"<13>good");
        oms.add(0, b"");
        let outcome = oms.deliver();
        assert_eq!((outcome.verdict, outcome.status), (Verdict::Refused, 0), "{outcome:?}");
    }

    #[test]
    fn nothing_is_posted_while_the_clock_is_not_set() {
        let installation = Installation::new("https://127.0.0.1:1/");
        let mut oms = installation.oms();
        for now_unix_s in [0, CLOCK_S.start - 1, CLOCK_S.end] {
            oms.begin(Stream::Syslog, 0);
            add_message(&mut oms, b"x");
            let outcome = oms.post(now_unix_s);
            assert!(outcome.verdict == Verdict::Later && outcome.reason.contains("clock is not set"), "{outcome:?}");
        }
    }
}
