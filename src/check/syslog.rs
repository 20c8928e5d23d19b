//! `syslog.listen`, `syslog.rule`, `syslog.loop`: whether messages of this host come to omsd.

mod forward;

use super::{Finding, Scene, Tell, proc};
use crate::agent::describe;
use crate::config::{Config, Listen};
use crate::limits::{CHECK_LOOP_MS_MAX, CHECK_NAMES_MAX};
use crate::ring::{disk, inspect};
use crate::sys::{clock, random_bytes};
use crate::upload::Stream;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use forward::Forward;
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

/// A source, and who has its socket.
struct Bound {
    /// What the source listens on.
    name: String,
    by: By,
}

#[derive(Debug, PartialEq, Eq)]
enum By {
    /// There is no such socket.
    Nobody,
    /// The agent.
    Us,
    /// Another process, by name and number if they can be seen.
    Other(Option<String>),
    /// It is there; whose it is cannot be seen.
    Somebody,
}

pub(super) fn listen(scene: &Scene, tell: Tell) {
    const ID: &str = "syslog.listen";
    scene.configured(&[ID], tell, |config, tell| {
        let Some(agent) = scene.agent() else { return tell(judge_without_agent(&bound(scene, config, None))) };
        tell(judge_bound(&bound(scene, config, Some(agent))));
    });
}

fn bound(scene: &Scene, config: &Config, agent: Option<u32>) -> Vec<Bound> {
    let ours = agent.map(proc::sockets_of);
    let all = config.sources.iter().map(|source| {
        let by = match (socket_of(scene, &source.listen), &ours) {
            (None, _) => By::Nobody,
            (Some(inode), Some(Ok(ours))) if ours.contains(&inode) => By::Us,
            (Some(_), Some(Err(_))) => By::Somebody,
            (Some(inode), _) => {
                By::Other(proc::owner_of(inode).map(|process| format!("{} (process {})", process.name, process.pid)))
            }
        };
        Bound { name: describe(&source.listen), by }
    });
    all.collect()
}

fn socket_of(scene: &Scene, listen: &Listen) -> Option<u64> {
    let table = |name: &str| proc::text(Path::new(&format!("/proc/net/{name}"))).unwrap_or_default();
    let of_port = |tables: [&str; 2], port| tables.iter().find_map(|name| proc::listener(&table(name), port));
    match listen {
        Listen::Udp(_, port) => of_port(["udp", "udp6"], *port),
        Listen::Tcp(_, port) => of_port(["tcp", "tcp6"], *port),
        Listen::UnixDatagram(path) | Listen::UnixStream(path) => {
            proc::unix_listener(&table("unix"), &scene.paths.place(path).to_string_lossy())
        }
    }
}

/// Without an agent a free port is right; one that another program has keeps omsd from starting.
fn judge_without_agent(all: &[Bound]) -> Finding {
    match all.iter().find(|bound| matches!(bound.by, By::Other(_))) {
        Some(_) => judge_bound(all),
        None => Finding::skip("syslog.listen", "needs run.alive"),
    }
}

fn judge_bound(all: &[Bound]) -> Finding {
    const ID: &str = "syslog.listen";
    const FIX: &str = "stop that program, or choose another port or path in <source> and in the syslog daemon's rule";
    let named = |by: &By| all.iter().find(|bound| bound.by == *by).map(|bound| bound.name.as_str());
    for bound in all {
        if let By::Other(process) = &bound.by {
            let process = process.as_deref().unwrap_or("another program");
            return Finding::fail(ID, format!("{} is held by {process}, not by omsd", bound.name), FIX);
        }
    }
    match (named(&By::Nobody), named(&By::Somebody)) {
        (Some(name), _) => Finding::fail(
            ID,
            format!("nobody listens on {name}"),
            "omsd runs with another configuration: restart it; its log says why a reload was refused",
        ),
        (None, Some(name)) => Finding::skip(ID, format!("{name} is bound; by whom, only root can see")),
        (None, None) if all.is_empty() => Finding::skip(ID, "no syslog source"),
        (None, None) => {
            let names: Vec<&str> = all.iter().map(|bound| bound.name.as_str()).collect();
            Finding::pass(ID, names.join(", "))
        }
    }
}

