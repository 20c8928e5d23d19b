//! Bearer tokens: what an answer brings, how long one is used, and where it is kept.
//!
//! An upload child often ends after one request, so a token has to outlive it. It does in a file (mode 600) beside the ring, not in
//! the parent's memory: the parent holds no secret, an agent that cron starts for one run has it as well, and whoever can read the
//! file can read the secret or ask the metadata service anyway. Its times are of the host's monotonic clock and hold for one boot.
//!
//! ```text
//!  omsd token 1 LF  fingerprint of the identity LF  boot id LF  refresh, expiry: milliseconds since boot LF  token LF
//! ```

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::identity;
use crate::config::AzureIngestion;
use crate::crypto::sha256;
use crate::limits::{TOKEN_BYTES_MAX, TOKEN_PAUSE_MS, TOKEN_S_DEFAULT, TOKEN_S_MAX};
use crate::sys::{self, clock, file};
use crate::upload::https::Client;
use crate::upload::members::{member, plain};
use crate::upload::oms::rooted;
use crate::upload::{Outcome, Verdict};

const FIRST_LINE: &str = "omsd token 1";
/// Below this life, a token is renewed at its half; above, five minutes before its end.
const SHORT_S: u64 = 600;
/// From this life on, a token is renewed at its half.
const LONG_S: u64 = 2 * 60 * 60;

/// What a token's giver answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    /// The token: visible ASCII.
    pub token: String,
    /// For how long it is good, in seconds.
    pub life_s: u64,
}

impl core::fmt::Debug for Given {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Given for {} s", self.life_s)
    }
}

/// Reads the answer of a token endpoint or a metadata service; `None` if there is no token in it that can be used. A life that is not
/// told, or cannot be, is [`TOKEN_S_DEFAULT`]; `now_unix_s` is for those that tell only the end.
pub fn parse(body: &[u8], now_unix_s: i64) -> Option<Given> {
    let text = |name| member(body, name).and_then(plain);
    let token = text("access_token")?;
    let fine = !token.is_empty() && token.len() <= TOKEN_BYTES_MAX && token.bytes().all(|byte| byte.is_ascii_graphic());
    let seconds = |name| text(name).and_then(|text| text.parse::<i64>().ok());
    let until_end = || seconds("expires_on").map(|end| end.saturating_sub(now_unix_s));
    let believable = |life_s: &i64| *life_s > 0;
    let life_s = seconds("expires_in").filter(believable).or_else(|| until_end().filter(believable));
    let life_s = life_s.and_then(|life_s| u64::try_from(life_s).ok()).unwrap_or(TOKEN_S_DEFAULT).min(TOKEN_S_MAX);
    fine.then_some(Given { token, life_s })
}

/// After how many seconds a token of this life is renewed.
fn renewed_after_s(life_s: u64) -> u64 {
    if (SHORT_S..LONG_S).contains(&life_s) { life_s - SHORT_S / 2 } else { life_s / 2 }
}

/// A token in use.
struct Held {
    /// `Bearer` and the token.
    bearer: String,
    renew_ms: u64,
    end_ms: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        sys::wipe_string(&mut self.bearer);
    }
}

/// Gets tokens when they are needed and keeps the last one.
pub struct Keeper {
    file: PathBuf,
    fingerprint: String,
    held: Option<Held>,
    /// Whether the file was looked at.
    looked: bool,
    /// When a token was last refused, and how.
    refused: Option<(u64, Outcome)>,
}

/// Where the token of these settings is kept: each identity has its own file.
pub fn file_of(root: &Path, settings: &AzureIngestion) -> PathBuf {
    let [a, b, c, d, ..] = sha256(&[identity::fingerprint(settings).as_bytes()]);
    rooted(root, "/var/opt/omsd").join(format!("token-{:08x}", u32::from_be_bytes([a, b, c, d])))
}

impl Keeper {
    /// A keeper of the identity of this fingerprint.
    pub fn new(file: PathBuf, fingerprint: String) -> Keeper {
        Keeper { file, fingerprint, held: None, looked: false, refused: None }
    }

    /// The value of the `Authorization` header; empty without a token.
    pub fn bearer(&self) -> &str {
        self.held.as_ref().map_or("", |held| &held.bearer)
    }

