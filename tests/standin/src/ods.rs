//! The data request: its headers, its compression, its JSON, and the items in it.

use crate::clock;
use crate::http::{BODY_BYTES_MAX, Head};
use crate::topology::{Fault, check_user_agent, forbidden, header, is_guid, is_version, malformed};
use memchr::memmem;
use serde_json::{Map, Value};
use std::net::IpAddr;
use zlib_rs::{Inflate, InflateFlush, Status};

/// Where records go.
pub const PATH: &str = "/OperationalData.svc/PostJsonDataItems";
/// Largest uncompressed body taken, in bytes: the same 30 MB.
const INFLATED_BYTES_MAX: usize = BODY_BYTES_MAX;

/// One item of `DataItems`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// `LINUX_SYSLOGS_BLOB` and its like.
    pub data_type: String,
    /// Its keys and values.
    pub fields: Map<String, Value>,
}

impl Item {
    /// A field that is text; empty when it is not there.
    pub fn text(&self, key: &str) -> &str {
        self.fields.get(key).and_then(Value::as_str).unwrap_or("")
    }
}

/// Checks the headers of a data request, all but whether `X-Request-ID` was seen before.
pub fn check_headers(head: &Head) -> Result<(), Fault> {
    for (name, value) in
        [("content-type", "application/json"), ("x-ms-app", "LinuxMonitoringAgent"), ("x-ms-client-platform", "Linux")]
    {
        if header(head, name)? != value {
            return Err(malformed(format!("{name} is not {value:?}")));
        }
    }
    check_user_agent(head)?;
    if !is_version(header(head, "x-ms-client-version")?) {
        return Err(malformed("x-ms-client-version is not n.n.n-n"));
    }
    let retries = header(head, "x-ms-client-request-retry-count")?;
    if retries.is_empty() || !retries.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed("x-ms-client-request-retry-count is no number"));
    }
    let id = header(head, "x-request-id")?;
    if !is_guid(id)
        || id.as_bytes()[14] != b'4'
        || !b"89ab".contains(&id.as_bytes()[19])
        || *id != id.to_ascii_lowercase()
    {
        return Err(malformed("X-Request-ID is no version 4 GUID in lower case"));
    }
    if header(head, "x-ms-azureregion")?.is_empty() {
        return Err(malformed("x-ms-AzureRegion is empty"));
    }
    if head.header("x-ms-uuid").is_some_and(|uuid| !is_guid(uuid)) {
        return Err(malformed("x-ms-UUID is no GUID"));
    }
    if head.header("x-ms-azureresourceid").is_some_and(|id| !id.starts_with("/subscriptions/")) {
        return Err(malformed("x-ms-AzureResourceId is no resource id"));
    }
    if head.headers.iter().any(|(name, _)| name == "authorization") {
        return Err(forbidden("an Authorization header, where the certificate is the identity"));
    }
    header(head, "host").map(|_| ())
}

/// Puts the uncompressed body into `plain`, which is cleared first.
pub fn inflate(head: &Head, body: &[u8], plain: &mut Vec<u8>) -> Result<(), Fault> {
    match head.header("content-encoding") {
        None => {
            plain.clear();
            plain.extend_from_slice(body);
            Ok(())
        }
        Some("deflate") => inflate_zlib(body, plain),
        Some(other) => Err(malformed(format!("Content-Encoding is {other:?}"))),
    }
}

