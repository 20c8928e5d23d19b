//! What the endpoints of today's Azure have in common: who may get a token, which tokens are good, which rule there is.

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Largest body on the wire. Source: the error text of the service.
pub const WIRE_BYTES_MAX: usize = 1_048_576;
/// Largest body once decompressed.
pub const INFLATED_BYTES_MAX: usize = 50 * 1024 * 1024;
/// Longest field that is not cut.
pub const FIELD_BYTES_MAX: usize = 64 * 1024;
/// `TimeGenerated` of one request for an auxiliary table lies within so many seconds.
pub const AUXILIARY_RANGE_S: i64 = 30 * 60;

/// What is known of one tenant, one application, one machine and one rule, and how all that behaves. Tests change it as they go.
#[derive(Debug, Clone)]
pub struct Azure {
    /// The tenant.
    pub tenant: String,
    /// The application, and the user-assigned identity of the machine.
    pub client_id: String,
    /// The application's secret.
    pub secret: String,
    /// The application's certificate, DER; empty: none.
    pub certificate: Vec<u8>,
    /// What tokens are for.
    pub audience: String,
    /// For how long they are good.
    pub token_life: Duration,
    /// What the answer says as `expires_in`, verbatim JSON; empty: nothing. `None`: the truth.
    pub expires_in: Option<String>,
    /// Whether the identity has the role on the rule.
    pub role: bool,
    /// The rule's immutable id.
    pub rule_id: String,
    /// `streamDeclarations` of the rule.
    pub streams: Map<String, Value>,
    /// Versions of the API that it knows.
    pub api_versions: Vec<String>,
    /// The tables are auxiliary ones: a request may not span half an hour.
    pub auxiliary: bool,
    /// Where Azure Arc leaves its challenges.
    pub challenges: PathBuf,
    pub(crate) tokens: Vec<Token>,
    pub(crate) used_ids: HashSet<String>,
    pub(crate) challenge: Option<(String, String)>,
}

/// A token that was given.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub value: String,
    pub audience: String,
    pub until: Instant,
}

/// A row that was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The stream that it was posted to, or its log type.
    pub stream: String,
    /// Columns and values.
    pub fields: Map<String, Value>,
}

impl Row {
    /// A column that is text; empty when it is not there.
    pub fn text(&self, column: &str) -> &str {
        self.fields.get(column).and_then(Value::as_str).unwrap_or("")
    }
}

/// Why a request is not as it must be: status and code, and a sentence for whoever reads complaints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// The service's code.
    pub code: &'static str,
    /// A sentence.
    pub reason: String,
}

pub(crate) fn refused(status: u16, code: &'static str, reason: impl Into<String>) -> Refused {
    Refused { status, code, reason: reason.into() }
}

impl Default for Azure {
    fn default() -> Self {
        Self {
            tenant: "11111111-2222-3333-4444-555555555555".to_owned(),
            client_id: "66666666-7777-8888-9999-aaaaaaaaaaaa".to_owned(),
            secret: "a~secret.with+odd/characters&=%".to_owned(),
            certificate: Vec::new(),
            audience: "https://monitor.azure.com".to_owned(),
            token_life: Duration::from_secs(3599),
            expires_in: None,
            role: true,
            rule_id: "dcr-0123456789abcdef0123456789abcdef".to_owned(),
            streams: streams_of(include_str!("../../../conf/azure/host.json")),
            api_versions: vec!["2023-01-01".to_owned(), "2021-11-01-preview".to_owned()],
            auxiliary: false,
            challenges: PathBuf::new(),
            tokens: Vec::new(),
            used_ids: HashSet::new(),
            challenge: None,
        }
    }
}

/// The stream declarations of a rule's template.
pub fn streams_of(template: &str) -> Map<String, Value> {
    let template: Value = serde_json::from_str(template).expect("a template is JSON");
    let resources = template["resources"].as_array().expect("a template has resources");
    let rule = resources.iter().find(|resource| resource["type"] == "Microsoft.Insights/dataCollectionRules");
    rule.expect("a rule")["properties"]["streamDeclarations"].as_object().expect("stream declarations").clone()
}

impl Azure {
    /// Tokens given so far are good no longer.
    pub fn revoke(&mut self) {
        self.tokens.clear();
    }

    /// Gives a token for this audience: the answer's JSON, without what only some givers add.
    pub(crate) fn give(&mut self, audience: &str, as_text: bool) -> String {
        let value = format!("standin.{}.{}", self.tokens.len(), random_hex());
        let until = Instant::now() + self.token_life;
        self.tokens.push(Token { value: value.clone(), audience: audience.to_owned(), until });
        let quote = if as_text { "\"" } else { "" };
        let truth = format!("{quote}{}{quote}", self.token_life.as_secs());
        let expires_in = match self.expires_in.as_deref() {
            None => format!(",\"expires_in\":{truth}"),
            Some("") => String::new(),
            Some(said) => format!(",\"expires_in\":{said}"),
        };
        format!(r#"{{"token_type":"Bearer"{expires_in},"access_token":"{value}"}}"#)
    }

    /// Whether the token of a request is good.
    pub(crate) fn check_token(&self, authorization: Option<&str>) -> Result<(), Refused> {
        let invalid = |reason: &str| Err(refused(401, "InvalidToken", reason));
        let Some(bearer) = authorization.and_then(|value| value.strip_prefix("Bearer ")) else {
            return invalid("no bearer token");
        };
        let Some(token) = self.tokens.iter().find(|token| token.value == bearer) else {
            return invalid("this token was never given, or was revoked");
        };
        if Instant::now() >= token.until {
            return invalid("this token has expired");
        }
        if token.audience.trim_end_matches('/') != self.audience {
            return invalid("this token is for another audience");
        }
        if self.role { Ok(()) } else { Err(refused(403, "OperationFailed", "the identity has no role on the rule")) }
    }
}

pub(crate) fn random_hex() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).expect("random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keys and values of a query or a form, decoded.
pub(crate) fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        })
        .collect()
}

/// The value of the one pair with this key.
pub(crate) fn value<'p>(pairs: &'p [(String, String)], name: &str) -> &'p str {
    pairs.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