    /// Sees to it that there is a token that is good for now. The error is the outcome of a request that has none.
    pub fn fill(&mut self, settings: &AzureIngestion, client: &Client, now_ms: u64) -> Result<(), Outcome> {
        if self.held.is_none() && !self.looked {
            self.looked = true;
            self.held = self.load();
        }
        match &self.held {
            Some(held) if now_ms < held.renew_ms => return Ok(()),
            Some(held) if now_ms < held.end_ms => {
                // It is still good: a giver that is down for a while costs nothing.
                let _ = self.ask(settings, client, now_ms);
                return Ok(());
            }
            _ => {}
        }
        self.ask(settings, client, now_ms)
    }

    /// Gets another token, whatever is left of the one at hand. `true`: it is another.
    pub fn renew(&mut self, settings: &AzureIngestion, client: &Client, now_ms: u64) -> Result<bool, Outcome> {
        let before = self.held.take();
        let _ = fs::remove_file(&self.file);
        self.ask(settings, client, now_ms)?;
        Ok(before.is_none_or(|before| before.bearer != self.bearer()))
    }

    fn ask(&mut self, settings: &AzureIngestion, client: &Client, now_ms: u64) -> Result<(), Outcome> {
        if let Some((at_ms, outcome)) = &self.refused
            && now_ms.saturating_sub(*at_ms) < TOKEN_PAUSE_MS
        {
            return Err(outcome.clone());
        }
        match identity::ask(settings, client) {
            Ok(given) => {
                self.refused = None;
                self.keep(given, clock::monotonic_ms());
                Ok(())
            }
            Err(outcome) => {
                let outcome = Outcome { verdict: Verdict::Later, ..outcome };
                self.refused = Some((clock::monotonic_ms(), outcome.clone()));
                Err(outcome)
            }
        }
    }

    /// Uses this token from now on, and keeps it for whoever comes after.
    pub fn keep(&mut self, mut given: Given, now_ms: u64) {
        let held = Held {
            bearer: format!("Bearer {}", given.token),
            renew_ms: now_ms + renewed_after_s(given.life_s) * 1000,
            end_ms: now_ms + given.life_s * 1000,
        };
        if let Some(boot) = boot_id() {
            let mut text = format!(
                "{FIRST_LINE}\n{}\n{boot}\n{} {}\n{}\n",
                self.fingerprint, held.renew_ms, held.end_ms, given.token
            );
            // Without the file, the next child asks for a token of its own.
            let _ = file::write_often(&self.file, text.as_bytes(), 0o600);
            sys::wipe_string(&mut text);
        }
        sys::wipe_string(&mut given.token);
        self.held = Some(held);
    }

    fn load(&self) -> Option<Held> {
        let file = file::open_to_look(&self.file).ok()?;
        // Whoever else could have written it could send our records elsewhere in our name.
        if !file.metadata().is_ok_and(|found| found.is_file() && found.mode() & 0o077 == 0) {
            return None;
        }
        let mut bytes = Vec::with_capacity(TOKEN_BYTES_MAX + 1024);
        file.take(TOKEN_BYTES_MAX as u64 + 1024).read_to_end(&mut bytes).ok()?;
        let held = self.read(&bytes, &boot_id()?);
        sys::wipe(&mut bytes);
        held
    }

    fn read(&self, bytes: &[u8], boot: &str) -> Option<Held> {
        let mut lines = core::str::from_utf8(bytes).ok()?.lines();
        let ours =
            lines.next() == Some(FIRST_LINE) && lines.next() == Some(&self.fingerprint) && lines.next() == Some(boot);
        let (renew, end) = lines.next().filter(|_| ours)?.split_once(' ')?;
        let token = lines.next().filter(|token| !token.is_empty() && token.bytes().all(|it| it.is_ascii_graphic()))?;
        Some(Held { bearer: format!("Bearer {token}"), renew_ms: renew.parse().ok()?, end_ms: end.parse().ok()? })
    }
}

/// What tells this boot from any other. Source: random(4).
fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_string()).filter(|text| !text.is_empty())
}

/// A refusal by whoever gives tokens, in words that show no more of its answer than a code.
pub fn refusal(status: u16, body: &[u8], who: &str, advice: &str) -> Outcome {
    let text = |name| member(body, name).and_then(plain).filter(|text| is_code(text)).unwrap_or_default();
    let (error, number) = (text("error"), aadsts(body).unwrap_or_default());
    let codes = [error, number].into_iter().filter(|code| !code.is_empty()).map(|code| format!(" {code}"));
    let reason = format!("no token: {who} answers {status}{}: {advice}", codes.collect::<String>());
    Outcome { status, ..Outcome::new(Verdict::Later, reason) }
}

