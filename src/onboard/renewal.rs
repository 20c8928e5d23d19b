//! Keeps an identity alive: the topology heartbeat, by which the service hears of the agent and the agent of new endpoints, and
//! a new certificate when the service asks for one or the old one ends within 30 days.
//!
//! ```text
//!  heartbeat ─> endpoints ─> renew? ─> new pair beside ─> announced, as the old one ─> heartbeat as the new one ─> swap
//! ```
//!
//! The swap is three files written whole, and between any two of them the files fit each other: a reader takes the key that
//! fits the certificate.
//!
//! ```text
//!  oms.key: old          oms.crt: old
//!  oms.key: old, new     oms.crt: old
//!  oms.key: old, new     oms.crt: new
//!  oms.key: new          oms.crt: new
//! ```
//!
//! Whoever dies on the way leaves files that work, and the next visit goes on: two keys become the one that fits, and a pair
//! that waits beside (`oms.crt.new`, `oms.key.new`) is tried before anything else, since the service may know only that one by
//! now. It goes away when the service refuses it and takes the old one.
//!
//! All of this runs in a child of the agent or in `omsd onboard --renew`, never in the agent itself.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use super::certificate::{Certificate, Subject, expiry_unix_s};
use super::identity::{FILE_MODE, FileError, read_text, swap, write};
use super::topology::{self, Facts};
use super::{RENEW_S, SKEW_S_MAX, this_system};
use crate::config::OmsFiles;
use crate::limits::{LOCK_MS_MAX, REASON_BYTES_MAX};
use crate::sys::{self, clock, file};
use crate::upload::admin_conf::AdminConf;
use crate::upload::guid::is_guid;
use crate::upload::https::{self, Answer, Client, HttpsError, Identity, Options, TlsFault};
use crate::upload::oms::{USER_AGENT, clock_is_set, one_line, read_proxy};
use crate::upload::times;

/// What a visit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// Only to look at the files, and to finish what was begun.
    Look,
    /// A heartbeat; the certificate is not renewed.
    Beat,
    /// A heartbeat, and a new certificate if one is due.
    BeatAndRenew,
    /// A heartbeat, and a new certificate.
    Renew,
}

/// What came of a visit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The service took a heartbeat.
    pub taken: bool,
    /// There was an attempt at a new certificate.
    pub tried: bool,
    /// The certificate is a new one.
    pub renewed: bool,
    /// When the certificate ends, in seconds since 1970; 0: it cannot be told.
    pub end_unix_s: i64,
    /// Seconds until the next heartbeat, as the service wants it; 0: as before.
    pub interval_s: u32,
    /// Exit code of `omsd onboard --renew`: see `cli::Exit`.
    pub exit_code: u8,
    /// What went wrong, a sentence for the operator; empty: nothing.
    pub reason: String,
}

/// Bytes of a report in front of its reason.
const REPORT_BYTES: usize = 16;
/// Most bytes that [`Report::encode`] gives.
pub const REPORT_BYTES_MAX: usize = REPORT_BYTES + REASON_BYTES_MAX;

impl Report {
    /// For the pipe to the parent.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::from([u8::from(self.taken), u8::from(self.tried), u8::from(self.renewed), self.exit_code]);
        bytes.extend_from_slice(&self.end_unix_s.to_le_bytes());
        bytes.extend_from_slice(&self.interval_s.to_le_bytes());
        bytes.extend_from_slice(self.reason.as_bytes());
        bytes
    }

    /// The other way; `None` for anything that is no report.
    pub fn decode(bytes: &[u8]) -> Option<Report> {
        let (fixed, reason) = bytes.split_first_chunk::<REPORT_BYTES>()?;
        Some(Report {
            taken: fixed[0] != 0,
            tried: fixed[1] != 0,
            renewed: fixed[2] != 0,
            exit_code: fixed[3],
            end_unix_s: i64::from_le_bytes(fixed[4..12].try_into().ok()?),
            interval_s: u32::from_le_bytes(fixed[12..].try_into().ok()?),
            reason: core::str::from_utf8(reason).ok()?.to_owned(),
        })
    }
}

/// The day on which a certificate ends, for a person.
pub fn day_text(unix_s: i64) -> String {
    String::from_utf8_lossy(&times::time_text(unix_s * 1000)[..10]).into_owned()
}

/// Does what the errand says for the identity in these files. Takes as long as its requests, at most four.
pub fn visit(files: &OmsFiles, errand: Errand) -> Report {
    let mut report = Report::default();
    if let Err(trouble) = run(files, errand, &mut report) {
        report.exit_code = trouble.exit_code();
        report.reason = one_line(&trouble.to_string(), REASON_BYTES_MAX);
    }
    report
}

