//! `omsd check` on a host with a real rsyslog that forwards to omsd, beside the stand-in: everything passes. Then one thing is broken
//! at a time, and exactly the check that is about it fails, says what to do, and ends with 2 (a warning: with 1). What can only be
//! seen behind the broken stage is skipped and names it.

use crate::harness::authority::{AUTHORITY, Certificates, Kind, SERVER};
use crate::harness::{Omsd, Output, Proxy, Rsyslog, Site, Source, at_the_same_time, free_port, run, wait_until};
use omsd_standin::serde_json::{self, Value};
use omsd_standin::{Answer, Options, Route};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

/// A host on which all is well.
struct Host {
    site: Site,
    source: Source,
    omsd: Omsd,
    _rsyslog: Rsyslog,
    /// What a scenario holds while it is checked.
    held: Vec<UdpSocket>,
}

impl Host {
    #[track_caller]
    fn new(options: Options) -> Self {
        let (site, source) = (Site::with(options), Source::udp());
        site.configure(&[source], "");
        let rules = site.root.join("etc/rsyslog.d");
        fs::create_dir_all(&rules).expect("a directory for rules");
        rule_for(&site.root, source.port());
        let units = site.root.join("etc/systemd/system");
        fs::create_dir_all(units.join("multi-user.target.wants")).expect("a directory for units");
        fs::create_dir_all(site.root.join("run/systemd/system")).expect("systemd's sign of life");
        fs::write(units.join("omsd.service"), "[Service]\n").expect("the unit");
        symlink("../omsd.service", units.join("multi-user.target.wants/omsd.service")).expect("it is enabled");
        let omsd = site.start();
        wait_until("a status", || !site.status().is_null());
        let rsyslog = Rsyslog::start_in(&site.root);
        Self { site, source, omsd, _rsyslog: rsyslog, held: Vec::new() }
    }

    fn check(&self, arguments: &[&str]) -> Output {
        run(self.site.command("check").args(arguments))
    }
}

fn rule_for(root: &Path, port: u16) {
    let rule = format!("*.* action(type=\"omfwd\"\n  target=\"127.0.0.1\" port=\"{port}\" protocol=\"udp\")\n");
    fs::write(root.join("etc/rsyslog.d/95-omsd.conf"), rule).expect("the rule");
}

/// The findings of `--json`, by result.
fn of_result<'a>(findings: &'a [Value], results: &[&str]) -> Vec<&'a str> {
    let wanted = findings.iter().filter(|finding| results.contains(&finding["result"].as_str().unwrap_or("")));
    wanted.filter_map(|finding| finding["id"].as_str()).collect()
}

/// The findings, but for `sys.mac`: what confines programs on this machine is not a scenario's business.
fn parsed(output: &Output) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    output.stdout.lines().map(parse).filter(|finding: &Value| finding["id"] != "sys.mac").collect()
}

#[test]
fn a_host_without_fault_passes_and_a_message_makes_the_round() {
    let host = Host::new(Options::default());
    host.site.add_heartbeat();
    host.omsd.signal("HUP");
    wait_until("an upload in the status", || host.site.status()["upload"]["last_success"] != "");
    let output = host.check(&["--json", "--syslog"]);
    let findings = parsed(&output);
    assert_eq!(of_result(&findings, &["warn", "fail"]), [""; 0], "{output:?}");
    let is_unconfined = output.stdout.contains("\"id\":\"sys.mac\",\"result\":\"warn\"");
    assert_eq!(output.code(), i32::from(is_unconfined), "{output:?}");
    let skipped: Vec<&str> = of_result(&findings, &["skip"])
        .into_iter()
        .filter(|id| !["bin.self", "net.proxy", "sys.sandbox"].contains(id))
        .collect();
    assert_eq!(skipped, [""; 0], "{output:?}");
    let text = host.check(&["syslog.loop", "cfg.parse"]).stdout;
    assert!(
        text.starts_with("PASS cfg.parse ")
            && text.contains("\nPASS syslog.loop ")
            && text.ends_with("0 not passed, 0 skipped, 2 passed\n"),
        "{text}"
    );
    let complaints = host.site.standin.seen().complaints.clone();
    assert_eq!(complaints, [""; 0]);
}

/// One thing that is broken.
struct Row {
    options: Options,
    arguments: &'static [&'static str],
    breakage: fn(&mut Host),
    id: &'static str,
    result: &'static str,
    text: &'static str,
    fix: &'static str,
}

impl Row {
    fn new(id: &'static str, text: &'static str, fix: &'static str, breakage: fn(&mut Host)) -> Self {
        Self { options: Options::default(), arguments: &[], breakage, id, result: "fail", text, fix }
    }
}

