//! The syslog daemon's part: a snippet by which rsyslog or syslog-ng forwards. It counts only if the daemon itself takes it.

use super::account::Account;
use super::init::{self, Mode};
use super::manifest::{Entry, Manifest};
use super::service::restart_other;
use super::work::{Work, Wrote};
use super::{HostError, ask, at, program};
use crate::sys::socket::is_abandoned;
use alloc::borrow::{Cow, ToOwned};
use alloc::format;
use alloc::string::String;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// One of the daemons.
struct Daemon {
    name: &'static str,
    /// The process.
    program: &'static str,
    /// What makes it check its configuration.
    check: &'static str,
    configuration: &'static str,
    snippet: &'static str,
    /// Microsoft's agent's.
    original: &'static str,
    text: &'static str,
    /// For versions that do not understand the first.
    older_text: Option<&'static str>,
}

const DAEMONS: [Daemon; 2] = [
    Daemon {
        name: "rsyslog",
        program: "rsyslogd",
        check: "-N1",
        configuration: "/etc/rsyslog.conf",
        snippet: "/etc/rsyslog.d/95-omsd.conf",
        original: "/etc/rsyslog.d/95-omsagent.conf",
        text: include_str!("../../conf/rsyslog.conf"),
        older_text: Some(
            "# rsyslog to omsd, for rsyslog before version 7.\n*.info @127.0.0.1:25224;RSYSLOG_TraditionalForwardFormat\n",
        ),
    },
    Daemon {
        name: "syslog-ng",
        program: "syslog-ng",
        check: "-s",
        configuration: "/etc/syslog-ng/syslog-ng.conf",
        snippet: "/etc/syslog-ng/conf.d/omsd.conf",
        original: "/etc/syslog-ng/conf.d/omsagent.conf",
        text: include_str!("../../conf/syslog-ng.conf"),
        older_text: None,
    },
];

/// The name that our snippet for syslog-ng has for the local source.
const SOURCE: &str = "s_src";

/// Where programs log to. The agent itself listens there on a host without any syslog daemon.
const LOG: &str = "/dev/log";
/// That source, as it stands in the sample configuration.
const LOG_SOURCE: &str = "#<source>\n#  type syslog\n#  protocol_type unix_dgram\n#  path /dev/log\n#</source>\n";

/// Whether nobody listens where programs log to, nor will: no daemon is installed, and no other made the socket. With systemd the
/// journal is there; in a container it may not be root who starts the agent, and only root can make the socket.
pub fn is_wanted_at_log(work: &Work, mode: Mode) -> bool {
    let root = work.root();
    let is_free = fs::symlink_metadata(work.place(LOG)).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let is_roots = mode != Mode::Systemd && !init::is_container(root);
    work.is_live() && is_free && is_roots && !DAEMONS.iter().any(|daemon| is_there(root, daemon))
}

/// The sample configuration with that source. What the agent makes there is noted: once it is no
/// root's it cannot remove it itself.
pub fn with_log(work: &mut Work, sample: &str) -> Result<String, HostError> {
    work.tell("there is no syslog daemon: omsd listens on /dev/log itself");
    work.note(Entry::Leftover(LOG.to_owned()))?;
    Ok(sample.replace(LOG_SOURCE, &switched_on()))
}

/// Whether a configuration that [`with_log`] made is in the way of a syslog daemon that came since.
pub fn is_superseded(work: &Work, configuration: &[u8]) -> bool {
    work.manifest().entries().contains(&Entry::Leftover(LOG.to_owned()))
        && String::from_utf8_lossy(configuration).contains(&switched_on())
        && DAEMONS.iter().any(|daemon| is_there(work.root(), daemon))
}

/// Removes the socket that [`with_log`] noted, when nobody listens on it any more. Who may not leaves it to the next start.
pub fn remove_dead_log(root: &Path) {
    let Ok(manifest) = Manifest::load(root) else { return };
    let place = manifest.place(LOG);
    if manifest.entries().contains(&Entry::Leftover(LOG.to_owned())) && is_abandoned(&place) {
        let _ = fs::remove_file(place);
    }
}

fn switched_on() -> String {
    LOG_SOURCE.replace('#', "")
}

/// Whether the daemon is installed.
fn is_there(root: &Path, daemon: &Daemon) -> bool {
    program(root, daemon.program).is_some() && root.join(&daemon.configuration[1..]).is_file()
}

