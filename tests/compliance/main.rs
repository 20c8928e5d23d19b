//! What the original made of recorded lines, and what omsd makes of them.
//!
//! Syslog: `syslog.jsonl` holds lines with the original's item (`null`: it dropped the line), made in the zone UTC in 2026 on a host
//! without DNS. Every line renders the same, save those in `differences.jsonl`, which says what is expected of them instead
//! and which test here is about it. `DIFFERENCES.md` says why. Performance records: [`perf_records`].

use miniserde::Deserialize;
use miniserde::json::{self, Object, Value};
use omsd::record::Sender;
use omsd::upload::items::{Renderer, ThisHost};
use omsd::upload::text::Text;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

mod perf_records;

const DIFFERENCES_MD: &str = include_str!("DIFFERENCES.md");

/// The middle of 2026: no day of that year is nearer in another.
const NOW_US: u64 = 1_782_993_600_000_000;
const NOW: &str = "2026-07-02T12:00:00.000Z";

#[derive(Deserialize)]
struct Vector {
    line: String,
    original: Option<Object>,
}

#[derive(Deserialize)]
struct Difference {
    test: String,
    line: String,
    omsd: Object,
}

fn vectors() -> Vec<Vector> {
    include_str!("syslog.jsonl").lines().map(|line| json::from_str(line).expect("a vector")).collect()
}

fn differences() -> Vec<Difference> {
    include_str!("differences.jsonl").lines().map(|line| json::from_str(line).expect("a difference")).collect()
}

fn renderer() -> Renderer {
    let host = ThisHost { name: String::from("thishost.example.com"), address: None };
    Renderer::new(host, |time| time.unix_s_as_utc())
}

fn render(line: &[u8]) -> Object {
    render_from(None, NOW_US, line)
}

fn render_from(sender: Option<Sender>, now_us: u64, line: &[u8]) -> Object {
    let mut item = Text::default();
    renderer().syslog(now_us, sender, line, &mut item);
    json::from_str(std::str::from_utf8(item.as_bytes()).expect("valid UTF-8")).expect("valid JSON")
}

/// An object's members, for comparing: those of the recorded items are all strings.
fn members(object: &Object) -> BTreeMap<&str, &str> {
    object.iter().map(|(key, value)| (key.as_str(), text(value))).collect()
}

fn text(value: &Value) -> &str {
    match value {
        Value::String(text) => text,
        _ => panic!("not a string in an item"),
    }
}

#[track_caller]
fn check_item(line: &str, mut found: Object, expected: &Object) {
    assert_eq!(members(&found).get("Timestamp"), Some(&NOW), "{line}");
    found.remove("Timestamp");
    assert_eq!(members(&found), members(expected), "{line}");
}

#[track_caller]
fn check(line: &[u8], key: &str, expected: &str) {
    let item = render(line);
    assert_eq!(members(&item).get(key), Some(&expected), "{}", String::from_utf8_lossy(line));
}

/// Every recorded line of one difference renders as written down, and not as the original's.
#[track_caller]
fn check_recorded(test: &str) {
    let originals: BTreeMap<String, Option<Object>> =
        vectors().into_iter().map(|vector| (vector.line, vector.original)).collect();
    let of_this_test: Vec<_> = differences().into_iter().filter(|difference| difference.test == test).collect();
    assert!(!of_this_test.is_empty(), "no recorded line is about {test}");
    for Difference { line, omsd, .. } in of_this_test {
        check_item(&line, render(line.as_bytes()), &omsd);
        let original = originals.get(&line).expect("a recorded line");
        assert!(
            original.as_ref().is_none_or(|original| members(original) != members(&omsd)),
            "{line} is no difference"
        );
    }
}

#[test]
fn every_line_without_a_written_difference_renders_as_the_original() {
    let differences: Vec<String> = differences().into_iter().map(|difference| difference.line).collect();
    let (mut same, mut different) = (0, 0);
    for Vector { line, original } in vectors() {
        if differences.contains(&line) {
            different += 1;
            continue;
        }
        check_item(&line, render(line.as_bytes()), &original.expect("a dropped line needs a written difference"));
        same += 1;
    }
    assert_eq!((same, different), (79, differences.len()));
}

#[test]
fn every_written_difference_has_its_reason_and_its_test() {
    let mut source = String::new();
    for room in ["src", "tests/compliance", "tests/e2e", "tests/faults", "tests/host"] {
        read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join(room), &mut source);
    }
    for Difference { test, line, .. } in differences() {
        assert!(source.contains(&format!("fn {test}()")), "{line}");
        assert!(DIFFERENCES_MD.contains(&format!("`{test}`")), "{test}");
    }
    let cells = DIFFERENCES_MD.lines().filter_map(|row| row.strip_prefix("| ")?.rsplit('|').nth(1));
    for test in cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        let is_there = source.contains(&format!("fn {test}()")) || source.contains(&format!("\n{test}() {{"));
        assert!(is_there, "{test}");
    }
}

/// The text of every Rust file and shell script in a directory.
fn read_all(directory: &Path, into: &mut String) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_none_or(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).expect("a file of Rust"));
        }
    }
}

#[test]
fn rfc5424_is_taken_apart() {
    check_recorded("rfc5424_is_taken_apart");
    check(b"<13>1 - h a - - - no time", "EventTime", NOW);
    check(b"<13>1 2026-08-18T01:11:40Z h - - - - t", "ident", "");
}

#[test]
fn iso_8601_times_are_understood() {
    check_recorded("iso_8601_times_are_understood");
}

