//! Nothing may stay resident: cron calls `omsd run --once`. Within its budget a run samples, listens, uploads what waits, and is gone; what it could not
//! upload is the next one's. It is silent, and its exit code says what a person should know.

use crate::harness::{Numbered, Output, Site, Source, run, send_over_tcp, tcp_listens, wait_until};
use crate::watched::{Background, ensure, noted};
use omsd_standin::{Answer, Route};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One run with this budget, which must be kept.
#[track_caller]
fn once(site: &Site, budget: u32) -> Output {
    let start = Instant::now();
    let output = run(site.command("run").args(["--once", "--budget", &budget.to_string()]));
    let taken = start.elapsed();
    assert!(taken <= Duration::from_secs(budget.into()), "{taken:?}: {output:?}");
    output
}

#[track_caller]
fn silent(output: &Output) {
    assert!(output.code() == 0 && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

/// A configuration without listeners: samples and a heartbeat.
fn configure_counters(site: &Site) {
    site.configure(&[], "");
    site.add_heartbeat();
    let text = std::fs::read_to_string(site.conf()).expect("omsd.conf");
    let section = |object: &str| {
        format!(
            "<source>\n  type oms_omi\n  object_name \"{object}\"\n  instance_regex \".*\"\n  counter_name_regex \".*\"\n  interval 1s\n</source>\n"
        )
    };
    let sections: String = ["Processor", "Memory", "Process"].map(section).concat();
    std::fs::write(site.conf(), sections + &text).expect("omsd.conf is written");
}

#[test]
fn each_run_sends_a_heartbeat_and_one_sample_with_the_rates_since_the_last() {
    let site = Site::new();
    configure_counters(&site);
    let counters = |counter: &str| {
        site.standin.seen().perf().filter(|item| item.fields["Collections"].to_string().contains(counter)).count()
    };
    silent(&once(&site, 8));
    site.wait("a heartbeat", |seen| seen.requests_of(Route::Data).count() > 0);
    assert_eq!(counters("Pages/sec"), 0, "the first has no rates");
    wait_until("another second", || noted(&site, "once", "sampled").get(..10) != Some(&now_s().to_string()));
    silent(&once(&site, 8));
    assert_eq!(counters("Pages/sec"), 1, "the second has them");
    assert_eq!(counters("Used Memory MBytes"), 2, "a sample a run");
    assert_eq!(site.stream("heartbeat")["sent"], 2);
    assert_eq!(site.status()["state"], "stopped");
}

fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs()
}

#[test]
fn what_arrives_while_it_listens_is_uploaded_by_the_same_run() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let mut command = site.command("run");
    command.args(["--once", "--budget", "10"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = command.spawn().expect("it starts");
    wait_until("it listens", || tcp_listens(source.port()));
    let messages = Numbered::new(500);
    drop(send_over_tcp(source, &messages.lines()));
    let output = running.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

#[test]
fn beside_a_running_agent_it_does_nothing() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let _background = Background(&site);
    ensure(&site);
    silent(&once(&site, 5));
    let strict = run(site.command("run").args(["--once", "--budget", "5", "--strict"]));
    assert_eq!(strict.code(), 75, "{strict:?}");
}

#[test]
fn a_service_that_never_answers_costs_no_more_than_the_budget() {
    let site = Site::new();
    configure_counters(&site);
    site.standin.answer_always(Route::Data, "silence".parse::<Answer>().expect("an answer"));
    silent(&once(&site, 10));
    let waiting = site.stream("heartbeat");
    assert_eq!((&waiting["pending"], &waiting["sent"]), (&1.into(), &0.into()), "{waiting}");
    assert!(site.status()["upload"]["last_reason"].as_str().expect("a reason").contains("no answer"));
    site.standin.behave();
    silent(&once(&site, 10));
    let sent = site.stream("heartbeat");
    assert_eq!((&sent["pending"], &sent["sent"]), (&0.into(), &2.into()), "{sent}");
}

#[test]
fn a_backlog_that_does_not_shrink_is_told_after_three_runs_and_once_an_hour() {
    let site = Site::new();
    configure_counters(&site);
    site.standin.answer_always(Route::Data, Answer::status(503));
    let codes: Vec<_> = (0..5).map(|_| once(&site, 5)).map(|output| (output.code(), output.stderr)).collect();
    let told = "omsd: what waits has not become less for three runs: omsd status says why\n";
    let expected = [(0, ""), (0, ""), (0, ""), (75, told), (75, "")].map(|(code, text)| (code, text.to_owned()));
    assert_eq!(codes, expected);
    // A day's wait that is written down is no wait for a run when enough of them have passed.
    site.standin.behave();
    silent(&once(&site, 10));
}

#[test]
fn whatever_it_hangs_in_the_kernel_ends_it() {
    let site = Site::new();
    std::fs::create_dir_all(site.etc("")).expect("etc/opt/omsd");
    let _ = std::fs::remove_file(site.conf());
    let made = Command::new("mkfifo").arg(site.conf()).status().expect("mkfifo runs");
    assert!(made.success());
    let start = Instant::now();
    let output = run(site.command("run").args(["--once", "--budget", "5"]));
    let taken = start.elapsed();
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(output.status.signal(), Some(14), "{output:?}");
    assert!((Duration::from_secs(9)..=Duration::from_secs(12)).contains(&taken), "{taken:?}");
}

#[test]
fn its_options_go_together_or_are_refused() {
    let site = Site::new();
    for arguments in [
        &["--once", "--budget", "4"][..],
        &["--once", "--budget", "3601"],
        &["--once", "--budget", "x"],
        &["--budget", "10"],
        &["--strict", "--ensure"],
        &["--once", "--daemon"],
        &["--ensure", "--demo"],
    ] {
        let output = run(site.command("run").args(arguments));
        assert_eq!(output.code(), 64, "{arguments:?}: {output:?}");
    }
}
