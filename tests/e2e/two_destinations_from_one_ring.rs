//! A host belongs to two workspaces, each with its own identity, and sends everything to both. One of the services is dead: it answers 503, or
//! nothing at all. The other gets everything meanwhile, once and in order. After a kill, and with the sections in the other order, the first one's service
//! comes back and gets everything, too; nobody gets anything twice. A ring that is full loses what the dead one still waits for, tells that one alone, and
//! holds nobody up. What waits for one that is taken out of the configuration is discarded, and said.

use crate::harness::{Numbered, OTHER_WORKSPACE, Site, Source, at_the_same_time, send_over_tcp, wait_until};
use omsd_standin::{Answer, Manner, Route};
use std::io::Write;

const PRIMARY: &str = "";

fn other_store() -> String {
    format!("  workspace_id {OTHER_WORKSPACE}")
}

/// This installation, sending to both; the service of the other.
fn two_workspaces(ring_keys: &str) -> (Site, Site, Source) {
    let (site, other, source) = (Site::new(), Site::other(), Source::tcp());
    site.join(&other);
    site.copy_to(&[source], ring_keys, &[PRIMARY, &other_store()]);
    (site, other, source)
}

#[test]
fn a_dead_service_holds_the_other_not_back_and_gets_everything_when_it_lives() {
    let rows = vec![("503", Answer::status(503)), ("silence", Answer::manner(Manner::Silence { taken: false }))];
    at_the_same_time(rows, |dead| {
        let (site, other, source) = two_workspaces("");
        other.standin.answer_always(Route::Data, dead);
        let mut omsd = site.start();
        let messages = Numbered::new(3000);
        let _before = send_over_tcp(source, &messages.lines());
        messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
        wait_until("the first has all", || site.stream("syslog")["pending"] == 0);
        assert_eq!(site.other_stream("syslog")["pending"], 3001, "{}", site.status());
        assert_eq!(other.standin.seen().counts.records, 0);
        omsd.kill();

        other.standin.behave();
        site.copy_to(&[source], "", &[&other_store(), PRIMARY]);
        let _omsd = site.start();
        messages.expect_once_each(&other, |number, item| messages.rfc3164_fields(number, item));
        let _after = send_over_tcp(source, "<13>Nov 22 20:00:00 web01 app: after the restart\n");
        for service in [&site, &other] {
            service.wait("the message after", |seen| seen.messages().any(|message| message == "after the restart"));
            assert_eq!(service.standin.seen().syslog().count(), 3000 + 1 + 1, "nothing came twice");
            assert_eq!(service.standin.seen().complaints, [""; 0]);
        }
    });
}

#[test]
fn a_full_ring_loses_what_waits_for_the_dead_one_and_tells_only_that_one() {
    let (site, other, source) = two_workspaces("  buffer_size 256k");
    other.standin.answer_always(Route::Data, Answer::status(503));
    let mut omsd = site.start();
    let messages = Numbered::new(8000);
    let mut stream = send_over_tcp(source, "<13>Nov 22 20:00:00 web01 app: the first of them\n");
    wait_until("the second fails", || site.other_stream("syslog")["attempts"].as_u64() > Some(0));
    stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
    messages.expect_once_each(&site, |_, _| {});
    wait_until("the first has all", || site.stream("syslog")["sent"] == 8002);
    let lost = site.other_stream("syslog")["overwritten"].as_u64().expect("an account");
    assert!(lost > 4000, "{}", site.status());
    assert_eq!(site.stream("syslog")["overwritten"], 0);

    // The first report of it was soon overwritten, too; a start makes one at once.
    assert!(omsd.terminate().0.success());
    other.standin.behave();
    let omsd = site.start();
    omsd.signal("USR1");
    other.wait("the newest", |seen| seen.messages().any(|message| message == "the last of them"));
    let account = || site.other_stream("syslog");
    wait_until("the rest is delivered", || account()["pending"] == 0);
    let sum = ["sent", "overwritten"].iter().map(|kind| account()[*kind].as_u64().unwrap_or(0)).sum::<u64>();
    assert_eq!((account()["received"].as_u64(), sum), (Some(8002), 8002), "{}", site.status());
    other.wait("the record of its losses", |seen| seen.items.iter().any(|item| item.data_type == "OPERATION_BLOB"));
    assert!(site.standin.seen().items.iter().all(|item| item.data_type != "OPERATION_BLOB"), "it lost nothing");
}

#[test]
fn what_waits_for_a_destination_that_is_taken_out_is_discarded_and_said() {
    let (site, other, source) = two_workspaces("");
    other.standin.answer_always(Route::Data, Answer::status(503));
    let omsd = site.start();
    let messages = Numbered::new(500);
    let _before = send_over_tcp(source, &messages.lines());
    messages.expect_once_each(&site, |_, _| {});
    wait_until("the second waits", || site.other_stream("syslog")["pending"] == 501);
    site.configure(&[source], "");
    omsd.signal("HUP");
    omsd.wait_for_stderr(&format!(
        "out_oms {OTHER_WORKSPACE} is configured no more: 501 records that waited for it are discarded"
    ));
    other.standin.behave();
    wait_until("one is left", || site.status()["others"].as_array().is_some_and(Vec::is_empty));

    site.copy_to(&[source], "", &[PRIMARY, &other_store()]);
    omsd.signal("HUP");
    wait_until("it is back", || site.status()["others"].as_array().is_some_and(|others| others.len() == 1));
    let _after = send_over_tcp(source, "<13>Nov 22 20:00:00 web01 app: from now on\n");
    for service in [&site, &other] {
        service.wait("the message after", |seen| seen.messages().any(|message| message == "from now on"));
    }
    assert_eq!(other.standin.seen().syslog().count(), 1, "it begins with the next record");
    assert_eq!(site.standin.seen().syslog().count(), 502);
}