/// Why a visit did not come to its end.
enum Trouble {
    /// A sentence about the identity's files.
    NoIdentity(String),
    /// A file cannot be written.
    Files(FileError),
    /// Somebody else renews the same certificate.
    Busy,
    /// This host's clock is not set.
    NoClock,
    /// No answer to a request.
    NoAnswer(HttpsError),
    /// The service said no. Holds its status, and how far its clock is ahead if that is too far.
    Refused(u16, Option<i64>),
    /// The service said no, and the certificate has ended then.
    Ended(u16, i64),
    /// The service will not have a new certificate. Holds its status.
    NotRenewed(u16),
    /// The service has not said where a new certificate goes.
    NoEndpoint,
    /// No key could be made.
    Internal(io::Error),
}

impl Trouble {
    fn exit_code(&self) -> u8 {
        match self {
            Trouble::NoIdentity(_) => 78,
            Trouble::Files(failed) if failed.error.kind() == io::ErrorKind::PermissionDenied => 77,
            Trouble::Files(_) => 73,
            Trouble::Refused(400..429, _) | Trouble::Ended(..) | Trouble::NotRenewed(400..429) => 69,
            Trouble::NoAnswer(HttpsError::Tls(_) | HttpsError::Identity(_)) => 69,
            Trouble::Internal(_) => 70,
            _ => 75,
        }
    }

    /// The service knows the certificate not, as far as can be told: no wrong clock, no trouble of its own.
    fn is_refusal(&self) -> bool {
        matches!(
            self,
            Trouble::Refused(401 | 403, None)
                | Trouble::Ended(..)
                | Trouble::NoAnswer(HttpsError::Tls(TlsFault::Alert(_)))
        )
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NoIdentity(what) => f.write_str(what),
            Trouble::Files(failed) => {
                write!(
                    f,
                    "cannot write {failed}; let the agent's account write there, or run omsd onboard --renew as root"
                )
            }
            Trouble::Busy => f.write_str("another omsd is at this certificate just now"),
            Trouble::NoClock => f.write_str("this host's clock is not set: set it, certificates depend on it"),
            Trouble::NoAnswer(error) => write!(f, "{error}"),
            Trouble::Refused(status, None) => {
                write!(f, "the service refuses this agent's certificate ({status}): onboard again if that lasts")
            }
            Trouble::Refused(status, Some(skew_s)) => {
                let direction = if *skew_s > 0 { "behind" } else { "ahead of" };
                let minutes = skew_s.abs() / 60;
                write!(
                    f,
                    "the service refuses ({status}), and this host's clock is {minutes} min {direction} its clock: set the \
                     clock; the certificate is kept"
                )
            }
            Trouble::Ended(status, end) => {
                write!(f, "this agent's certificate ended on {} ({status}): onboard again", day_text(*end))
            }
            Trouble::NotRenewed(status) => {
                write!(f, "the service does not take a new certificate ({status}); the old one stays in use")
            }
            Trouble::NoEndpoint => f.write_str("the service has not said where a new certificate goes: onboard again"),
            Trouble::Internal(error) => write!(f, "no certificate could be made: {error}"),
        }
    }
}

impl From<FileError> for Trouble {
    fn from(error: FileError) -> Trouble {
        Trouble::Files(error)
    }
}

fn run(files: &OmsFiles, errand: Errand, report: &mut Report) -> Result<(), Trouble> {
    let pair = Pair::of(files);
    // Without the lock nothing is written, so it is taken first; it ends with the process.
    let _lock = pair.lock(if errand == Errand::Renew { LOCK_MS_MAX } else { 0 })?;
    let tidied = pair.tidy();
    let current = pair.load().ok_or_else(|| Trouble::NoIdentity(missing(files)))?;
    report.end_unix_s = expiry_unix_s(&current.certificate_pem).unwrap_or(0);
    if errand == Errand::Look {
        return tidied.map_err(Trouble::from);
    }
    let conf = read_text(Path::new(&files.omsadmin_conf)).and_then(|text| AdminConf::parse(&text).ok());
    let mut conf = conf.filter(|conf| is_guid(&conf.agent_guid)).ok_or_else(|| Trouble::NoIdentity(missing(files)))?;
    let now_us = clock::wall_us();
    if !clock_is_set(i64::try_from(now_us / 1_000_000).unwrap_or(0)) {
        return Err(Trouble::NoClock);
    }

    let waiting = pair.beside().load();
    let first = waiting.as_ref().map(|new| beat(files, &conf, new));
    if let (Some(Ok(answer)), Some(new)) = (&first, &waiting) {
        note(answer, files, &mut conf, report)?;
        return adopt(&pair, &current, new, report);
    }
    let answer = match (beat(files, &conf, &current), first) {
        (Ok(answer), Some(Err(refused))) if refused.is_refusal() => {
            pair.beside().remove();
            answer
        }
        (answer, _) => answer?,
    };
    note(&answer, files, &mut conf, report)?;
    let asked = answer.response.update_certificate && errand == Errand::BeatAndRenew;
    let ends = report.end_unix_s - answer.now_unix_s <= RENEW_S && errand == Errand::BeatAndRenew;
    if asked || ends || errand == Errand::Renew { renew(files, &conf, &pair, &current, report) } else { Ok(()) }
}

