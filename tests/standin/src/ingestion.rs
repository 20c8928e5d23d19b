//! The Logs Ingestion API, and the HTTP Data Collector API before it: what they check of rows. Source: "Logs Ingestion API in Azure
//! Monitor", "Azure Monitor service limits", "HTTP Data Collector API", and what public issues say of their errors.

use crate::azure::{
    AUXILIARY_RANGE_S, Azure, FIELD_BYTES_MAX, INFLATED_BYTES_MAX, Refused, Row, WIRE_BYTES_MAX, pairs, refused, value,
};
use crate::clock;
use crate::http::Head;
use crate::topology::is_guid;
use base64::prelude::{BASE64_STANDARD, Engine};
use ring::hmac;
use serde_json::{Map, Value};
use zlib_rs::{Inflate, InflateFlush, Status};

/// Whether a path is one of the Logs Ingestion API.
pub fn is_path(path: &str) -> bool {
    path.starts_with("/dataCollectionRules/")
}

/// Whether a path is that of the HTTP Data Collector API.
pub fn is_collector_path(path: &str) -> bool {
    path.split('?').next() == Some("/api/logs")
}

/// How many rows a good request has, and which, if they are kept.
pub struct Load {
    /// How many.
    pub records: usize,
    /// Which.
    pub rows: Vec<Row>,
}

impl From<Vec<Row>> for Load {
    fn from(rows: Vec<Row>) -> Load {
        Load { records: rows.len(), rows }
    }
}

