//! `out_data_collector`: the HTTP Data Collector API, known by the workspace's shared key. It is out of support since 2026-09-14 and
//! still takes records; it makes custom tables by itself and writes to no other.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::azure_ingestion::identity::read_private;
use super::azure_ingestion::{limits, name_of, not_answered, open_client, root_rows};
use super::https::{Answer, Client, HttpsError, Limits};
use super::members::{member, plain};
use super::oms::{self, USER_AGENT, clock_is_set, rooted};
use super::probe::{self, Probe};
use super::rows::Door;
use super::{Outcome, Stream, Verdict};
use crate::config::DataCollector;
use crate::crypto::hmac_sha256;
use crate::limits::SHARED_KEY_TEXT_BYTES_MAX;
use crate::sys::{self, clock};
use crate::syslog::date_from_days;

const CONTENT_TYPE: &str = "application/json";
/// The name by which the API takes the column that becomes `TimeGenerated`, which is reserved.
const TIME_COLUMN: &str = "Timestamp";

/// The API as a door.
pub struct Collector {
    settings: DataCollector,
    client: Option<Client>,
}

impl Collector {
    /// A door by these settings, whose paths are taken below `root`. Reads nothing yet.
    pub fn new(root: &Path, settings: &DataCollector) -> Collector {
        let mut settings = settings.clone();
        root_rows(root, &mut settings.rows);
        settings.shared_key = rooted(root, &settings.shared_key).to_string_lossy().into_owned();
        Collector { settings, client: None }
    }
}

impl Door for Collector {
    /// Compression is not documented for this API.
    fn compresses(&self) -> bool {
        false
    }

    fn time_column(&self) -> &'static str {
        TIME_COLUMN
    }

    fn post(&mut self, stream: Stream, body: &[u8]) -> Outcome {
        let now_unix_s = clock::wall_s();
        if !clock_is_set(now_unix_s) {
            return Outcome::new(Verdict::Later, oms::CLOCK_NOT_SET.to_owned());
        }
        let opened = self.client.take().map_or_else(|| open_client(&self.settings.rows, limits()), Ok);
        let (client, key) = match opened.and_then(|client| Ok((client, read_key(&self.settings.shared_key)?))) {
            Ok(both) => both,
            Err(reason) => return Outcome::new(Verdict::Later, reason),
        };
        match send(&self.settings, &client, &key, stream, body, now_unix_s) {
            Ok(answer) => {
                self.client = Some(client);
                judge(&answer, now_unix_s)
            }
            Err(error) => not_answered(&error),
        }
    }
}

impl Collector {
    /// Posts no row. `now_unix_s`: wall clock. The error is a sentence about a file.
    pub fn probe(&self, now_unix_s: i64) -> Result<Probe, String> {
        let client = open_client(&self.settings.rows, Limits::CHECK)?;
        let key = read_key(&self.settings.shared_key)?;
        let answer = send(&self.settings, &client, &key, Stream::Heartbeat, b"[]", now_unix_s);
        let accepted = match &answer {
            Ok(answer) => probe::accepted(&judge(answer, now_unix_s)),
            Err(error) => Err(error.to_string()),
        };
        Ok(Probe { notes: client.notes(), answer, accepted })
    }
}

/// The workspace's key, decoded.
struct Key(Vec<u8>);

impl Drop for Key {
    fn drop(&mut self) {
        sys::wipe(&mut self.0);
    }
}

fn read_key(path: &str) -> Result<Key, String> {
    let mut text = read_private(path, SHARED_KEY_TEXT_BYTES_MAX)?;
    let key = STANDARD.decode(text.trim_ascii());
    sys::wipe(&mut text);
    key.map(Key)
        .map_err(|_| format!("{path}: what stands there is not a workspace key: those are 88 characters of base64"))
}

