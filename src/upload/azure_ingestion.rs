//! `out_azure_ingestion`: the Logs Ingestion API. Rows go to a stream of a data collection rule, by the right of an identity's
//! token.

pub mod identity;
pub mod metadata;
pub mod token;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use std::path::Path;

use super::https::{Answer, Client, HttpsError, Limits, Options};
use super::members::{member, plain};
use super::oms::{self, USER_AGENT, clock_is_set, read_proxy, request_id, rooted};
use super::probe::Probe;
use super::rows::Door;
use super::{Outcome, Stream, Verdict};
use crate::config::{AzureIngestion, RowNames, RowSettings};
use crate::limits::{ROWS_NEXT_MS_MAX, ROWS_REQUEST_MS_MAX};
use crate::sys::clock;
use token::Keeper;

/// Characters of an error's code that are shown.
const CODE_BYTES_MAX: usize = 64;

/// The API as a door. Files are read when they are needed, so that what is replaced counts from then on.
pub struct Ingestion {
    settings: AzureIngestion,
    keeper: Keeper,
    client: Option<Client>,
}

impl Ingestion {
    /// A door by these settings, whose paths are taken below `root`. Reads nothing yet.
    pub fn new(root: &Path, settings: &AzureIngestion) -> Ingestion {
        let mut settings = settings.clone();
        root_rows(root, &mut settings.rows);
        identity::root(root, &mut settings.identity);
        let keeper = Keeper::new(token::file_of(root, &settings), identity::fingerprint(&settings));
        Ingestion { settings, keeper, client: None }
    }
}

/// Puts `root` in front of the paths that every door has.
pub fn root_rows(root: &Path, rows: &mut RowSettings) {
    rows.proxy_conf = rooted(root, &rows.proxy_conf).to_string_lossy().into_owned();
    if !rows.ca_file.is_empty() {
        rows.ca_file = rooted(root, &rows.ca_file).to_string_lossy().into_owned();
    }
}

/// Times of a request with rows.
pub fn limits() -> Limits {
    Limits { request_ms: ROWS_REQUEST_MS_MAX, ..Limits::default() }
}

/// What a stream's records are called there.
pub fn name_of(stream: Stream, names: &RowNames) -> &str {
    match stream {
        Stream::Syslog => &names.syslog,
        Stream::Perf => &names.perf,
        Stream::Heartbeat => &names.heartbeat,
        Stream::Operation => &names.operation,
    }
}

/// A client for posting rows. The error is a sentence that names the file and what to do.
pub fn open_client(rows: &RowSettings, limits: Limits) -> Result<Client, String> {
    let options = Options {
        ca_file: (!rows.ca_file.is_empty()).then(|| Path::new(&rows.ca_file)),
        proxy: read_proxy(&rows.proxy_conf)?,
        no_proxy: &rows.no_proxy,
        ..Options::default()
    };
    Client::with_limits(options, limits).map_err(|error| error.to_string())
}

impl Door for Ingestion {
    fn compresses(&self) -> bool {
        self.settings.rows.compress
    }

    fn time_column(&self) -> &'static str {
        "TimeGenerated"
    }

    fn post(&mut self, stream: Stream, body: &[u8]) -> Outcome {
        let now_unix_s = clock::wall_s();
        if !clock_is_set(now_unix_s) {
            return Outcome::new(Verdict::Later, oms::CLOCK_NOT_SET.to_owned());
        }
        let client = match self.client.take().map_or_else(|| open_client(&self.settings.rows, limits()), Ok) {
            Ok(client) => client,
            Err(reason) => return Outcome::new(Verdict::Later, reason),
        };
        let outcome = self.post_by(&client, stream, body, now_unix_s);
        // A connection that failed is not used again, and neither are the files that it was made from.
        if outcome.status != 0 {
            self.client = Some(client);
        }
        outcome
    }
}