/// Checks a request and gives its rows. `plain`: the body, decompressed. Unless they are to be kept, rows are counted and not looked at: for
/// loads where the stand-in must cost less than what it measures.
pub fn check(azure: &mut Azure, head: &Head, body: &[u8], plain: &mut Vec<u8>, keep: bool) -> Result<Load, Refused> {
    let (path, query) = head.path.split_once('?').unwrap_or((&head.path, ""));
    azure.check_token(head.header("authorization"))?;
    let parts: Vec<&str> = path.split('/').collect();
    let ["", "dataCollectionRules", rule, "streams", stream] = parts[..] else {
        return Err(refused(404, "NotFound", format!("{path} is no path of a stream")));
    };
    if rule != azure.rule_id {
        return Err(refused(404, "NotFound", format!("there is no rule {rule}")));
    }
    let Some(declared) = azure.streams.get(stream).cloned() else {
        return Err(refused(404, "InvalidStream", format!("the rule has no stream {stream}")));
    };
    let query = pairs(query);
    if !azure.api_versions.iter().any(|version| version == value(&query, "api-version")) {
        return Err(refused(400, "InvalidApiVersion", "unknown api-version"));
    }
    if head.header("content-type").is_none_or(|value| value.split(';').next() != Some("application/json")) {
        return Err(refused(400, "UnsupportedContentType", "the content type is not application/json"));
    }
    if let Some(id) = head.header("x-ms-client-request-id")
        && (!is_guid(id) || !azure.used_ids.insert(id.to_owned()))
    {
        return Err(refused(400, "InvalidRequestId", "x-ms-client-request-id is no GUID, or was used before"));
    }
    if body.len() > WIRE_BYTES_MAX {
        let reason = format!(
            "Maximum allowed content length: 1048576 bytes (1 MB). Provided content length: {} bytes",
            body.len()
        );
        return Err(refused(413, "ContentLengthLimitExceeded", reason));
    }
    inflate(head, body, plain)?;
    if !keep && plain.starts_with(b"[{") && plain.ends_with(b"}]") {
        // Inside a text each quote has a backslash in front, so these bytes are always a key.
        let records = memchr::memmem::find_iter(plain, br#"{"TimeGenerated":"#).count();
        return Ok(Load { records, rows: Vec::new() });
    }
    let columns = declared["columns"].as_array().cloned().unwrap_or_default();
    let rows = parse(plain, stream)?;
    for (index, row) in rows.iter().enumerate() {
        check_row(&columns, &row.fields)
            .map_err(|reason| refused(400, "InvalidRecord", format!("row {index} of {stream}: {reason}")))?;
    }
    check_range(azure, &rows)?;
    Ok(rows.into())
}

fn inflate(head: &Head, body: &[u8], plain: &mut Vec<u8>) -> Result<(), Refused> {
    plain.clear();
    match head.header("content-encoding") {
        None => {
            plain.extend_from_slice(body);
            Ok(())
        }
        Some("gzip") => inflate_gzip(body, plain),
        Some(other) => Err(refused(400, "UnsupportedContentEncoding", format!("Content-Encoding is {other}"))),
    }
}

fn inflate_gzip(body: &[u8], plain: &mut Vec<u8>) -> Result<(), Refused> {
    const STEP_BYTES: usize = 1024 * 1024;
    const GZIP: u8 = 31;
    let broken = |reason: &str| refused(400, "InvalidGzip", reason);
    let mut inflate = Inflate::new(true, GZIP);
    loop {
        let made = usize::try_from(inflate.total_out()).expect("a buffer's length");
        let used = usize::try_from(inflate.total_in()).expect("a body's length");
        plain.resize(made + STEP_BYTES, 0);
        let status = inflate
            .decompress(&body[used..], &mut plain[made..], InflateFlush::NoFlush)
            .map_err(|error| broken(error.as_str()))?;
        let made_now = usize::try_from(inflate.total_out()).expect("a buffer's length");
        let used_now = usize::try_from(inflate.total_in()).expect("a body's length");
        if made_now > INFLATED_BYTES_MAX {
            return Err(refused(413, "ContentLengthLimitExceeded", "more than 50 MiB once decompressed"));
        }
        match status {
            Status::StreamEnd if used_now == body.len() => {
                plain.truncate(made_now);
                return Ok(());
            }
            Status::StreamEnd => return Err(broken("bytes behind the end")),
            _ if (made_now, used_now) == (made, used) => return Err(broken("it is cut off")),
            _ => {}
        }
    }
}

/// An array of objects, flat or not.
fn parse(plain: &[u8], stream: &str) -> Result<Vec<Row>, Refused> {
    let malformed = |reason: String| refused(400, "InvalidJson", reason);
    let Value::Array(items) = serde_json::from_slice(plain).map_err(|error| malformed(error.to_string()))? else {
        return Err(malformed("the body is no array".into()));
    };
    if items.is_empty() {
        return Err(malformed("the array is empty".into()));
    }
    let row = |item| match item {
        Value::Object(fields) => Ok(Row { stream: stream.to_owned(), fields }),
        _ => Err(malformed("an element is no object".into())),
    };
    items.into_iter().map(row).collect()
}

/// A column that was not declared is dropped by the service in silence: whoever sends it has a defect.
fn check_row(columns: &[Value], fields: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in fields {
        let column = columns.iter().find(|column| column["name"] == name.as_str());
        let kind = column.and_then(|column| column["type"].as_str()).ok_or(format!("{name} is not declared"))?;
        let fits = match kind {
            "string" => value.is_string(),
            "int" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            "long" => value.is_i64() || value.is_u64(),
            "real" => value.is_number(),
            "boolean" => value.is_boolean(),
            "datetime" => value.as_str().is_some_and(|text| clock::parse_record_time(text).is_some()),
            "dynamic" => value.is_array() || value.is_object(),
            _ => false,
        };
        if !fits && !value.is_null() {
            return Err(format!("{name} is {value}, which is no {kind}"));
        }
        if value.as_str().is_some_and(|text| text.len() > FIELD_BYTES_MAX) {
            return Err(format!("{name} is longer than 64 KB and would be cut"));
        }
    }
    if fields.contains_key("TimeGenerated") { Ok(()) } else { Err("TimeGenerated is missing".into()) }
}

fn check_range(azure: &Azure, rows: &[Row]) -> Result<(), Refused> {
    let times = || rows.iter().filter_map(|row| clock::parse_record_time(row.text("TimeGenerated")));
    let span = times().max().unwrap_or(0) - times().min().unwrap_or(0);
    if azure.auxiliary && span >= AUXILIARY_RANGE_S {
        let reason = format!("the rows span {span} s");
        return Err(refused(400, "RecordsTimeRangeIsMoreThan30Minutes", reason));
    }
    Ok(())
}

/// Checks a request to the HTTP Data Collector API and gives its rows. `key`: the workspace's, decoded.
pub fn check_collector(workspace: &str, key: &[u8], head: &Head, body: &[u8], now_s: i64) -> Result<Load, Refused> {
    let bad = |code: &'static str| refused(400, code, code);
    let query = pairs(head.path.split_once('?').map_or("", |(_, query)| query));
    match value(&query, "api-version") {
        "2016-04-01" => {}
        "" => return Err(bad("MissingApiVersion")),
        _ => return Err(bad("InvalidApiVersion")),
    }
    if head.header("content-type") != Some("application/json") {
        return Err(bad("UnsupportedContentType"));
    }
    let log_type = head.header("log-type").ok_or(bad("MissingLogType"))?;
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if log_type.is_empty() || log_type.len() > 100 || !log_type.bytes().all(fine) {
        return Err(bad("InvalidLogType"));
    }
    let unauthorized = |reason: &str| refused(403, "InvalidAuthorization", reason);
    let date = head.header("x-ms-date").unwrap_or("");
    if date.len() != 29 || !(-900..=900).any(|skew| clock::http_date(now_s + skew) == date) {
        return Err(unauthorized("x-ms-date is no date of RFC 1123, or far from now"));
    }
    let text = format!("POST\n{}\napplication/json\nx-ms-date:{date}\n/api/logs", body.len());
    let signature = BASE64_STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()));
    if head.header("authorization") != Some(&format!("SharedKey {workspace}:{signature}")) {
        return Err(unauthorized("the signature is wrong"));
    }
    if head.header("content-encoding").is_some() {
        return Err(bad("InvalidDataFormat"));
    }
    let rows = parse(body, log_type).map_err(|fault| refused(400, "InvalidDataFormat", fault.reason))?;
    for row in &rows {
        let reserved = ["tenant", "TimeGenerated", "RawData"];
        let known = |name: &String| name.len() <= 45 && name.bytes().all(fine) && !reserved.contains(&name.as_str());
        if let Some(name) = row.fields.keys().find(|name| !known(name)) {
            return Err(refused(400, "InvalidDataFormat", format!("a column cannot be named {name}")));
        }
        if let Some(field) = head.header("time-generated-field")
            && clock::parse_record_time(row.text(field)).is_none()
        {
            return Err(refused(400, "InvalidDataFormat", format!("{field} holds no time")));
        }
    }
    Ok(rows.into())
}

