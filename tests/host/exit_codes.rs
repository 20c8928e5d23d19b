//! How `omsd run --once` and `omsd run --ensure` end, code by code of the manual's EXIT STATUS: what cron, its mail and whoever watches them go by. What ends with
//! another code than 0 says why in one line, and not again within the hour.

use crate::harness::{Output, Site, Source, at_the_same_time, run};
use crate::watched::Background;
use omsd_standin::{Answer, Route};
use std::net::UdpSocket;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::Command;

/// A host on which something is as it should not be.
struct Row {
    /// What that is.
    spoil: fn(&Site),
    /// Comes in front of the program's command line in a shell's; `$root` is the root.
    wrapper: &'static str,
    /// How each way ends; `None`: it is not about this.
    once: Option<i32>,
    ensure: Option<i32>,
    /// A part of the line that is said.
    says: &'static str,
    /// Whether it is said again: where nothing can be remembered it is.
    is_forgotten: bool,
}

/// Time for an answer on a busy machine.
const ONCE: &[&str] = &["--once", "--budget", "15"];

const ROW: Row = Row { spoil: |_| {}, wrapper: "exec", once: None, ensure: None, says: "", is_forgotten: false };

fn check(row: Row) {
    let ways = [(ONCE, row.once), (&["--ensure"], row.ensure)];
    for (way, code) in ways.into_iter().filter_map(|(way, code)| Some((way, code?))) {
        let site = Site::new();
        // So that a second run makes no attempt, which its time could be too short for.
        site.configure(&[], "retry_wait 1h\nmax_retry_wait 1h");
        site.add_heartbeat();
        std::fs::create_dir_all(site.var("")).expect("the state directory");
        (row.spoil)(&site);
        let _background = Background(&site);
        expect(&call(&site, row.wrapper, way), code, row.says);
        expect(&call(&site, row.wrapper, way), code, if row.is_forgotten { row.says } else { "" });
    }
}

fn call(site: &Site, wrapper: &str, way: &[&str]) -> Output {
    let plain = site.command("run");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{wrapper} \"$@\""), "sh"]).arg(plain.get_program()).args(plain.get_args()).args(way);
    run(command.env("root", &site.root))
}

#[track_caller]
fn expect(output: &Output, code: i32, says: &str) {
    let lines = usize::from(!says.is_empty());
    let is_well = output.code() == code && output.stdout.is_empty() && output.stderr.lines().count() == lines;
    assert!(is_well && output.stderr.contains(says), "{code} and {says:?}: {output:?}");
}

fn refuse(site: &Site, status: u16) {
    site.standin.answer_always(Route::Data, Answer::status(status));
}

#[test]
fn each_code_of_the_manual_has_its_cause() {
    const REFUSED: &str = "the service refuses this host: records are kept";
    let refused = |spoil| Row { spoil, once: Some(69), says: REFUSED, ..ROW };
    at_the_same_time(
        vec![
            ("0: well", Row { once: Some(0), ensure: Some(0), ..ROW }),
            ("0: a busy service", Row { spoil: |site| refuse(site, 503), once: Some(0), ensure: Some(0), ..ROW }),
            ("69: the agent was removed", refused(|site| refuse(site, 403))),
            ("69: the workspace is gone", refused(|site| refuse(site, 404))),
            ("69: the certificate is none of the service's", refused(|site| refuse(site, 401))),
            // It is well: its status has what the service says.
            ("0: not of an agent that runs", Row { spoil: |site| refuse(site, 403), ensure: Some(0), ..ROW }),
            (
                "70: it ends before it runs",
                Row {
                    wrapper: "exec strace -f -qq -o /dev/null -e inject=fdatasync,fsync:signal=KILL",
                    ensure: Some(70),
                    says: "the agent ended before it ran (signal 9)",
                    ..ROW
                },
            ),
            (
                "73: a port that is taken",
                Row {
                    spoil: |site| {
                        let taken = Source::udp();
                        site.configure(&[taken], "");
                        std::mem::forget(UdpSocket::bind(("127.0.0.1", taken.port())).expect("a free port"));
                    },
                    once: Some(73),
                    ensure: Some(73),
                    says: "another program has it",
                    ..ROW
                },
            ),
            (
                "73: an address that is not there, as before the network is",
                Row {
                    spoil: |site| {
                        site.configure(&[Source::udp()], "");
                        let text = std::fs::read_to_string(site.conf()).expect("omsd.conf");
                        let elsewhere = text.replace("bind 127.0.0.1", "bind 192.0.2.77");
                        std::fs::write(site.conf(), elsewhere).expect("omsd.conf is written");
                    },
                    once: Some(73),
                    ensure: Some(73),
                    says: "this host does not have that address, or not yet",
                    ..ROW
                },
            ),
            (
                "74: a disk that is full",
                Row {
                    wrapper: "exec unshare -m sh -ec 'mount --make-rprivate /; cd \"$root\"; mount -t tmpfs -o size=4k t var/opt/omsd
                              ! cat /dev/zero 2>/dev/null >var/opt/omsd/full; exec \"$@\"' sh",
                    once: Some(74),
                    ensure: Some(74),
                    says: "(os error 28)",
                    is_forgotten: true,
                    ..ROW
                },
            ),
            (
                "74: a ring of a later version",
                Row {
                    spoil: |site| {
                        assert_eq!(run(site.command("run").args(ONCE)).code(), 0);
                        let ring = std::fs::File::options().write(true).open(site.var("ring")).expect("a ring");
                        for header in [0, 2048] {
                            ring.write_all_at(&[3], header + 8).expect("its format");
                        }
                    },
                    once: Some(74),
                    ensure: Some(74),
                    says: "format 3",
                    ..ROW
                },
            ),
            (
                "77: an account that may not",
                Row {
                    spoil: |site| {
                        for directory in [&site.root, &site.var("")] {
                            std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).expect("its mode");
                        }
                    },
                    wrapper: "exec setpriv --reuid=65534 --regid=65534 --clear-groups",
                    once: Some(77),
                    ensure: Some(77),
                    says: "Permission denied",
                    is_forgotten: true,
                },
            ),
            (
                "78: a configuration with errors",
                Row {
                    spoil: |site| std::fs::write(site.conf(), "nonsense\n").expect("omsd.conf is written"),
                    once: Some(78),
                    ensure: Some(78),
                    says: "the configuration has errors",
                    ..ROW
                },
            ),
        ],
        check,
    );
}

/// The answer is remembered where the next attempt is: a run that makes none says the same.
#[test]
fn a_refusal_lasts_until_the_service_takes_something() {
    let site = Site::new();
    site.configure(&[], "retry_wait 2m\nmax_retry_wait 2m");
    site.add_heartbeat();
    refuse(&site, 403);
    let once = || call(&site, "exec", ONCE);
    let requests = || site.standin.seen().requests_of(Route::Data).count();
    expect(&once(), 69, "the service refuses this host");
    site.standin.behave();
    let (before, mut put_off) = (requests(), 0);
    // Each run counts as a minute of the wait, which is two, an eighth more or less.
    let taken = loop {
        let output = once();
        if requests() > before {
            break output;
        }
        expect(&output, 69, "");
        put_off += 1;
    };
    expect(&taken, 0, "");
    assert!((1..=2).contains(&put_off), "{put_off} runs were put off");
}