/// The syslog daemons that are known: the program, its main file, the directory of its other files.
const DAEMONS: [(&str, &str, &str); 2] = [
    ("rsyslogd", "/etc/rsyslog.conf", "/etc/rsyslog.d"),
    ("syslog-ng", "/etc/syslog-ng/syslog-ng.conf", "/etc/syslog-ng/conf.d"),
];

/// A rule of a daemon that sends somewhere.
struct Rule {
    daemon: &'static str,
    file: String,
    forward: Forward,
}

/// What was found of the daemons.
struct Rules {
    all: Vec<Rule>,
    /// One has a configuration.
    is_there: bool,
    /// A file of it cannot be read.
    hidden: String,
    /// Programs of theirs that run.
    running: Vec<String>,
}

pub(super) fn rule(scene: &Scene, tell: Tell) {
    scene.configured(&["syslog.rule"], tell, |config, tell| {
        // In a root directory the daemon's paths have it in front, too.
        let place = |path: &str| scene.paths.place(path).to_string_lossy().into_owned();
        let listens = config.sources.iter().map(|source| match &source.listen {
            Listen::UnixDatagram(path) => Listen::UnixDatagram(place(path)),
            Listen::UnixStream(path) => Listen::UnixStream(place(path)),
            network => network.clone(),
        });
        let listens: Vec<Listen> = listens.collect();
        tell(judge_rule(&listens, &rules(scene)));
    });
}

