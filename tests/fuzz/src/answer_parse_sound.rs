//! What comes back from the network, a proxy, the child or a file of ours is read without panic, within its bounds, and what was
//! written is read as it was. Input: the answer, the same for every reader.

use crate::input::Input;
use omsd::limits::{ANSWER_BODY_BYTES_MAX, REASON_BYTES_MAX, RETRY_MS_MAX};
use omsd::onboard::certificate::expiry_unix_s;
use omsd::onboard::{SharedKey, topology};
use omsd::upload::admin_conf::AdminConf;
use omsd::upload::guid::is_guid;
use omsd::upload::https::{Answer, retry_after_s, tunnel_status, unix_from_http_date};
use omsd::upload::oms::judge;
use omsd::upload::proxy::{Proxy, goes_past};
use omsd::upload::wire::{self, ANSWER_BYTES_MAX, Decoded, LENGTH_BYTES};
use omsd::upload::{Outcome, Verdict};

/// What answers are made of.
pub const WORDS: &[&[u8]] = &[
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Fri, 31 Dec 9999 23:59:60 GMT",
    b"Thu, 01 Jan 1970 00:00:00 GMT",
    b" GMT",
    b"120",
    b"0",
    b"-1",
    b"+5",
    b"99999999999999999999",
    b"AGENT_GUID=",
    b"OMS_ENDPOINT=",
    b"WORKSPACE_ID=",
    b"DSC_ENDPOINT=",
    b"UUID=",
    b"\\(",
    b"\\)",
    b"\n",
    b"\r\n",
    b"\r",
    b"https://",
    b"http://",
    b"user:secret@",
    b"%40",
    b"%",
    b"%zz",
    b"%C3%A9",
    b"[::1]",
    b":8080",
    b":65536",
    b":0",
    b"/",
    b"@",
    b"HTTP/1.1 200 ",
    b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
    b"HTTP/1.0 999",
    b"<Reason>",
    b"</Reason>",
    b"&amp;",
    b"\x20\0\0\0",
    b"\x20\x01\0\0",
    b"\xc3\xa9",
    b"\xf0\x9f\x9a\x80",
    b"\xff",
    b"\xe2\x80\xa8",
];

/// See the head of this file.
pub fn check(data: &[u8]) {
    check_wire(data);
    check_outcome(data);
    check_headers(&String::from_utf8_lossy(data));
    check_admin_conf(&String::from_utf8_lossy(data));
    check_proxy(&String::from_utf8_lossy(data));
    check_judged(data);
    check_onboarding(data);
    assert!(tunnel_status(data).is_none_or(|status| status < 1000));
}

/// The pipe from the child: bytes arrive in any pieces, and more of them never change what is already known.
fn check_wire(data: &[u8]) {
    let whole = wire::decode_answer(data);
    for length in (0..data.len().min(LENGTH_BYTES + ANSWER_BYTES_MAX)).step_by(5) {
        let early = wire::decode_answer(&data[..length]);
        assert!(early == Decoded::NotYet || early == whole, "{length} bytes said {early:?}, all say {whole:?}");
    }
    if whole == Decoded::NotYet {
        assert!(data.len() < LENGTH_BYTES + ANSWER_BYTES_MAX, "the reader's buffer is large enough");
    }
    if let Decoded::Answer(outcome) = whole {
        // The reason grows where it was no UTF-8, and is cut again.
        let Decoded::Answer(again) = wire::decode_answer(&wire::encode_answer(&outcome)) else { panic!("{outcome:?}") };
        assert!(outcome.reason.starts_with(&again.reason));
        assert_eq!(Outcome { reason: again.reason.clone(), ..outcome }, again);
    }
    let order = Input::new(data).number().to_le_bytes();
    if let Some((stream, attempt)) = wire::decode_order(order) {
        assert_eq!(wire::order(stream, attempt), order);
    }
}

fn check_outcome(data: &[u8]) {
    let mut input = Input::new(data);
    let outcome = Outcome {
        verdict: input.pick(&[Verdict::Sent, Verdict::Later, Verdict::Refused]),
        status: input.short() as u16,
        retry_after_s: (input.byte() & 1 != 0).then_some(input.number() as u32),
        clock_skew_s: (input.byte() & 1 != 0).then_some(input.number() as i32),
        broke: input.byte() & 1 != 0,
        ambiguous: input.byte() & 1 != 0,
        delivered: input.number() as u32,
        concerned: input.number() as u32,
        records: input.number() as u32,
        body_bytes: input.number(),
        wire_bytes: input.number(),
        reason: String::from_utf8_lossy(input.rest()).into_owned(),
    };
    let Decoded::Answer(decoded) = wire::decode_answer(&wire::encode_answer(&outcome)) else { panic!("{outcome:?}") };
    assert!(decoded.reason.len() > REASON_BYTES_MAX - 4 || decoded.reason == outcome.reason);
    assert!(decoded.reason.len() <= REASON_BYTES_MAX && outcome.reason.starts_with(&decoded.reason));
    assert_eq!(Outcome { reason: decoded.reason.clone(), ..outcome }, decoded);
}

