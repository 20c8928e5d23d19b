//! "Why does it look like this?" The administrator pipes raw syslog lines into `omsd render` and gets, a line each, the item that would be uploaded.

use crate::harness::command;
use omsd_standin::serde_json::{self, Value};
use std::io::Write;
use std::process::Stdio;

fn render(arguments: &[&str], input: &[u8]) -> Vec<Value> {
    let mut command = command();
    command.arg("render").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("omsd starts");
    child.stdin.take().expect("piped").write_all(input).expect("omsd reads");
    let output = child.wait_with_output().expect("omsd ends");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("its output is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn a_line_becomes_an_item_with_the_given_clock() {
    let lines = b"<34>Feb  5 17:32:18 web01 su[123]: 'su root' failed\n<13>Feb  5 17:32:19 web01 prog: second\n";
    let items = render(&["--as", "oms", "--now", "2024-02-05T17:32:20.104Z"], lines);
    assert_eq!(items.len(), 2);
    let expected = serde_json::json!({
        "ident": "su", "Timestamp": "2024-02-05T17:32:20.104Z", "EventTime": "2024-02-05T17:32:18.000Z", "Host": "web01",
        "HostIP": items[0]["HostIP"], "Message": "'su root' failed", "ProcessId": "123", "Facility": "auth", "Severity": "crit",
    });
    assert_eq!(items[0], expected);
    assert_eq!(items[1]["Message"], "second");
}

#[test]
fn hostile_bytes_become_valid_json() {
    let items = render(&[], b"<13>Feb  5 17:32:18 web01 p: \xff\xfe\x00\x01 end\nno header at all\n<999>x\n\x80\n");
    assert_eq!(items.len(), 4);
    assert!(items[0]["Message"].as_str().is_some_and(|text| text.ends_with(" end")), "{:?}", items[0]);
    assert_eq!(items[1]["Message"], "no header at all");
}