fn send(
    settings: &DataCollector,
    client: &Client,
    key: &Key,
    stream: Stream,
    body: &[u8],
    now_unix_s: i64,
) -> Result<Answer, HttpsError> {
    let date = http_date(now_unix_s);
    let authorization = format!("SharedKey {}:{}", settings.workspace_id, signature(key, body.len(), &date));
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", CONTENT_TYPE),
        ("Log-Type", name_of(stream, &settings.rows.names)),
        ("x-ms-date", &date),
        ("time-generated-field", TIME_COLUMN),
        ("User-Agent", USER_AGENT),
    ];
    client.post(&format!("{}/api/logs?api-version={}", settings.endpoint, settings.api_version), &headers, body)
}

/// The signature of a body of so many bytes. Source: "HTTP Data Collector API", "Authorization".
fn signature(key: &Key, body_bytes: usize, date: &str) -> String {
    let text = format!("POST\n{body_bytes}\n{CONTENT_TYPE}\nx-ms-date:{date}\n/api/logs");
    STANDARD.encode(hmac_sha256(&key.0, &[text.as_bytes()]))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`. Source: RFC 9110 section 5.6.7.
fn http_date(unix_s: i64) -> String {
    const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let name =
        |names: &'static [u8], index: usize| core::str::from_utf8(&names[3 * index..3 * index + 3]).unwrap_or("");
    let (days, second) = (unix_s.div_euclid(86_400), unix_s.rem_euclid(86_400));
    let (year, month, day) = date_from_days(days);
    let weekday = usize::try_from(days.rem_euclid(7)).unwrap_or(0);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(DAYS, weekday),
        name(MONTHS, usize::from(month) - 1),
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// What an answer means for the rows.
fn judge(answer: &Answer, now_unix_s: i64) -> Outcome {
    let code = member(&answer.body, "Error").and_then(plain).unwrap_or_default();
    let mut outcome = oms::judge_by(answer, now_unix_s, advice);
    // Only this one is about the records; the others are about the settings, and nothing is lost for them.
    if answer.status == 400 && code != "InvalidDataFormat" && !code.is_empty() {
        outcome.verdict = Verdict::Later;
        outcome.reason =
            format!("the service refuses the request (400 {code}): check workspace_id and the streams' names");
    }
    outcome
}

fn advice(status: u16) -> &'static str {
    match status {
        403 => {
            "the service does not accept the signature (403): check workspace_id and the shared key, and this host's clock"
        }
        404 => "the service knows no such workspace (404): check workspace_id and endpoint",
        status => oms::advice(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_computed_elsewhere() {
        let key = Key((0..64).collect());
        let body = br#"[{"Computer":"h1","Message":"hello"}]"#;
        assert_eq!(
            signature(&key, body.len(), "Mon, 23 Nov 2026 08:00:00 GMT"),
            "2lPKmMzs8jgnxu2LjhwrYauWufO0RDI15Gt++Rx/ZDE="
        );
    }

    #[test]
    fn dates_are_as_the_rfc_writes_them() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(1_795_420_800), "Mon, 23 Nov 2026 08:00:00 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[track_caller]
    fn check(status: u16, body: &str, verdict: Verdict, reason: &str) {
        let answer = Answer { status, retry_after_s: None, date_unix_s: None, body: body.into() };
        let outcome = judge(&answer, 0);
        assert_eq!(outcome.verdict, verdict, "{outcome:?}");
        assert!(outcome.reason.contains(reason), "{outcome:?}");
    }

    #[test]
    fn only_a_fault_of_the_records_costs_records() {
        check(200, "", Verdict::Sent, "");
        check(400, r#"{"Error":"InvalidDataFormat"}"#, Verdict::Refused, "400");
        check(400, r#"{"Error":"InvalidLogType"}"#, Verdict::Later, "400 InvalidLogType");
        check(403, "", Verdict::Later, "signature");
        check(404, "", Verdict::Later, "workspace");
        check(429, "", Verdict::Later, "slow down");
    }
}