fn check_headers(text: &str) {
    const YEAR_10000_S: i64 = 253_402_300_800;
    if let Some(date) = unix_from_http_date(text) {
        assert!((0..=YEAR_10000_S + 86_400).contains(&date), "{date} from {text:?}");
    }
    for now in [0, 784_111_777, i64::MIN, i64::MAX] {
        let wait = retry_after_s(text, now);
        assert!(wait.is_none_or(|wait| (1..=RETRY_MS_MAX / 1000).contains(&u64::from(wait))), "{wait:?} from {text:?}");
    }
}

/// Reading what was written gives what was written, whatever was read before.
fn check_admin_conf(text: &str) {
    let Ok(conf) = AdminConf::parse(text) else { return };
    let written = conf.to_text();
    assert_eq!(written.lines().count(), 10, "{written}");
    let again = AdminConf::parse(&written).expect("what was written can be read");
    if text.contains('\r') {
        return; // a line end within a value has become a space
    }
    assert_eq!(again, AdminConf { uuid: conf.uuid.clone().or(Some(String::new())), ..conf.clone() });
    assert!(conf.uuid_header().is_none_or(is_guid));
}

fn check_proxy(text: &str) {
    let _ = goes_past(text, text);
    match Proxy::parse(text) {
        Ok(Some(proxy)) => {
            assert!(!proxy.host.is_empty() && proxy.port > 0);
            assert!(!proxy.host.contains(['\r', '\n', ' ', '/', '@']), "{:?}", proxy.host);
            let credentials = proxy.credentials.as_deref();
            assert!(credentials.is_none_or(|credentials| !credentials.is_empty()));
            // What is shown is the same with any other user and password.
            let other = Proxy { credentials: credentials.map(|_| b"another:one".to_vec()), ..proxy.clone() };
            assert_eq!(format!("{proxy} {proxy:?}"), format!("{other} {other:?}"));
        }
        Ok(None) => assert!(text.trim_start_matches('\u{feff}').trim().is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_judged(data: &[u8]) {
    let mut input = Input::new(data);
    let (status, date_unix_s, now_unix_s) = (input.short() as u16, input.number() as i64, input.number() as i64);
    let date_unix_s = (input.byte() & 1 != 0).then_some(date_unix_s);
    let body = input.take(ANSWER_BODY_BYTES_MAX).to_vec();
    let outcome = judge(&Answer { status, retry_after_s: None, date_unix_s, body }, now_unix_s);
    assert_eq!(outcome.verdict == Verdict::Sent, (200..300).contains(&status));
    assert_eq!(outcome.verdict == Verdict::Sent, outcome.reason.is_empty());
    assert!(outcome.reason.len() <= REASON_BYTES_MAX && !outcome.reason.contains(char::is_control), "{outcome:?}");
}

/// The topology service's answer, and the files that onboarding finds.
fn check_onboarding(data: &[u8]) {
    let topology::Response { certificate_update_endpoint, dsc_endpoint, .. } = topology::parse_response(data);
    for url in [certificate_update_endpoint, dsc_endpoint] {
        assert!(url.is_empty() || url.starts_with("https://"), "{url:?}");
        // They stand in omsadmin.conf, a line each.
        assert!(url.len() <= 2048 && url.bytes().all(|byte| byte.is_ascii_graphic()), "{url:?}");
    }
    if let Some(reason) = topology::parse_reason(data) {
        assert!((1..=200).contains(&reason.chars().count()) && !reason.contains(char::is_control), "{reason:?}");
    }
    let text = String::from_utf8_lossy(data);
    if let Some(expiry) = expiry_unix_s(&text) {
        assert!((-631_152_000..2_540_000_000).contains(&expiry), "{expiry}"); // 1950 to 2049, days that roll over included
    }
    if let Ok(key) = SharedKey::parse(text.into_owned()) {
        assert!(key.bytes().len() < data.len());
    }
}