impl Ingestion {
    /// Goes the way of a request without sending a row: a token, the endpoint and, with a token, rule, role and each stream.
    /// `now_unix_s`: wall clock. The error is a sentence about a file.
    pub fn probe(&mut self, now_unix_s: i64) -> Result<Probe, String> {
        let client = open_client(&self.settings.rows, Limits::CHECK)?;
        let token = identity::ask(&self.settings, &client).map_err(|outcome| outcome.reason);
        let has_token = token.map(|given| self.keeper.keep(given, clock::monotonic_ms()));
        let (first, others) = (Stream::ALL[0], &Stream::ALL[1..]);
        let answer = self.send(&client, first, b"[]");
        let notes = client.notes();
        let mut accepted = has_token.and_then(|()| match &answer {
            Ok(answer) => self.knows(first, answer, now_unix_s),
            Err(error) => Err(error.to_string()),
        });
        for &stream in others {
            accepted = accepted.and_then(|_| match self.send(&client, stream, b"[]") {
                Ok(answer) => self.knows(stream, &answer, now_unix_s),
                Err(error) => Err(error.to_string()),
            });
        }
        let accepted = accepted.map(|()| "a token was given; rule, role and streams are known".to_owned());
        Ok(Probe { notes, answer, accepted })
    }

    /// No rows are no good request: to say so, the service has to have found rule, role and stream.
    fn knows(&self, stream: Stream, answer: &Answer, now_unix_s: i64) -> Result<(), String> {
        let outcome = judge(answer, now_unix_s);
        match outcome.verdict == Verdict::Sent || answer.status == 400 {
            true => Ok(()),
            false => Err(format!("{}: {}", name_of(stream, &self.settings.rows.names), outcome.reason)),
        }
    }

    /// Posts with the token at hand; if that is not accepted, once more with a new one.
    fn post_by(&mut self, client: &Client, stream: Stream, body: &[u8], now_unix_s: i64) -> Outcome {
        let begun_ms = clock::monotonic_ms();
        if let Err(outcome) = self.keeper.fill(&self.settings, client, begun_ms) {
            return outcome;
        }
        let first = match self.send(client, stream, body) {
            Ok(answer) if answer.status == 401 => answer,
            Ok(answer) => return judge(&answer, now_unix_s),
            Err(error) => return not_answered(&error),
        };
        let refused = judge(&first, now_unix_s);
        let now_ms = clock::monotonic_ms();
        // A metadata service may give the same token again: then the answer would be the same, too.
        match self.keeper.renew(&self.settings, client, now_ms) {
            Ok(true) if now_ms.saturating_sub(begun_ms) < ROWS_NEXT_MS_MAX => match self.send(client, stream, body) {
                Ok(answer) => judge(&answer, now_unix_s),
                Err(error) => not_answered(&error),
            },
            Ok(_) => refused,
            Err(outcome) => outcome,
        }
    }

    fn send(&self, client: &Client, stream: Stream, body: &[u8]) -> Result<Answer, HttpsError> {
        const GZIP: &[u8] = &[0x1f, 0x8b];
        let settings = &self.settings;
        let url = format!(
            "{}/dataCollectionRules/{}/streams/{}?api-version={}",
            settings.endpoint,
            settings.rule_id,
            name_of(stream, &settings.rows.names),
            settings.api_version
        );
        let id = request_id();
        let headers = [
            ("Authorization", self.keeper.bearer()),
            ("Content-Type", "application/json"),
            ("x-ms-client-request-id", &id),
            ("User-Agent", USER_AGENT),
            ("Content-Encoding", "gzip"),
        ];
        let plain = headers.len() - usize::from(!body.starts_with(GZIP));
        client.post(&url, &headers[..plain], body)
    }
}

/// No answer: whether the rows were taken is known only if they never arrived.
pub fn not_answered(error: &HttpsError) -> Outcome {
    let ambiguous = error.is_ambiguous();
    let tail = if ambiguous { "; the service may have taken the records, which may arrive twice" } else { "" };
    Outcome {
        broke: *error == HttpsError::ClosedEarly,
        ambiguous,
        ..Outcome::new(Verdict::Later, format!("{error}{tail}"))
    }
}