fn check(row: Row) {
    let mut host = Host::new(row.options);
    (row.breakage)(&mut host);
    let output = host.check(&[&["--json"], row.arguments].concat());
    let findings = parsed(&output);
    assert_eq!(of_result(&findings, &["warn", "fail"]), [row.id], "{output:?}");
    let found = findings.iter().find(|finding| finding["id"] == row.id).expect("it was just there");
    assert_eq!(found["result"], row.result, "{found}");
    let has = |member: &str, part| found[member].as_str().is_some_and(|text| text.contains(part));
    assert!(has("text", row.text) && has("fix", row.fix), "{found}");
    assert_eq!(output.code(), if row.result == "fail" { 2 } else { 1 });
    let needs = format!("needs {}", row.id);
    let stage = row.id.split('.').next().expect("an id has two parts");
    let behind = findings.iter().skip_while(|finding| *finding != found).skip(1);
    for skipped in behind
        .filter(|finding| finding["result"] == "skip" && finding["id"].as_str().is_some_and(|id| id.starts_with(stage)))
    {
        let is_behind = skipped["text"] == needs || skipped["id"] == "net.last" || skipped["text"] == "no proxy is set";
        assert!(is_behind, "{skipped}");
    }
}

#[test]
fn on_the_way_to_the_service() {
    at_the_same_time(
        vec![
            (
                "a wrong authority",
                Row::new("net.tls", "issued by CN=", "ca_file", |host| {
                    host.site.write_ca(&another_authority());
                }),
            ),
            (
                "a proxy that wants a password",
                Row::new("net.proxy", "(407)", "user:password@", |host| {
                    let proxy = Proxy::start("Basic bm9ib2R5OmtubQ==");
                    let path = host.site.etc("proxy.conf");
                    fs::write(&path, format!("http://user:canary@127.0.0.1:{}", proxy.port)).expect("proxy.conf");
                    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("and private");
                }),
            ),
            (
                "a dead port",
                Row::new("net.tcp", "refused", "firewall", |host| {
                    host.site.send_to(&format!("https://127.0.0.1:{}", free_port()));
                }),
            ),
            (
                "a service that refuses us",
                Row::new("net.auth", "(403)", "onboard again", |host| {
                    host.site.standin.answer_always(Route::Data, Answer::status(403));
                }),
            ),
            (
                "a service that is busy",
                Row {
                    result: "warn",
                    ..Row::new("net.auth", "(503)", "wait", |host| {
                        host.site.standin.answer_always(Route::Data, Answer::status(503));
                    })
                },
            ),
            (
                "a clock 20 minutes off",
                Row {
                    options: Options { clock_offset_s: 1200, ..Options::default() },
                    ..Row::new("net.clock", "20 min", "set the clock", |_| ())
                },
            ),
            (
                "a clock 6 minutes off",
                Row {
                    options: Options { clock_offset_s: -360, ..Options::default() },
                    result: "warn",
                    ..Row::new("net.clock", "ahead of", "set the clock", |_| ())
                },
            ),
        ],
        check,
    );
}

#[test]
fn on_the_host() {
    at_the_same_time(
        vec![
            (
                "a certificate that has ended",
                Row {
                    arguments: &["--offline"],
                    ..Row::new("id.key", "ended 2024-01-01", "onboard", |host| {
                        let (made, id) = (Certificates::new(), host.site.standin.options().workspace_id.clone());
                        let key = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
                        made.make(&id, &id, &Kind { key, end: "20240101000000Z", ..SERVER });
                        fs::copy(made.certificate(&id), host.site.etc("certs/oms.crt")).expect("oms.crt");
                        fs::copy(made.key(&id), host.site.etc("certs/oms.key")).expect("oms.key");
                    })
                },
            ),
            (
                "a key that others may read",
                Row::new("id.files", "oms.key has mode 644", "chmod 640", |host| {
                    let key = host.site.etc("certs/oms.key");
                    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).expect("its mode");
                }),
            ),
            ("a damaged ring", Row::new("state.ring", "damaged", "restart omsd", damage_ring)),
            (
                "a lock whose holder is of no use",
                Row::new("run.alive", "has the lock", "run --ensure", |host| {
                    host.omsd.signal("STOP");
                    let text = fs::read_to_string(host.site.var("status")).expect("the status");
                    let mut status: Value = serde_json::from_str(&text).expect("JSON");
                    status["boot_id"] = "another".into();
                    fs::write(host.site.var("status"), status.to_string()).expect("the status");
                }),
            ),
            (
                "no agent",
                Row::new("run.alive", "no agent runs", "start it", |host| {
                    assert!(host.omsd.terminate().0.success());
                }),
            ),
            (
                "a unit that is not enabled",
                Row::new("run.supervised", "not enabled", "omsd service enable", |host| {
                    let links = host.site.root.join("etc/systemd/system/multi-user.target.wants");
                    fs::remove_dir_all(links).expect("the link goes");
                }),
            ),
            (
                "a port that another process has",
                Row::new("syslog.listen", "not by omsd", "another port", |host| {
                    let port = free_port();
                    host.held.push(UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port"));
                    let text = fs::read_to_string(host.site.conf()).expect("omsd.conf");
                    let text = text.replace(&host.source.port().to_string(), &port.to_string());
                    fs::write(host.site.conf(), text).expect("omsd.conf");
                    rule_for(&host.site.root, port);
                }),
            ),
            (
                "no rule",
                Row::new("syslog.rule", "no rule", "omsd install", |host| {
                    fs::remove_file(host.site.root.join("etc/rsyslog.d/95-omsd.conf")).expect("the rule goes");
                }),
            ),
            (
                "a rule for another port",
                Row::new("syslog.rule", "95-omsd.conf:1 sends to udp 127.0.0.1:9", "port", |host| {
                    rule_for(&host.site.root, 9);
                }),
            ),
            (
                "a rule for TCP",
                Row::new("syslog.rule", "95-omsd.conf:1 sends to tcp", "protocol", |host| {
                    let file = host.site.root.join("etc/rsyslog.d/95-omsd.conf");
                    fs::write(file, format!("*.* @@127.0.0.1:{}\n", host.source.port())).expect("the rule");
                }),
            ),
            (
                "a configuration with an error",
                Row::new("cfg.parse", "errors: 1", "mend these lines", |host| {
                    let text = fs::read_to_string(host.site.conf()).expect("omsd.conf");
                    fs::write(host.site.conf(), text.replace("type out_oms", "type out_osm")).expect("omsd.conf");
                }),
            ),
        ],
        check,
    );
}