/// Adds the snippet for the daemon that is there; of two, for the one that runs. Where the daemon refuses it, or does not come up
/// with it, it is taken back.
pub fn add(work: &mut Work) -> Result<(), HostError> {
    let root = work.root().to_owned();
    let is_there = |daemon: &&Daemon| is_there(&root, daemon);
    let runs = |daemon: &&Daemon| init::is_running(&root, &[daemon.program]);
    let Some(daemon) = DAEMONS.iter().filter(is_there).find(runs).or_else(|| DAEMONS.iter().find(is_there)) else {
        if !work.manifest().entries().contains(&Entry::Leftover(LOG.to_owned())) {
            work.tell(
                "neither rsyslog nor syslog-ng was found: another syslog daemon, or programs themselves, must send to udp 127.0.0.1:25224 \
                 (busybox: syslogd -L -R 127.0.0.1:25224); see omsd.conf for /dev/log",
            );
        }
        return Ok(());
    };
    if forwards(work, daemon.original) {
        work.tell(&format!(
            "{} forwards already, to the port that omsd import takes over; with our lines each message would come twice. Once it is gone: \
             omsd install",
            daemon.original
        ));
        return Ok(());
    }
    let configuration = work.place(daemon.configuration);
    let text = fs::read(&configuration).map_err(at(&configuration))?;
    let text = String::from_utf8_lossy(&text);
    let directory = daemon.snippet.rsplit_once('/').map_or("", |(directory, _)| directory);
    if !includes(&text, directory) {
        work.tell(&format!(
            "{} does not include {directory}/*.conf: {} forwards nothing until it has what conf/{}.conf says",
            daemon.configuration, daemon.name, daemon.name
        ));
        return Ok(());
    }
    let Some(snippet) = snippet(daemon, &text) else {
        work.tell(&format!("{} names no source: {} forwards nothing", daemon.configuration, daemon.name));
        return Ok(());
    };
    if !work.is_live() || work.is_dry() {
        work.file(daemon.snippet, snippet.as_bytes(), 0o644, &Account::root())?;
        work.tell(&format!(
            "{}'s own check {}",
            daemon.name,
            if work.is_live() { "comes then" } else { "is not run below another root" }
        ));
        return Ok(());
    }
    add_checked(work, daemon, &snippet)
}