fn is_code(text: &str) -> bool {
    text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `AADSTS` and its number, which an error's description begins with.
fn aadsts(body: &[u8]) -> Option<String> {
    const PREFIX: &[u8] = b"\"AADSTS";
    let digits = member(body, "error_description")?.strip_prefix(PREFIX)?;
    let count = digits.iter().take_while(|digit| digit.is_ascii_digit()).count();
    let digits = core::str::from_utf8(&digits[..count]).ok().filter(|digits| (1..=12).contains(&digits.len()))?;
    Some("AADSTS".to_owned() + digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Option<u64>) {
        let given = parse(body.as_bytes(), 1_800_000_000);
        assert_eq!(given.as_ref().map(|given| given.life_s), expected, "{body}");
        assert!(given.is_none_or(|given| given.token == "a.b-c"));
    }

    #[test]
    fn a_life_may_be_number_or_text_and_an_absurd_one_is_none() {
        check(r#"{"token_type":"Bearer","expires_in":3599,"access_token":"a.b-c"}"#, Some(3599));
        check(r#"{"access_token":"a.b-c","expires_in":"86399","expires_on":"1"}"#, Some(86_399));
        check(r#"{"access_token":"a.b-c","expires_on":"1800000060"}"#, Some(60));
        check(r#"{"access_token":"a.b-c"}"#, Some(TOKEN_S_DEFAULT));
        for absurd in ["0", "-5", "1e300", "null", "\"soon\"", "99999999999999999999", "[]"] {
            check(&format!(r#"{{"access_token":"a.b-c","expires_in":{absurd}}}"#), Some(TOKEN_S_DEFAULT));
        }
        check(r#"{"access_token":"a.b-c","expires_in":999999999}"#, Some(TOKEN_S_MAX));
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_no_token() {
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        for token in ["", "a b", "a\\r\\nb", "ü", "a\\u0041", &long] {
            assert_eq!(parse(format!(r#"{{"access_token":"{token}"}}"#).as_bytes(), 0), None);
        }
        for body in ["", "<html>", "{}", r#"{"access_token":5"#, r#"{"error":"x"}"#] {
            assert_eq!(parse(body.as_bytes(), 0), None, "{body}");
        }
    }

    #[test]
    fn a_token_is_renewed_well_before_its_end() {
        for (life_s, after_s) in [(60, 30), (600, 300), (3600, 3300), (7200, 3600), (86_400, 43_200)] {
            assert_eq!(renewed_after_s(life_s), after_s);
        }
    }

    #[test]
    fn the_file_serves_the_next_child_of_the_same_boot_and_identity_alone() {
        let path = std::env::temp_dir().join(format!("omsd-token-{}", std::process::id()));
        let keeper = |fingerprint: &str| Keeper::new(path.clone(), fingerprint.into());
        let mut first = keeper("one");
        assert_eq!(first.bearer(), "");
        first.keep(Given { token: "a.b".into(), life_s: 3600 }, 5000);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let held = keeper("one").load().expect("it is there");
        assert_eq!((held.bearer.as_str(), held.renew_ms, held.end_ms), ("Bearer a.b", 3_305_000, 3_605_000));
        assert!(keeper("two").load().is_none());
        let bytes = fs::read(&path).unwrap();
        assert!(keeper("one").read(&bytes, "another boot").is_none());
        for cut in 0..bytes.len() - 5 {
            assert!(keeper("one").read(&bytes[..cut], &boot_id().unwrap()).is_none(), "{cut}");
        }
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        assert!(keeper("one").load().is_none(), "others can read it");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_refusal_shows_codes_and_nothing_that_the_other_side_wrote() {
        let body =
            br#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret. Trace ID: x"}"#;
        assert_eq!(refusal(401, body, "x", "y").reason, "no token: x answers 401 invalid_client AADSTS7000215: y");
        let body = br#"{"error":"<script>","error_description":"hello"}"#;
        assert_eq!(refusal(400, body, "x", "y").reason, "no token: x answers 400: y");
        assert_eq!(refusal(502, b"<html>", "x", "y").reason, "no token: x answers 502: y");
    }
}
