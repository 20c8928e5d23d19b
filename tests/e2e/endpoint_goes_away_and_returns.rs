//! The service's port is closed for a while, and its connections are cut, in the middle of a stream of messages. When it is back everything
//! arrives once and in order. Only a chunk whose answer was lost, though the service took it, arrives twice.

use crate::harness::{Numbered, Site, Source, wait_until};
use omsd_standin::{Answer, Manner, Options, Route};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};

#[test]
fn nothing_is_lost_while_the_port_is_closed() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let omsd = site.start();
    let messages = Numbered::new(3000);
    let lines = messages.lines();
    let (before, after) = lines.split_at(lines.len() / 3);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(before.as_bytes()).expect("omsd reads");
    // Not between a request and its answer: that chunk would rightly be sent again.
    wait_until("the first part is delivered and its answer heard", || {
        let stream = &site.status()["streams"][0];
        stream["sent"].as_u64().is_some_and(|sent| sent > 900) && stream["pending"] == 0
    });
    site.standin.close();
    stream.write_all(after.as_bytes()).expect("omsd reads");
    omsd.wait_for_stderr("put off"); // it says that it could not deliver
    site.standin.open().expect("the port is still ours");
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

#[test]
fn only_the_chunk_whose_answer_was_lost_arrives_twice() {
    let site = Site::with(Options { marker: "seq=".to_owned(), ..Options::default() });
    let source = Source::tcp();
    site.configure(&[source], "");
    site.standin.answer_next(Route::Data, [Answer::default(), Answer::manner(Manner::Close { taken: true })]);
    let _omsd = site.start();
    let messages = Numbered::new(5000);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    wait_until("everything is delivered and answered", || {
        let stream = &site.status()["streams"][0];
        stream["sent"] == 5001 && stream["pending"] == 0
    });
    let seen = site.standin.seen();
    assert_eq!((seen.numbers.unique(), seen.numbers.missing(5000, 9).len()), (5000, 0));
    let lost_answer = seen.requests[1].records as u64;
    assert!(
        seen.numbers.duplicates() <= lost_answer && lost_answer <= 1000,
        "{:?} of {lost_answer}",
        seen.numbers.duplicates()
    );
    assert!(seen.numbers.duplicates() > 0, "the chunk was sent again");
    assert_eq!(seen.complaints, [""; 0]);
}