/// Whether there is more in a file than comments: a fresh one of the original's has a line of these.
fn forwards(work: &Work, path: &str) -> bool {
    let text = fs::read(work.place(path)).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A line of the configuration, not a comment, that names this directory for inclusion.
fn includes(configuration: &str, directory: &str) -> bool {
    let lines = configuration.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    lines.into_iter().any(|line| line.to_ascii_lowercase().contains("include") && line.contains(directory))
}

/// The snippet, with the host's own name for the local source in it; `None` if there is none.
fn snippet<'a>(daemon: &Daemon, configuration: &str) -> Option<Cow<'a, str>> {
    if daemon.name != "syslog-ng" {
        return Some(Cow::Borrowed(daemon.text));
    }
    let lines = configuration.lines().map(str::trim_start);
    let name = lines
        .into_iter()
        .find_map(|line| line.strip_prefix("source ")?.split([' ', '{', '\t']).find(|name| !name.is_empty()))?;
    Some(Cow::Owned(daemon.text.replace(&format!("source({SOURCE})"), &format!("source({name})"))))
}

fn add_checked(work: &mut Work, daemon: &Daemon, snippet: &str) -> Result<(), HostError> {
    let Some(path) = program(work.root(), daemon.program) else { return Ok(()) };
    check(&path, daemon).map_err(|output| {
        HostError::Command(format!(
            "{} refuses its configuration already, so nothing was added to it:\n{output}",
            daemon.name
        ))
    })?;
    let older = daemon.older_text.map(|text| (text, "the form for older versions"));
    for (text, what) in core::iter::once((snippet, "our lines")).chain(older) {
        // One that was installed in the other form stays.
        if work.manifest().entries().iter().any(|entry| entry.path() == Some(daemon.snippet))
            && older.is_some_and(|(older, _)| has(work, daemon, older))
        {
            return Ok(());
        }
        if work.file(daemon.snippet, text.as_bytes(), 0o644, &Account::root())? != Wrote::Now {
            return Ok(());
        }
        match check(&path, daemon) {
            Ok(()) => return restart(work, daemon),
            Err(output) => {
                take_back(work, daemon)?;
                work.tell(&format!("{} refuses {what}, which were taken back:\n{output}", daemon.name));
            }
        }
    }
    Err(HostError::Command(format!("{} does not forward to omsd; everything else is installed", daemon.name)))
}

fn has(work: &Work, daemon: &Daemon, text: &str) -> bool {
    fs::read(work.place(daemon.snippet)).is_ok_and(|bytes| bytes == text.as_bytes())
}

fn check(path: &Path, daemon: &Daemon) -> Result<(), String> {
    ask(path, &[daemon.check], "").map(drop)
}

fn take_back(work: &mut Work, daemon: &Daemon) -> Result<(), HostError> {
    let snippet = work.place(daemon.snippet);
    fs::remove_file(&snippet).map_err(at(&snippet))?;
    work.forget(daemon.snippet)
}

fn restart(work: &mut Work, daemon: &Daemon) -> Result<(), HostError> {
    if !init::is_running(work.root(), &[daemon.program]) {
        work.tell(&format!("{} does not run; when it does, it forwards to omsd", daemon.name));
        return Ok(());
    }
    work.tell(&format!("restart {}", daemon.name));
    match restart_other(daemon.name) {
        Ok(true) => Ok(()),
        Ok(false) => {
            work.tell(&format!("restart {} yourself: nobody is known who does it here", daemon.name));
            Ok(())
        }
        Err(error) => {
            take_back(work, daemon)?;
            let again = restart_other(daemon.name);
            Err(HostError::Command(format!(
                "{error}: it does not forward to omsd; {}",
                if again.is_ok() {
                    "without our lines it runs again"
                } else {
                    "without our lines it does not start either"
                }
            )))
        }
    }
}

/// After a removal: lets the daemon whose snippet is gone forget it. Gives what went wrong.
pub fn after_removal(removed: &[PathBuf]) -> Option<String> {
    let daemon = DAEMONS.iter().find(|daemon| removed.iter().any(|path| path == Path::new(daemon.snippet)))?;
    if !init::is_running(Path::new("/"), &[daemon.program]) {
        return None;
    }
    match restart_other(daemon.name) {
        Ok(true) => None,
        Ok(false) => Some(format!("{} still has our lines in memory: restart it", daemon.name)),
        Err(error) => Some(format!("{error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inclusion_counts_if_it_is_no_comment() {
        let rsyslog = "/etc/rsyslog.d";
        assert!(includes("$IncludeConfig /etc/rsyslog.d/*.conf\n", rsyslog));
        assert!(includes(" include(file=\"/etc/rsyslog.d/*.conf\" mode=\"optional\")", rsyslog));
        assert!(!includes("# $IncludeConfig /etc/rsyslog.d/*.conf\n", rsyslog));
        assert!(!includes("# see /etc/rsyslog.d\n$WorkDirectory /etc/rsyslog.d\n", rsyslog));
        assert!(includes("@include \"/etc/syslog-ng/conf.d/*.conf\"\n", "/etc/syslog-ng/conf.d"));
    }

    #[test]
    fn the_sample_has_the_source_that_is_switched_on() {
        let sample = include_str!("../../conf/omsd.conf");
        assert_eq!(sample.matches(LOG_SOURCE).count(), 1);
        assert!(
            sample
                .replace(LOG_SOURCE, &switched_on())
                .contains("\n<source>\n  type syslog\n  protocol_type unix_dgram\n")
        );
    }

    #[track_caller]
    fn check_source(configuration: &str, expected: Option<&str>) {
        let found = snippet(&DAEMONS[1], configuration);
        let line = expected.map(|name| format!("log {{ source({name}); filter(f_omsd); destination(d_omsd); }};"));
        assert_eq!(found.as_deref().and_then(|text| text.lines().last()), line.as_deref(), "{configuration}");
    }

    #[test]
    fn the_snippet_takes_the_source_that_the_host_has() {
        check_source("@version: 3.38\nsource s_src {\n  system();\n};\n", Some("s_src"));
        check_source("#source old { };\nsource s_sys{ system(); };\nsource s_net { };\n", Some("s_sys"));
        check_source("\tsource  src {\n", Some("src"));
        check_source("options { };\n", None);
    }
}