/// What an answer means for the rows.
pub fn judge(answer: &Answer, now_unix_s: i64) -> Outcome {
    let mut outcome = oms::judge_by(answer, now_unix_s, advice);
    let code = code_of(&answer.body);
    if outcome.verdict != Verdict::Sent && !code.is_empty() {
        outcome.reason = match outcome.verdict {
            Verdict::Refused => format!("the service will not take these rows ({} {code})", answer.status),
            _ => format!("{} [{code}]", outcome.reason),
        };
    }
    outcome
}

/// The code in `{"error":{"code":"..."}}`, if it is one that can be shown.
fn code_of(body: &[u8]) -> String {
    let code = member(body, "error").and_then(|error| member(error, "code")).and_then(plain).unwrap_or_default();
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if code.len() <= CODE_BYTES_MAX && code.bytes().all(fine) { code } else { String::new() }
}

fn advice(status: u16) -> &'static str {
    match status {
        401 => {
            "the token is not accepted (401): check cloud and tenant_id, and that rule and identity are of one tenant"
        }
        403 => {
            "the identity may not send to this rule (403): give it the role Monitoring Metrics Publisher there; a new role \
             takes up to 30 minutes"
        }
        404 => {
            "the service knows no such rule or stream (404): check endpoint, dcr_id (dcr-..., not the name) and the stream"
        }
        status => oms::advice(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, verdict: Verdict, reason: &str) {
        let answer = Answer { status, retry_after_s: Some(7), date_unix_s: Some(1000), body: body.into() };
        let outcome = judge(&answer, 1000);
        assert_eq!((outcome.verdict, outcome.status, outcome.retry_after_s), (verdict, status, Some(7)));
        assert!(
            outcome.reason.contains(reason) && (verdict == Verdict::Sent) == outcome.reason.is_empty(),
            "{outcome:?}"
        );
    }

    #[test]
    fn each_answer_has_its_meaning_and_shows_the_services_code() {
        let error = |code: &str| format!(r#"{{"error":{{"message":"x","code":"{code}"}}}}"#);
        check(204, "", Verdict::Sent, "");
        check(200, "{}", Verdict::Sent, "");
        check(400, &error("InvalidRecord"), Verdict::Refused, "these rows (400 InvalidRecord)");
        check(
            400,
            &error("RecordsTimeRangeIsMoreThan30Minutes"),
            Verdict::Refused,
            "RecordsTimeRangeIsMoreThan30Minutes",
        );
        check(413, &error("ContentLengthLimitExceeded"), Verdict::Refused, "ContentLengthLimitExceeded");
        check(400, "<html>no</html>", Verdict::Refused, "(400): <html>no</html>");
        check(401, "", Verdict::Later, "the token is not accepted");
        check(403, &error("OperationFailed"), Verdict::Later, "takes up to 30 minutes [OperationFailed]");
        check(404, &error("NotFound"), Verdict::Later, "no such rule or stream");
        check(429, "", Verdict::Later, "slow down");
        check(503, "", Verdict::Later, "busy");
        check(403, &error("no\ncode at all"), Verdict::Later, "30 minutes");
    }

    #[test]
    fn a_wrong_clock_is_named_before_the_role() {
        let answer = Answer { status: 403, retry_after_s: None, date_unix_s: Some(10_000), body: "".into() };
        assert!(judge(&answer, 0).reason.contains("clock"));
    }

    #[test]
    fn only_a_request_that_was_sent_may_have_been_taken() {
        assert!(not_answered(&HttpsError::ClosedEarly).ambiguous);
        assert!(not_answered(&HttpsError::TimedOut("an answer")).ambiguous);
        assert!(!not_answered(&HttpsError::TimedOut("a connection")).ambiguous);
        assert!(!not_answered(&HttpsError::Malformed("x".into())).ambiguous);
    }
}