/// The answer's JSON for a request that is refused.
pub fn error_json(fault: &Refused) -> String {
    let message = fault.reason.replace(['"', '\\'], "'");
    format!(r#"{{"error":{{"code":"{}","message":"{message}"}}}}"#, fault.code)
}

/// The same of the HTTP Data Collector API.
pub fn collector_error_json(fault: &Refused) -> String {
    format!(r#"{{"Error":"{}","Message":"{}"}}"#, fault.code, fault.reason.replace(['"', '\\'], "'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zlib_rs::{Deflate, DeflateFlush};

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut packed = vec![0; plain.len() / 100 + 1024];
        let mut deflate = Deflate::new(6, true, 31);
        assert_eq!(deflate.compress(plain, &mut packed, DeflateFlush::Finish), Ok(Status::StreamEnd));
        packed.truncate(usize::try_from(deflate.total_out()).expect("a buffer's length"));
        packed
    }

    #[test]
    fn a_small_body_that_inflates_beyond_50_mib_is_refused() {
        let mut plain = Vec::new();
        for (bytes, status) in [(INFLATED_BYTES_MAX, None), (INFLATED_BYTES_MAX + 1, Some(413))] {
            let body = gzip(&vec![b' '; bytes]);
            assert!(body.len() < WIRE_BYTES_MAX, "{} bytes on the wire", body.len());
            assert_eq!(inflate_gzip(&body, &mut plain).err().map(|refused| refused.status), status, "{bytes}");
        }
    }

    #[test]
    fn a_gzip_member_must_be_whole_and_alone() {
        let whole = gzip(b"[{}]");
        let mut plain = Vec::new();
        assert!(inflate_gzip(&whole, &mut plain).is_ok());
        assert_eq!(plain, b"[{}]");
        for broken in [&whole[..whole.len() - 1], &[&whole[..], b"x"].concat(), &whole[2..], &[]] {
            plain.clear();
            assert!(inflate_gzip(broken, &mut plain).is_err(), "{broken:?}");
        }
    }
}
