//! The agent hangs: it is there, holds the lock, and does nothing. Two calls a while apart find that out and replace it, also one that does not take
//! SIGTERM. An agent of which nothing can be believed is replaced, too, but only after five minutes of it. Time passes here by forged notes of it.

use crate::harness::{Site, Source, run};
use crate::watched::{Background, agents, ensure, forge, holder, noted, run_as, runs, signal};

/// Milliseconds of the monotonic clock, which the kernel calls uptime as long as nothing was suspended.
fn now_ms() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("/proc/uptime");
    let seconds: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).expect("seconds");
    assert!(seconds > 900.0, "this needs a machine that runs for a quarter of an hour");
    std::time::Duration::from_secs_f64(seconds).as_millis().try_into().expect("a time")
}

/// Makes the agent's last signs of life so old.
fn age(site: &Site, seconds: u64) {
    let then_ms = now_ms() - seconds * 1000;
    forge(&site.var("lock"), "taken", &then_ms.to_string());
    let status = std::fs::read_to_string(site.var("status")).expect("a status");
    let (front, rest) = status.split_once("\"monotonic_ms\":").expect("its time");
    let behind = rest.trim_start_matches(|letter: char| letter.is_ascii_digit());
    std::fs::write(site.var("status"), format!("{front}\"monotonic_ms\":{then_ms}{behind}")).expect("it is written");
}

fn hanging(site: &Site) -> u32 {
    site.configure(&[Source::udp()], "");
    ensure(site);
    signal(holder(site), "STOP");
    holder(site)
}

/// As if the last call had been two minutes ago.
fn pass(site: &Site) {
    let suspicion = noted(site, "ensure", "suspicion");
    let mut words = suspicion.split(' ');
    let (pid, _, shown_ms) = (words.next(), words.next(), words.next());
    let since_ms = now_ms() - 120_000;
    forge(&site.var("ensure"), "suspicion", &format!("{} {since_ms} {}", pid.unwrap(), shown_ms.unwrap()));
}

#[test]
fn one_that_hangs_is_replaced_by_the_second_call_that_finds_it_so() {
    let site = Site::new();
    let _background = Background(&site);
    let pid = hanging(&site);
    age(&site, 60);
    ensure(&site);
    assert_eq!(noted(&site, "ensure", "suspicion"), "", "it may be well");
    age(&site, 120);
    let noticed = run_as(&site, "--ensure");
    assert!(noticed.code() == 0 && noticed.stderr.contains("90 s"), "{noticed:?}");
    ensure(&site);
    age(&site, 310);
    ensure(&site);
    ensure(&site);
    assert!(runs(pid), "two calls at once are not two minutes");
    pass(&site);
    ensure(&site); // SIGTERM, ten seconds, SIGKILL
    assert!(!runs(pid) && runs(holder(&site)) && holder(&site) != pid);
    assert_eq!(agents(&site), [holder(&site)]);
}

/// In a container that shares the state directory, the process that holds the lock cannot be seen.
#[test]
fn one_that_cannot_be_found_is_left_alone_and_none_is_started_beside_it() {
    let site = Site::new();
    let _background = Background(&site);
    let pid = hanging(&site);
    age(&site, 310);
    let inside = || {
        let plain = site.command("run");
        let mut command = std::process::Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc"]).arg(plain.get_program()).args(plain.get_args());
        run(command.arg("--ensure"))
    };
    assert_eq!(inside().code(), 0);
    pass(&site);
    let told = inside();
    assert!(told.code() == 75 && told.stderr.contains("cannot be made sure of"), "{told:?}");
    assert!(runs(pid) && agents(&site) == [pid]);
}

#[test]
fn a_short_run_does_not_end_one_that_hangs() {
    let site = Site::new();
    let _background = Background(&site);
    let pid = hanging(&site);
    age(&site, 310);
    let once = run(site.command("run").args(["--once", "--budget", "5"]));
    assert!(once.code() == 75 && once.stderr.contains("hangs"), "{once:?}");
    assert!(runs(pid));
}

#[test]
fn one_of_which_nothing_is_known_is_given_five_minutes() {
    let site = Site::new();
    let _background = Background(&site);
    site.configure(&[Source::udp()], "");
    ensure(&site);
    let pid = holder(&site);
    std::fs::write(site.var("lock"), "what is this\n").expect("it is written");
    ensure(&site);
    pass(&site);
    ensure(&site);
    assert!(runs(pid), "two minutes are not enough");
    forge(&site.var("ensure"), "suspicion", &format!("0 {} 0", now_ms() - 310_000));
    ensure(&site);
    assert!(!runs(pid) && runs(holder(&site)), "the kernel says who has the lock");
}
