//! What every scenario stands on: a root directory with an identity, the stand-in service, our binary, the real programs that send to it.
//!
//! `OMSD_BIN` names the binary under test (default: the one cargo built), `OMSD_SYSLOG_NG` syslog-ng's.
//! Nothing sleeps for a fixed time: every wait ends with what it waits for, or fails at its deadline and shows all there is to know.

pub mod authority;
mod memory;
mod messages;
mod omsd;
mod peers;
mod proxy;
mod servers;
mod site;

pub use memory::{Watch, children_of};
pub use messages::Numbered;
pub use omsd::{Omsd, Output, command, run};
pub use peers::{Rsyslog, SyslogNg, logger, send_over_tcp};
pub use proxy::Proxy;
pub use servers::Server;
pub use site::{OTHER_WORKSPACE, Site, Source, mode, temp_dir};

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take before a scenario gives up: far more than it ever needs.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// The binary under test.
pub fn omsd_bin() -> PathBuf {
    std::env::var_os("OMSD_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_omsd")), PathBuf::from)
}

/// Copies a program, to be run. By another process: what a test of another thread starts would inherit the open file, and a file that is
/// written to cannot be run.
pub fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status();
    assert!(status.expect("cp runs").success(), "{} is copied", from.display());
}

/// Whether it runs as on an old kernel: `OMSD_BIN` is then a script of tests/oldkernel/run, which starts the launcher, and one filter of the
/// processes is the launcher's.
pub fn is_old_kernel() -> bool {
    std::env::var_os("OMSD_OLD_KERNEL").is_some()
}

/// Whether that is the FIPS build, as it says itself.
pub fn is_fips_build() -> bool {
    run(command().arg("version")).stdout.contains("answers: FIPS")
}

/// Looks every few milliseconds until `condition` holds; fails with `what` at the deadline.
#[track_caller]
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_for(PATIENCE, what, condition);
}

/// The same for what takes longer than [`PATIENCE`].
#[track_caller]
pub fn wait_for(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {} s in vain: {what}", patience.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs `check` on each row in a thread of the row's name, all at once: what they mostly do is wait. Fails if one of them did.
#[track_caller]
pub fn at_the_same_time<Row: Send + 'static>(rows: Vec<(&str, Row)>, check: fn(Row)) {
    let start = |(name, row): (&str, Row)| {
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || check(row)).expect("a thread")
    };
    let running: Vec<_> = rows.into_iter().map(start).collect();
    let failed = running.into_iter().filter_map(|row| row.join().err()).count();
    assert_eq!(failed, 0, "rows failed, see above");
}

/// A port on the loopback address that nobody uses, for UDP and TCP, each time another one. It lies below those that the system hands out, and is not
/// tried by opening it: otherwise another scenario's socket could be taken for the one that is waited for.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Suites that run at the same time begin at different ports.
    let start = std::process::id() * 151;
    let next = || FIRST + start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
    let mut ports = std::iter::repeat_with(next).take(COUNT as usize).map(|port| u16::try_from(port).expect("a port"));
    let in_use = |port| sockets(&["tcp", "tcp6", "udp", "udp6"]).any(|(local, ..)| local == port);
    ports.find(|&port| !in_use(port)).expect("a port is free")
}

/// Whether somebody listens on this TCP port.
pub fn tcp_listens(port: u16) -> bool {
    const LISTEN: &str = "0A";
    sockets(&["tcp", "tcp6"]).any(|(local, state, _)| local == port && state == LISTEN)
}

/// Whether somebody has bound this UDP port.
pub fn udp_bound(port: u16) -> bool {
    udp_inode(port).is_some()
}

/// The number of the socket that this UDP port is bound to.
pub fn udp_inode(port: u16) -> Option<String> {
    sockets(&["udp", "udp6"]).find(|(local, ..)| *local == port).map(|(_, _, inode)| inode)
}

/// Local port, state and inode of every socket in these tables. Source: proc_pid_net(5).
fn sockets(tables: &'static [&'static str]) -> impl Iterator<Item = (u16, String, String)> {
    let text = |table: &&str| std::fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
    let lines = |text: String| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    tables.iter().map(text).flat_map(lines).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let local = words.next()?.rsplit_once(':')?.1.to_owned();
        Some((u16::from_str_radix(&local, 16).ok()?, words.nth(1)?.to_owned(), words.nth(5)?.to_owned()))
    })
}