#[test]
fn a_year_beside_an_rfc3164_time_is_understood() {
    check_recorded("a_year_beside_an_rfc3164_time_is_understood");
    check(b"<13>Nov 22 07:00:00 2025 h a: b", "EventTime", "2025-11-22T07:00:00.000Z");
}

#[test]
fn fractions_of_a_second_are_kept() {
    check(b"<13>Nov 22 07:00:00.250 h a: b", "EventTime", "2026-11-22T07:00:00.250Z");
    check(b"<13>Nov 22 07:00:00.250 h a: b", "Message", "b");
}

#[test]
fn lines_without_a_valid_pri_are_kept() {
    check_recorded("lines_without_a_valid_pri_are_kept");
    for (key, expected) in
        [("Facility", "user"), ("Severity", "notice"), ("ident", "a"), ("Host", "h"), ("Message", "b")]
    {
        check(b"Nov 22 07:00:00 h a: b", key, expected);
    }
}

#[test]
fn lines_without_a_time_are_text() {
    check_recorded("lines_without_a_time_are_text");
    check(b"<13>Nov 32 07:00:00 h a: b", "Message", "Nov 32 07:00:00 h a: b");
    check(b"<13>Nov 22 07:00:00oops h a: b", "Message", "Nov 22 07:00:00oops h a: b");
}

#[test]
fn text_of_several_lines_is_kept_whole() {
    check_recorded("text_of_several_lines_is_kept_whole");
    check(b"<13>Nov 22 07:00:00 h a: one\n  two\r\n\tthree\r\n", "Message", "one\n  two\r\n\tthree");
}

#[test]
fn text_up_to_a_later_colon_is_kept() {
    check_recorded("text_up_to_a_later_colon_is_kept");
    check(b"<13>Nov 22 07:00:00 h prog some text: more", "Message", "some text: more");
}

#[test]
fn a_pid_that_is_not_a_number_is_kept() {
    check_recorded("a_pid_that_is_not_a_number_is_kept");
}

#[test]
fn two_spaces_before_the_host_are_as_one() {
    check_recorded("two_spaces_before_the_host_are_as_one");
}

#[test]
fn a_tag_in_the_place_of_the_host_is_a_tag() {
    for (key, expected) in [("Host", "thishost"), ("ident", "app"), ("ProcessId", "12"), ("Message", "from syslog(3)")]
    {
        check(b"<13>Nov 22 07:00:00 app[12]: from syslog(3)", key, expected);
    }
    check(b"<13>Nov 22 07:00:00 root: from logger", "ident", "root");
    check(b"<13>Nov 22 07:00:00 fe80:: a: b", "Host", "fe80::");
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced() {
    check(b"<13>Nov 22 07:00:00 h a: caf\xe9 \xf0\x9f\x9a x", "Message", "caf\u{fffd} \u{fffd} x");
    check(b"<13>Nov 22 07:00:00 h\xff a\xfe: b", "Host", "h\u{fffd}");
}

#[test]
fn control_characters_stay_in_the_text_but_at_its_end() {
    check(b"<13>Nov 22 07:00:00 h a: one\0two\x07\0\r\n", "Message", "one\0two\x07");
}

#[test]
fn text_above_2048_bytes_is_kept() {
    let text = "0123456789abcdef".repeat(4000);
    check(format!("<13>Nov 22 07:00:00 h a: {text}").as_bytes(), "Message", &text);
}

#[test]
fn the_year_is_the_one_nearest_to_receipt() {
    let first_second_of_2027_us = 1_798_761_600_000_000;
    let event_time = |line: &[u8]| {
        let item = render_from(None, first_second_of_2027_us, line);
        String::from(members(&item)["EventTime"])
    };
    assert_eq!(event_time(b"<13>Dec 31 23:59:58 h a: b"), "2026-12-31T23:59:58.000Z");
    assert_eq!(event_time(b"<13>Jan  1 00:00:03 h a: b"), "2027-01-01T00:00:03.000Z");
    assert_eq!(event_time(b"<13>Feb 29 12:00:00 h a: b"), "2027-03-01T12:00:00.000Z");
}

#[test]
fn host_ip_is_never_asked_of_dns() {
    let sender = Some(Sender::Address(IpAddr::from([192, 0, 2, 7])));
    let item = render_from(sender, NOW_US, b"<13>Nov 22 07:00:00 localhost a: b");
    assert_eq!(members(&item)["HostIP"], "192.0.2.7");
}

/// The program says the same as the library, line for line; where a line names no host, with this host's name.
#[test]
fn the_program_renders_every_line_as_the_library_does() {
    let lines: Vec<String> =
        vectors().into_iter().map(|vector| vector.line).filter(|line| !line.contains('\n')).collect();
    let output = run_render(&(lines.join("\n") + "\n"));
    let items: Vec<&str> = output.lines().collect();
    assert_eq!(items.len(), lines.len());
    let own_name = omsd::sys::host::hostname();
    let own_name = own_name.split('.').next().expect("split gives at least one");
    for (line, item) in lines.iter().zip(items) {
        let expected = render(line.as_bytes());
        let mut expected = members(&expected);
        if expected["Host"] == "thishost" {
            expected.insert("Host", own_name);
        }
        let item: Object = json::from_str(item).expect("a JSON object a line");
        assert_eq!(members(&item), expected, "{line}");
    }
}

fn run_render(input: &str) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_omsd"))
        .args(["render", "--as", "oms", "--now", "2026-07-02T12:00:00Z"])
        .env("TZ", "UTC")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = program.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        program.wait_with_output().expect("the program ends")
    });
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).expect("valid UTF-8")
}