fn inflate_zlib(body: &[u8], plain: &mut Vec<u8>) -> Result<(), Fault> {
    const STEP_BYTES: usize = 1024 * 1024;
    let mut inflate = Inflate::new(true, 15);
    let (mut used, mut made) = (0, 0);
    loop {
        if plain.len() < made + STEP_BYTES {
            plain.resize(made + STEP_BYTES, 0);
        }
        let status = inflate
            .decompress(&body[used..], &mut plain[made..], InflateFlush::NoFlush)
            .map_err(|error| malformed(format!("the body is not zlib: {}", error.as_str())))?;
        used = usize::try_from(inflate.total_in()).expect("no more than the body");
        let before = made;
        made = usize::try_from(inflate.total_out()).expect("no more than the buffer");
        match status {
            Status::StreamEnd if used == body.len() => break,
            Status::StreamEnd => return Err(malformed("bytes after the end of the zlib stream")),
            _ if made > INFLATED_BYTES_MAX => {
                return Err(Fault { status: 413, reason: "the uncompressed body is too large".into() });
            }
            _ if used == body.len() && made == before => return Err(malformed("the zlib stream is cut off")),
            _ => {}
        }
    }
    plain.truncate(made);
    Ok(())
}

/// Parses the body and checks every item; no items are a good request, which the original sends of an idle source.
pub fn parse(plain: &[u8]) -> Result<Vec<Item>, Fault> {
    let text = std::str::from_utf8(plain).map_err(|error| malformed(format!("the body is not UTF-8: {error}")))?;
    let value: Value =
        serde_json::from_str(text).map_err(|error| malformed(format!("the body is not JSON: {error}")))?;
    let Value::Object(mut body) = value else { return Err(malformed("the body is no object")) };
    if !body.keys().map(String::as_str).eq(["DataItems", "DataType", "IPName"]) {
        return Err(malformed("the body has not exactly DataType, IPName and DataItems"));
    }
    let (Some(Value::String(data_type)), Some(Value::String(ip_name))) =
        (body.remove("DataType"), body.remove("IPName"))
    else {
        return Err(malformed("DataType or IPName is no text"));
    };
    let Some(Value::Array(items)) = body.remove("DataItems") else { return Err(malformed("DataItems is no array")) };
    let kind = kind(&data_type, &ip_name)?;
    let mut checked = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let Value::Object(fields) = item else { return Err(malformed(format!("item {index} is no object"))) };
        check_item(kind, &fields)
            .map_err(|fault| Fault { reason: format!("item {index}: {}", fault.reason), ..fault })?;
        checked.push(Item { data_type: data_type.clone(), fields });
    }
    Ok(checked)
}

/// Counts the items of a body without parsing it: for loads where the stand-in must cost less than what it measures.
/// Only the frame around the items, UTF-8 and the items' first key are looked at; other data types are parsed.
pub fn count(plain: &[u8]) -> Result<usize, Fault> {
    const SYSLOG: &[u8] = br#"{"DataType":"LINUX_SYSLOGS_BLOB","IPName":"LOGMANAGEMENT","DataItems":[{"ident":"#;
    if !plain.starts_with(SYSLOG) {
        return parse(plain).map(|items| items.len());
    }
    if !plain.ends_with(b"}]}") {
        return Err(malformed("the body does not end as JSON of items does"));
    }
    std::str::from_utf8(plain).map_err(|error| malformed(format!("the body is not UTF-8: {error}")))?;
    // Inside a text each quote has a backslash in front, so these bytes are always a key.
    Ok(memmem::find_iter(plain, br#""ident":"#).count())
}

/// One data type: what it goes with, and the keys of its items.
struct Kind {
    data_type: &'static str,
    ip_name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
}

const PERF: &str = "LINUX_PERF_BLOB";

const KINDS: [Kind; 4] = [
    Kind {
        data_type: "LINUX_SYSLOGS_BLOB",
        ip_name: "LOGMANAGEMENT",
        required: &["ident", "Timestamp", "EventTime", "Host", "HostIP", "Message", "Facility", "Severity"],
        optional: &["ProcessId"],
    },
    Kind {
        data_type: "OPERATION_BLOB",
        ip_name: "LogManagement",
        required: &["Timestamp", "OperationStatus", "Computer", "Detail", "Category", "Solution"],
        optional: &["HelpLink"],
    },
    Kind {
        data_type: "HEALTH_ASSESSMENT_BLOB",
        ip_name: "LogManagement",
        required: &["Timestamp", "Computer", "OSType", "Category", "SCAgentChannel", "ComputerPrivateIps", "Version"],
        optional: &["OSName", "OSMajorVersion", "OSMinorVersion", "InstalledDate"],
    },
    Kind {
        data_type: PERF,
        ip_name: "LogManagement",
        required: &["Timestamp", "Host", "ObjectName", "InstanceName", "Collections"],
        optional: &[],
    },
];

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "at", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];

fn kind(data_type: &str, ip_name: &str) -> Result<&'static Kind, Fault> {
    let kind = KINDS.iter().find(|kind| kind.data_type == data_type);
    let kind = kind.ok_or_else(|| malformed(format!("unknown DataType {data_type:?}")))?;
    if kind.ip_name == ip_name {
        Ok(kind)
    } else {
        Err(malformed(format!("{data_type} does not go with IPName {ip_name:?}")))
    }
}

