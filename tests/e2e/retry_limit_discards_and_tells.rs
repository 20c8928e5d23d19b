//! The configuration has a `retry_limit`, as the original's had, and the service takes no syslog for longer than that. The chunk is discarded after so many
//! attempts, and not in silence: the log, the status and a record to the workspace say how many records that were. What comes later is delivered.

use crate::harness::{Numbered, Site, Source, run, send_over_tcp, wait_until};
use omsd_standin::{Answer, Refusal, RefuseWhen};
use std::io::Write;

const SHORT: &str = "retry_wait 0.2\nmax_retry_wait 0.4\n";

#[test]
fn a_chunk_is_discarded_after_the_limit_and_counted() {
    let (site, source) = (Site::new(), Source::tcp());
    site.configure(&[source], &format!("{SHORT}retry_limit 3"));
    refuse_syslog(&site);
    let omsd = site.start();
    let mut stream = send_over_tcp(source, &"<13>Nov 22 20:00:00 web01 app: too early\n".repeat(50));
    wait_until("all of them are counted", || site.stream("syslog")["discarded"] == 50);
    assert!(omsd.stderr().contains("3 attempts at one chunk of syslog: discarded, as retry_limit says"));
    let account = site.stream("syslog");
    assert_eq!((&account["received"], &account["pending"], &account["sent"]), (&50.into(), &0.into(), &0.into()));
    let told = run(&mut site.command("status")).stdout;
    assert!(told.contains("50 given up at retry_limit"), "{told}");
    site.wait("a record of the loss, while syslog is still put off", |seen| {
        seen.items.iter().any(|item| {
            item.data_type == "OPERATION_BLOB" && item.text("Detail").contains("syslog: 50 given up at retry_limit")
        })
    });
    let tries: Vec<u32> = site.standin.seen().requests.iter().filter(|r| !r.taken).map(|r| r.retry_count).collect();
    assert_eq!(tries, [0, 1, 2], "three attempts, no more");

    site.standin.behave();
    let messages = Numbered::new(100);
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    messages.expect_once_each(&site, |_, _| {});
    assert!(site.standin.seen().messages().all(|message| message != "too early"));
}

#[test]
fn disable_retry_limit_keeps_the_chunk() {
    let (site, source) = (Site::new(), Source::tcp());
    site.configure(&[source], &format!("{SHORT}retry_limit 2\ndisable_retry_limit true"));
    refuse_syslog(&site);
    let _omsd = site.start();
    let messages = Numbered::new(50);
    let _stream = send_over_tcp(source, &messages.lines());
    site.wait("six attempts", |seen| seen.requests.last().is_some_and(|request| request.retry_count == 5));
    assert_eq!(site.stream("syslog")["discarded"], 0);
    site.standin.behave();
    messages.expect_once_each(&site, |_, _| {});
}

fn refuse_syslog(site: &Site) {
    let when = RefuseWhen::Contains(b"{\"DataType\":\"LINUX_SYSLOGS_BLOB\"".to_vec());
    site.standin.refuse(Refusal { when, answer: Answer::status(503) });
}
