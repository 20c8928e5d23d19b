//! The service refuses every request that holds one certain message, with 400 or with 413. omsd finds it in a logarithmic number of requests, keeps it in
//! the rejected file with the reason, delivers its neighbours in order and once, counts it, and tells the workspace of it.

use crate::harness::{Site, Source, wait_until};
use omsd_standin::{Answer, Refusal, RefuseWhen, Route};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

const COUNT: usize = 900;
const BAD: usize = 617;

#[test]
fn with_400() {
    check(400);
}

#[test]
fn with_413() {
    check(413);
}

#[track_caller]
fn check(status: u16) {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    site.standin.refuse(Refusal { when: RefuseWhen::Contains(b"poison".to_vec()), answer: Answer::status(status) });
    let _omsd = site.start();
    let text = |number: usize| format!("number {number} {}", if number == BAD { "poison" } else { "fine" });
    let lines: String = (0..COUNT).map(|number| format!("<13>Nov 22 20:00:00 web01 app: {}\n", text(number))).collect();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(lines.as_bytes()).expect("omsd reads");

    let account = || site.status()["streams"][0].clone();
    wait_until("all but one are sent", || account()["sent"] == COUNT - 1);
    assert_eq!(account()["refused"], 1);
    let expected: Vec<String> = (0..COUNT).filter(|number| *number != BAD).map(text).collect();
    let seen = site.standin.seen();
    assert_eq!(seen.messages().collect::<Vec<_>>(), expected);
    let requests = seen.requests.iter().filter(|request| request.route == Route::Data).count();
    assert!(requests <= 2 * 10 + 5, "{requests} requests to find one in {COUNT}");
    drop(seen);

    let rejected = std::fs::read_to_string(site.var("rejected")).expect("the rejected file");
    assert_eq!(rejected.lines().count(), 1, "{rejected}");
    assert!(rejected.contains(&format!("\"status\":{status}")) && rejected.contains(&text(BAD)), "{rejected}");
    site.wait("a record of the loss", |seen| {
        seen.items
            .iter()
            .any(|item| item.data_type == "OPERATION_BLOB" && item.text("Detail").contains("1 refused by the service"))
    });
}