fn rules(scene: &Scene) -> Rules {
    let mut found = Rules { all: Vec::new(), is_there: false, hidden: String::new(), running: Vec::new() };
    for (daemon, main, directory) in DAEMONS {
        let entries = fs::read_dir(scene.paths.place(directory)).into_iter().flatten().flatten().take(CHECK_NAMES_MAX);
        let others = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "conf"));
        let mut files: Vec<_> = others.collect();
        files.sort_unstable();
        files.insert(0, scene.paths.place(main));
        for path in files {
            let file = path.display().to_string();
            match proc::text(&path) {
                Ok(text) => {
                    found.is_there = true;
                    let parse = if daemon == "rsyslogd" { forward::of_rsyslog } else { forward::of_syslog_ng };
                    found.all.extend(parse(&text).into_iter().map(|forward| Rule {
                        daemon,
                        file: file.clone(),
                        forward,
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.hidden = format!("{file}: {error}"),
            }
        }
    }
    found.running = proc::processes().into_iter().map(|process| process.name).collect();
    found.running.retain(|name| DAEMONS.iter().any(|(daemon, ..)| daemon == name));
    found
}

fn judge_rule(listens: &[Listen], rules: &Rules) -> Finding {
    const ID: &str = "syslog.rule";
    const FIX: &str = "omsd install writes it; by hand: conf/rsyslog.conf and conf/syslog-ng.conf of the distribution";
    let takes_from_here = |listen: &Listen| match listen {
        Listen::Udp(address, _) | Listen::Tcp(address, _) => address.is_loopback() || address.is_unspecified(),
        Listen::UnixDatagram(_) | Listen::UnixStream(_) => true,
    };
    let local: Vec<&Listen> = listens.iter().filter(|listen| takes_from_here(listen)).collect();
    if local.is_empty() {
        return Finding::skip(ID, "no source is for this host's own messages");
    }
    if local.iter().any(|listen| matches!(listen, Listen::UnixDatagram(path) if path.ends_with("/dev/log"))) {
        if let Some(daemon) = rules.running.first() {
            let text = format!("omsd listens on /dev/log, and {daemon} runs, which takes that for itself");
            return Finding::warn(ID, text, "take this source out of omsd.conf; omsd install has the daemon forward");
        }
        return Finding::pass(ID, "omsd is the one that listens on /dev/log");
    }
    let place = |rule: &Rule| format!("{}:{}", rule.file, rule.forward.line);
    if let Some(rule) = rules.all.iter().find(|rule| local.iter().any(|listen| rule.forward.leads_to(listen))) {
        let text = format!("{} sends to {}", place(rule), rule.forward);
        return match rules.running.iter().any(|name| name == rule.daemon)
            || rules.running.is_empty() && !sees_processes()
        {
            true => Finding::pass(ID, text),
            false => {
                Finding::warn(ID, format!("{text}, but {} does not run", rule.daemon), format!("start {}", rule.daemon))
            }
        };
    }
    let names: Vec<String> = local.iter().map(|listen| describe(listen)).collect();
    let names = names.join(", ");
    if let Some(rule) = rules.all.iter().find(|rule| rule.forward.is_local()) {
        let text = format!("{} sends to {}; omsd listens on {names}", place(rule), rule.forward);
        return Finding::fail(ID, text, "make protocol and port the same on both sides, then restart the daemon");
    }
    match rules.hidden.as_str() {
        "" if !rules.is_there => Finding::skip(ID, "neither rsyslog nor syslog-ng has a configuration here"),
        "" => Finding::fail(ID, format!("no rule of rsyslog or syslog-ng sends to {names}"), FIX),
        hidden => Finding::skip(ID, hidden),
    }
}

/// Whether `/proc` shows the processes of others.
fn sees_processes() -> bool {
    proc::name_of(1).is_some()
}

pub(super) fn round_trip(scene: &Scene, tell: Tell) {
    const ID: &str = "syslog.loop";
    const PAUSE_MS: u64 = 200;
    scene.configured(&[ID], tell, |config, tell| {
        if scene.agent().is_none() {
            return tell(Finding::skip(ID, "needs run.alive"));
        }
        let mut random = [0; 8];
        let _ = random_bytes(&mut random);
        let marker = format!("omsd check {:016x}", u64::from_le_bytes(random));
        let begun_ms = clock::monotonic_ms();
        let log = scene.paths.place("/dev/log");
        if let Err(error) = send(&log, &format!("<13>omsd-check[{}]: {marker}", std::process::id())) {
            let text = format!("{}: {error}", log.display());
            return tell(Finding::fail(ID, text, "start the syslog daemon (rsyslog, syslog-ng, systemd-journald)"));
        }
        let ring = scene.paths.place(&config.ring.path);
        loop {
            let looked_ms = clock::monotonic_ms();
            match has(&ring, &marker) {
                Ok(true) => {
                    return tell(Finding::pass(
                        ID,
                        format!("{marker} was in the ring after {} ms", looked_ms - begun_ms),
                    ));
                }
                Ok(false) => {}
                Err(error) => return tell(Finding::skip(ID, format!("{}: {error}", ring.display()))),
            }
            let now_ms = clock::monotonic_ms();
            if now_ms >= begun_ms + CHECK_LOOP_MS_MAX {
                return tell(lost(&marker));
            }
            // A large ring takes its time to look through, and the host has other things to do.
            clock::sleep_ms(PAUSE_MS.max(4 * (now_ms - looked_ms)).min(begun_ms + CHECK_LOOP_MS_MAX - now_ms));
        }
    });
}

fn lost(marker: &str) -> Finding {
    Finding::fail(
        "syslog.loop",
        format!(
            "{marker} (user.notice) went into /dev/log and was not in the ring after {} s",
            CHECK_LOOP_MS_MAX / 1000
        ),
        "does the daemon run, does its rule take user.notice? its own log says what it cannot send; with SELinux: ausearch -m avc -c rsyslogd",
    )
}

fn send(log: &Path, message: &str) -> io::Result<()> {
    let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to(message.as_bytes(), log));
    match sent {
        Ok(_) => Ok(()),
        // Some daemons take connections there.
        Err(_) => UnixStream::connect(log)?.write_all(format!("{message}\0").as_bytes()),
    }
}

/// Whether the ring has a message with this text.
fn has(ring: &Path, text: &str) -> Result<bool, String> {
    let file = disk::open_read_only(ring).map_err(|error| error.to_string())?;
    let mut found = false;
    let dumped = inspect::dump(&file, |shown| {
        let is_syslog = shown.header.stream == Stream::Syslog as u8;
        found |= is_syslog && memchr::memmem::find(shown.payload, text.as_bytes()).is_some();
        !found
    });
    dumped.map(|()| found).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;
    use core::net::{IpAddr, Ipv4Addr};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_socket_is_ours_or_the_other_process_is_named() {
        let bound = |by| Bound { name: "udp 127.0.0.1:25224".into(), by };
        let other = || By::Other(Some("python3 (process 77)".into()));
        for (all, expected, part) in [
            (Vec::from([bound(By::Us)]), Grade::Pass, "udp 127.0.0.1:25224"),
            (Vec::from([bound(By::Us), bound(other())]), Grade::Fail, "held by python3 (process 77), not by omsd"),
            (Vec::from([bound(By::Other(None))]), Grade::Fail, "another program"),
            (Vec::from([bound(By::Nobody)]), Grade::Fail, "nobody listens"),
            (Vec::from([bound(By::Somebody)]), Grade::Skip, "only root"),
            (Vec::new(), Grade::Skip, "no syslog source"),
        ] {
            let found = judge_bound(&all);
            assert!(found.result == expected && found.text.contains(part), "{found:?}");
        }
        assert_eq!(judge_without_agent(&[bound(By::Nobody)]).result, Grade::Skip);
        assert_eq!(judge_without_agent(&[bound(other())]).result, Grade::Fail);
    }

    #[track_caller]
    fn check_rule(listen: Listen, rsyslog: Option<&str>, expected: Grade, part: &str) {
        let all = forward::of_rsyslog(rsyslog.unwrap_or_default()).into_iter();
        let all = all.map(|forward| Rule { daemon: "rsyslogd", file: "/etc/rsyslog.d/95-omsd.conf".into(), forward });
        let rules = Rules {
            all: all.collect(),
            is_there: rsyslog.is_some(),
            hidden: String::new(),
            running: Vec::from(["rsyslogd".to_string()]),
        };
        let found = judge_rule(&[listen], &rules);
        assert!(found.result == expected && found.text.contains(part), "{found:?}");
        assert_eq!(found.fix.is_empty(), matches!(expected, Grade::Pass | Grade::Skip));
    }

    #[test]
    fn the_rule_leads_to_the_very_socket_or_its_place_is_named() {
        let udp = |port| Listen::Udp(HERE, port);
        check_rule(
            udp(25224),
            Some("\n*.* @127.0.0.1:25224\n"),
            Grade::Pass,
            "95-omsd.conf:2 sends to udp 127.0.0.1:25224",
        );
        check_rule(udp(25224), Some("*.* @@127.0.0.1:25224\n"), Grade::Fail, "95-omsd.conf:1 sends to tcp");
        check_rule(udp(25224), Some("*.* @127.0.0.1:25225\n"), Grade::Fail, "omsd listens on udp 127.0.0.1:25224");
        check_rule(udp(25224), Some("*.* @logs.example:514\n"), Grade::Fail, "no rule");
        check_rule(udp(25224), Some("*.* /var/log/all\n"), Grade::Fail, "no rule");
        check_rule(udp(25224), None, Grade::Skip, "neither");
        check_rule(Listen::UnixDatagram("/dev/log".into()), Some(""), Grade::Warn, "rsyslogd runs");
        let alone = Rules { all: Vec::new(), is_there: false, hidden: String::new(), running: Vec::new() };
        assert_eq!(judge_rule(&[Listen::UnixDatagram("/dev/log".into())], &alone).result, Grade::Pass);
        check_rule(Listen::Udp([192, 0, 2, 1].into(), 514), Some(""), Grade::Skip, "own messages");
    }
}