fn check_item(kind: &Kind, fields: &Map<String, Value>) -> Result<(), Fault> {
    for key in kind.required {
        if !fields.contains_key(*key) {
            return Err(malformed(format!("{key} is missing")));
        }
    }
    for (key, value) in fields {
        if !kind.required.contains(&key.as_str()) && !kind.optional.contains(&key.as_str()) {
            return Err(malformed(format!("{key} does not belong there")));
        }
        match (key.as_str(), value) {
            ("Collections", value) => check_collections(value)?,
            ("Host", Value::String(text)) if kind.data_type == PERF && text.is_empty() => {
                return Err(malformed(format!("{key} is empty")));
            }
            (key, Value::String(text)) => check_text(key, text)?,
            (key, _) => return Err(malformed(format!("{key} is no text"))),
        }
    }
    Ok(())
}

fn check_text(key: &str, text: &str) -> Result<(), Fault> {
    let good = match key {
        "Timestamp" | "EventTime" => clock::parse_record_time(text).is_some(),
        "HostIP" => text == "Unknown IP" || text.parse::<IpAddr>().is_ok(),
        "Facility" => FACILITIES.contains(&text),
        "Severity" => SEVERITIES.contains(&text),
        "ProcessId" | "Computer" | "ObjectName" => !text.is_empty(),
        _ => true,
    };
    if good { Ok(()) } else { Err(malformed(format!("{key} cannot be {text:?}"))) }
}

/// Pairs of a name and a value, each name once; there may be none. A value becomes a number of the table `Perf`, and none there
/// is negative.
fn check_collections(value: &Value) -> Result<(), Fault> {
    let pairs = value.as_array().ok_or_else(|| malformed("Collections is no array"))?;
    let mut names = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let pair = pair.as_object().filter(|pair| pair.len() == 2);
        let text = |key| pair.and_then(|pair| pair.get(key)).and_then(Value::as_str);
        let (Some(name), Some(value)) = (text("CounterName"), text("Value")) else {
            return Err(malformed("Collections has more than pairs of the texts CounterName and Value"));
        };
        if name.is_empty() || names.contains(&name) {
            return Err(malformed(format!("CounterName {name:?} is empty or there twice")));
        }
        if !is_number(value) {
            return Err(malformed(format!("Value of {name} is {value:?}, not the text of a number")));
        }
        names.push(name);
    }
    Ok(())
}