/// A certificate that nobody is issued by.
fn another_authority() -> String {
    let made = Certificates::new();
    made.make("another", "another", &Kind { extensions: AUTHORITY, ..SERVER });
    made.bundle(&["another"])
}

/// Writes over the middle of a frame, with frames on both sides.
fn damage_ring(host: &mut Host) {
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    for number in 0..5 {
        let message = format!("<13>Nov 22 20:00:00 web01 app: message {number}");
        sender.send_to(message.as_bytes(), (Ipv4Addr::LOCALHOST, host.source.port())).expect("it is sent");
    }
    wait_until("all are in the ring", || host.site.stream("syslog")["received"] == 5);
    let bytes = fs::read(host.site.var("ring")).expect("the ring");
    let at = bytes.windows(9).position(|window| window == b"message 2").expect("it is there");
    let file = fs::OpenOptions::new().write(true).open(host.site.var("ring")).expect("the ring");
    file.write_all_at(b"MESSAGE 2", at as u64).expect("it is damaged");
}

/// In an empty root, and as the only thing there: nothing is asked for that is not there, nothing is made.
#[test]
fn with_nothing_there_it_says_so_and_makes_nothing() {
    let site = Site::bare(Options::default());
    let output = run(site.command("check").args(["--offline", "--json"]));
    let findings = parsed(&output);
    let mut bad = of_result(&findings, &["fail", "warn"]);
    // The port that is built in may be another's at the moment: of a scenario's demo.
    bad.retain(|id| *id != "syslog.listen");
    assert_eq!(bad, ["run.alive", "run.supervised"], "{output:?}");
    assert_eq!(output.code(), 2);
    assert_eq!(fs::read_dir(&site.root).expect("the root").count(), 0);
    assert_eq!(run(site.command("check").arg("no.such")).code(), 3);
    assert_eq!(run(site.command("check").args(["--offline", "net.dns"])).code(), 3, "nothing was checked");
}

/// The lines that `omsd check` has for `out_azure_ingestion`: token, rule and streams are `net.auth`. No row is sent.
#[test]
fn rule_role_and_streams_are_asked_for() {
    let site = Site::bare(Options::default());
    site.configure_rows(&[Source::tcp()], "");
    let checked = |expected: &[&str]| {
        let output = run(site.command("check").args(["net.tcp", "net.tls", "net.auth"]));
        expected.iter().for_each(|line| assert!(output.stdout.contains(line), "{line} in {}", output.stdout));
    };
    checked(&["PASS net.auth       a token was given; rule, role and streams are known"]);
    site.standin.azure(|it| it.role = false);
    checked(&["FAIL net.auth       Custom-HostSyslog: the identity may not send to this rule"]);
    site.standin.azure(|it| it.role = true);
    site.standin.azure(|it| _ = it.streams.remove("Custom-HostPerf"));
    checked(&["FAIL net.auth       Custom-HostPerf: the service knows no such rule or stream"]);
    site.standin.azure(|it| it.secret.push('x'));
    checked(&[
        "PASS net.tls",
        "FAIL net.auth       no token: https://",
        "AADSTS7000215",
        "fix: check tenant_id, client_id and the secret",
    ]);
    site.write_ca(&another_authority());
    checked(&[
        "PASS net.tcp",
        "FAIL net.tls        no authority trusted on this host",
        "SKIP net.auth       needs net.tls",
    ]);
    site.standin.close();
    checked(&["FAIL net.tcp        127.0.0.1:"]);
    assert_eq!(site.standin.seen().rows.len(), 0);
}