fn missing(files: &OmsFiles) -> String {
    format!(
        "{}, {} or {} is missing or cannot be read: run omsd onboard",
        files.omsadmin_conf, files.certificate, files.key
    )
}

/// A heartbeat that the service took.
struct Taken {
    response: topology::Response,
    /// Its clock, or ours where it does not say.
    now_unix_s: i64,
}

/// One heartbeat, known by this pair.
fn beat(files: &OmsFiles, conf: &AdminConf, pair: &Certificate) -> Result<Taken, Trouble> {
    let now_us = clock::wall_us();
    let now_unix_s = i64::try_from(now_us / 1_000_000).unwrap_or(0);
    let host_name = sys::host::hostname();
    let body = topology::heartbeat_body(&Facts {
        host_name: host_name.trim(),
        agent_guid: &conf.agent_guid,
        certificate_pem: &pair.certificate_pem,
        system: &this_system(),
    });
    let date = topology::request_date(now_us);
    let headers = [
        ("x-ms-Date", date.as_str()),
        ("User-Agent", USER_AGENT),
        ("Accept-Language", "en-US"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let answer =
        client(files, pair)?.post(&topology::url(conf), &headers, body.as_bytes()).map_err(Trouble::NoAnswer)?;
    let theirs_unix_s = answer.date_unix_s.unwrap_or(now_unix_s);
    let skew_s = theirs_unix_s.saturating_sub(now_unix_s);
    let end_unix_s = expiry_unix_s(&pair.certificate_pem).unwrap_or(i64::MAX);
    match answer.status {
        200..300 => Ok(Taken { response: topology::parse_response(&answer.body), now_unix_s: theirs_unix_s }),
        401 | 403 if skew_s.abs() > SKEW_S_MAX => Err(Trouble::Refused(answer.status, Some(skew_s))),
        401 | 403 if end_unix_s < theirs_unix_s => Err(Trouble::Ended(answer.status, end_unix_s)),
        status => Err(Trouble::Refused(status, None)),
    }
}

fn client(files: &OmsFiles, pair: &Certificate) -> Result<Client, Trouble> {
    let identity = Identity { certificate_pem: pair.certificate_pem.as_bytes(), key_pem: pair.key_pem.as_bytes() };
    let ca_file = (!files.ca_file.is_empty()).then(|| Path::new(&files.ca_file));
    let proxy = read_proxy(&files.proxy_conf).map_err(Trouble::NoIdentity)?;
    Client::new(Options { identity: Some(identity), ca_file, proxy, no_proxy: &files.no_proxy })
        .map_err(Trouble::NoAnswer)
}

/// Writes down what the service's answer changes. A value that it does not give stays as it was.
fn note(answer: &Taken, files: &OmsFiles, conf: &mut AdminConf, report: &mut Report) -> Result<(), Trouble> {
    report.taken = true;
    report.interval_s = answer.response.interval_s.unwrap_or(0);
    let mut changed = false;
    for (known, told) in [
        (&mut conf.certificate_update_endpoint, &answer.response.certificate_update_endpoint),
        (&mut conf.dsc_endpoint, &answer.response.dsc_endpoint),
    ] {
        if !told.is_empty() && known != told {
            known.clone_from(told);
            changed = true;
        }
    }
    if changed {
        let path = Path::new(&files.omsadmin_conf);
        // Read again, so that only these two lines change, whatever else stands there.
        let text = read_text(path).unwrap_or_default();
        write(path, &conf.with_endpoints(&text), FILE_MODE)?;
    }
    Ok(())
}

/// Makes a pair, has the service know it, proves it and puts it in the old one's place.
fn renew(
    files: &OmsFiles,
    conf: &AdminConf,
    pair: &Pair,
    current: &Certificate,
    report: &mut Report,
) -> Result<(), Trouble> {
    report.tried = true;
    let url = conf.certificate_update_endpoint.as_str();
    if url.is_empty() {
        return Err(Trouble::NoEndpoint);
    }
    let subject = Subject { workspace_id: &conf.workspace_id, agent_guid: &conf.agent_guid };
    let now_unix_s = clock::wall_s();
    pair.beside().probe()?;
    let new = Certificate::generate(subject, now_unix_s).map_err(Trouble::Internal)?;
    pair.beside().store(&new)?;
    let body = topology::renewal_body(&new.certificate_pem);
    let headers = [("User-Agent", USER_AGENT), ("Content-Type", "application/x-www-form-urlencoded")];
    let announced: Result<Answer, Trouble> = client(files, current)
        .and_then(|client| client.post(url, &headers, body.as_bytes()).map_err(Trouble::NoAnswer));
    match announced {
        Ok(Answer { status: 200..300, .. }) => {}
        Ok(Answer { status, .. }) => {
            pair.beside().remove();
            return Err(Trouble::NotRenewed(status));
        }
        // It may have arrived: the next visit tries the new pair first.
        Err(trouble) => return Err(trouble),
    }
    // If the answer asks for another renewal that is not heard: one visit, one renewal.
    let answer = beat(files, conf, &new).map_err(|trouble| match trouble {
        // It stays beside for the next visit: perhaps not all of the service has heard of it yet.
        Trouble::Refused(status, None) => Trouble::NotRenewed(status),
        other => other,
    })?;
    report.interval_s = answer.response.interval_s.unwrap_or(report.interval_s);
    adopt(pair, current, &new, report)
}

/// Puts a proved pair in its place.
fn adopt(pair: &Pair, current: &Certificate, new: &Certificate, report: &mut Report) -> Result<(), Trouble> {
    report.tried = true;
    pair.swap(current, new)?;
    report.renewed = true;
    report.end_unix_s = expiry_unix_s(&new.certificate_pem).unwrap_or(0);
    Ok(())
}

/// Where a certificate and its key are.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn of(files: &OmsFiles) -> Pair {
        Pair { certificate: PathBuf::from(&files.certificate), key: PathBuf::from(&files.key) }
    }

    /// Where a new pair waits.
    fn beside(&self) -> Pair {
        let beside = |path: &Path| {
            let mut name = path.as_os_str().to_owned();
            name.push(".new");
            PathBuf::from(name)
        };
        Pair { certificate: beside(&self.certificate), key: beside(&self.key) }
    }

    /// Keeps a second process from writing here; waits so long for one that does.
    fn lock(&self, mut left_ms: u64) -> Result<fs::File, Trouble> {
        const STEP_MS: u64 = 50;
        let directory = self.key.parent().unwrap_or(Path::new("."));
        loop {
            match file::lock_directory(directory) {
                Ok(locked) => return Ok(locked),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(Trouble::NoIdentity(format!("{}: {error}: run omsd onboard", directory.display())));
                }
                Err(_) if left_ms < STEP_MS => return Err(Trouble::Busy),
                Err(_) => thread::sleep(Duration::from_millis(STEP_MS)),
            }
            left_ms -= STEP_MS;
        }
    }

    /// The certificate with the key that fits it.
    fn load(&self) -> Option<Certificate> {
        let mut pair = Certificate { certificate_pem: read_text(&self.certificate)?, key_pem: read_text(&self.key)? };
        let fitting = https::fitting_key(&pair.certificate_pem, &pair.key_pem)?.to_owned();
        sys::wipe_string(&mut pair.key_pem);
        pair.key_pem = fitting;
        Some(pair)
    }

    /// Leaves one key, where a swap was broken off.
    fn tidy(&self) -> Result<(), FileError> {
        let Some(mut keys) = read_text(&self.key) else { return Ok(()) };
        let many = keys.matches("-----BEGIN").count() > 1;
        sys::wipe_string(&mut keys);
        match self.load() {
            Some(pair) if many => write(&self.key, &pair.key_pem, FILE_MODE),
            _ => Ok(()),
        }
    }

    /// Fails where nothing can be written: before a key is made that could not be kept.
    fn probe(&self) -> Result<(), FileError> {
        write(&self.key, "", FILE_MODE)
    }

    fn store(&self, pair: &Certificate) -> Result<(), FileError> {
        write(&self.key, &pair.key_pem, FILE_MODE)?;
        write(&self.certificate, &pair.certificate_pem, FILE_MODE)
    }

    fn remove(&self) {
        // The certificate first: a key alone is no pair.
        let _ = fs::remove_file(&self.certificate);
        let _ = fs::remove_file(&self.key);
    }

    /// See the top of this file.
    fn swap(&self, old: &Certificate, new: &Certificate) -> Result<(), FileError> {
        swap(&self.certificate, &self.key, Some(&old.key_pem), new)?;
        self.beside().remove();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onboard::identity::tests::Root;
    use crate::upload::https::tests::CLIENT_CERTIFICATE;

    const SUBJECT: Subject = Subject {
        workspace_id: "00000000-0000-0000-0000-000000000001",
        agent_guid: "00000000-0000-0000-0000-000000000002",
    };

    #[test]
    fn a_report_goes_through_the_pipe_unchanged_and_nothing_else_is_one() {
        let report = Report {
            taken: true,
            tried: true,
            renewed: false,
            end_unix_s: 1_795_000_000,
            interval_s: 3600,
            exit_code: 75,
            reason: "ü".repeat(REASON_BYTES_MAX / 2),
        };
        let bytes = report.encode();
        assert_eq!(bytes.len(), REPORT_BYTES_MAX);
        assert_eq!(Report::decode(&bytes), Some(report));
        assert_eq!(Report::decode(&Report::default().encode()), Some(Report::default()));
        for length in 0..REPORT_BYTES {
            assert_eq!(Report::decode(&bytes[..length]), None);
        }
        assert_eq!(Report::decode(&bytes[..REPORT_BYTES_MAX - 1]), None, "half a character");
    }

    /// A certificate file, and a key file of these keys.
    fn pair(root: &Root, certificate: &Certificate, keys: &[&Certificate]) -> Pair {
        let pair = Pair { certificate: root.0.join("oms.crt"), key: root.0.join("oms.key") };
        fs::write(&pair.certificate, &certificate.certificate_pem).unwrap();
        fs::write(&pair.key, keys.iter().map(|key| key.key_pem.as_str()).collect::<String>()).unwrap();
        pair
    }

    #[test]
    fn of_two_keys_the_one_that_fits_is_taken_and_kept() {
        let (old, new) = (&*CLIENT_CERTIFICATE, &Certificate::generate(SUBJECT, 0).unwrap());
        for (certificate, keys) in [(old, [old, new]), (old, [new, old]), (new, [old, new]), (new, [new, old])] {
            let root = Root::new();
            let pair = pair(&root, certificate, &keys);
            assert_eq!(pair.load().unwrap().key_pem, certificate.key_pem);
            pair.tidy().unwrap();
            assert_eq!(fs::read_to_string(&pair.key).unwrap(), certificate.key_pem);
        }
    }

    #[test]
    fn files_that_do_not_fit_are_no_pair_and_are_left_alone() {
        let (old, new) = (&*CLIENT_CERTIFICATE, &Certificate::generate(SUBJECT, 0).unwrap());
        for keys in [&[new][..], &[new, new], &[]] {
            let root = Root::new();
            let pair = pair(&root, old, keys);
            let before = fs::read_to_string(&pair.key).unwrap();
            assert!(pair.load().is_none());
            pair.tidy().unwrap();
            assert_eq!(fs::read_to_string(&pair.key).unwrap(), before);
        }
    }

    #[test]
    fn a_pair_without_directory_or_files_is_said_to_be_missing() {
        let root = Root::new();
        let files = crate::upload::oms::below(&root.0, &OmsFiles::default());
        let report = visit(&files, Errand::Look);
        assert!(report.exit_code == 78 && report.reason.contains("run omsd onboard"), "{report:?}");
        assert!(report.end_unix_s == 0 && !report.taken, "{report:?}");
    }

    #[test]
    fn only_a_plain_no_counts_as_one() {
        for (trouble, expected) in [
            (Trouble::Refused(403, None), true),
            (Trouble::Refused(401, None), true),
            (Trouble::Ended(403, 0), true),
            (Trouble::NoAnswer(HttpsError::Tls(TlsFault::Alert("x".into()))), true),
            (Trouble::Refused(403, Some(3600)), false),
            (Trouble::Refused(503, None), false),
            (Trouble::NoAnswer(HttpsError::ClosedEarly), false),
            (Trouble::NoAnswer(HttpsError::Tls(TlsFault::UnknownIssuer)), false),
            (Trouble::NoClock, false),
        ] {
            assert_eq!(trouble.is_refusal(), expected, "{trouble}");
        }
    }
}