/// Digits, maybe more behind a point, maybe an exponent: what the original writes.
fn is_number(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "-05"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction) && exponent.strip_prefix(['-', '+']).is_some_and(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEM: &str = r#"{"ident":"su","Timestamp":"2024-02-05T17:32:19.104Z","EventTime":"2024-02-05T17:32:18.000Z","Host":"web01","HostIP":"10.0.0.4","Message":"session opened","ProcessId":"123","Facility":"auth","Severity":"crit"}"#;

    fn body(items: &str) -> String {
        format!(r#"{{"DataType":"LINUX_SYSLOGS_BLOB","IPName":"LOGMANAGEMENT","DataItems":[{items}]}}"#)
    }

    #[test]
    fn the_documented_item_passes_and_is_counted() {
        let body = body(&format!("{ITEM},{}", ITEM.replace("session opened", r#"a \"ident\": in a text"#)));
        assert_eq!(parse(body.as_bytes()).map(|items| items.len()), Ok(2));
        assert_eq!(count(body.as_bytes()), Ok(2));
    }

    #[track_caller]
    fn check_refused(from: &str, to: &str) {
        let body = body(ITEM);
        assert!(body.contains(from), "{from} is not in the body");
        assert!(parse(body.replacen(from, to, 1).as_bytes()).is_err(), "{from} became {to}");
    }

    #[test]
    fn each_departure_is_refused() {
        check_refused("17:32:19.104Z", "17:32:19Z");
        check_refused("10.0.0.4", "web01");
        check_refused("\"crit\"", "\"critical\"");
        check_refused("\"auth\"", "\"\"");
        check_refused("\"123\"", "123");
        check_refused("\"ident\"", "\"Ident\"");
        check_refused("LOGMANAGEMENT", "LogManagement");
        check_refused("LINUX_SYSLOGS_BLOB", "LINUX_SYSLOG_BLOB");
        check_refused("\"IPName\"", "\"IpName\"");
        check_refused("]}", "]");
    }

    #[test]
    fn no_items_are_a_good_request() {
        assert_eq!(parse(body("").as_bytes()).map(|items| items.len()), Ok(0));
    }

    fn perf(collections: &str) -> Result<Vec<Item>, Fault> {
        let item = format!(
            r#"{{"Timestamp":"2026-01-02T03:04:05.678Z","Host":"vm7","ObjectName":"Processor","InstanceName":"0","Collections":[{collections}]}}"#
        );
        parse(format!(r#"{{"DataType":"LINUX_PERF_BLOB","IPName":"LogManagement","DataItems":[{item}]}}"#).as_bytes())
    }

    #[test]
    fn a_sample_has_each_counter_once_and_its_value_as_the_text_of_a_number() {
        for value in ["0", "22", "18446744073709551615", "0.0123457", "1.234e-05", "1500.5"] {
            assert!(perf(&format!(r#"{{"CounterName":"a","Value":"{value}"}}"#)).is_ok(), "{value}");
        }
        assert!(perf("").is_ok());
        for value in ["", "-1", "NaN", "inf", "1.", ".5", "1e5", "0x10", " 1", "1,5"] {
            assert!(perf(&format!(r#"{{"CounterName":"a","Value":"{value}"}}"#)).is_err(), "{value}");
        }
        let pair = r#"{"CounterName":"a","Value":"1"}"#;
        for wrong in [
            r#"{"CounterName":"a","Value":1}"#,
            r#"{"CounterName":"","Value":"1"}"#,
            r#"{"CounterName":"a","Value":"1","x":"1"}"#,
            r#"{"CounterName":"a"}"#,
            &format!("{pair},{pair}"),
            "1",
        ] {
            assert!(perf(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_spoil_a_body() {
        let mut bytes = body(ITEM).into_bytes();
        let at = memmem::find(&bytes, b"session").expect("the message");
        bytes[at] = 0xff;
        assert!(parse(&bytes).is_err());
        assert!(count(&bytes).is_err());
    }

    #[test]
    fn a_zlib_stream_must_be_whole_and_alone() {
        let whole = [0x78, 0x9c, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x06, 0x2c, 0x02, 0x15];
        let mut plain = Vec::new();
        assert_eq!(inflate_zlib(&whole, &mut plain), Ok(()));
        assert_eq!(plain, b"hello");
        assert!(inflate_zlib(&whole[..12], &mut plain).is_err(), "cut off");
        assert!(inflate_zlib(&[&whole[..], b"x"].concat(), &mut plain).is_err(), "more behind");
        assert!(inflate_zlib(&whole[2..], &mut plain).is_err(), "raw deflate");
        assert!(inflate_zlib(&[], &mut plain).is_err(), "nothing");
    }
}
