//! Life on a host: how omsd is installed and removed, started, kept alive, stopped and looked after. What is here is the same on every architecture.
//!
//! Needs root (it makes mounts and chroots of its own), strace, unshare and setsid (util-linux), Debian's cron and a busybox with crond:
//! `OMSD_CRON` and `OMSD_BUSYBOX` name them, else those of PATH are taken. `OMSD_BIN` names the binary under test.
//! For what installs and removes also systemd-analyze and shellcheck; `OMSD_HOST_ROOTS` names the trees of the Debian releases
//! to be tried, parted by colons, with cron, openrc, rsyslog and systemd in it; `OMSD_STANDIN` names the
//! stand-in service's program. `OMSD_HOST_FULL` being set makes some scenarios longer.

#[expect(dead_code, unused_imports, reason = "the scenarios beside this use the rest")]
#[path = "../e2e/harness/mod.rs"]
mod harness;

mod alone;
mod bare_hosts;
mod busybox;
mod cron_by_the_minute;
mod debian;
mod definitions;
mod dev_log;
mod exit_codes;
mod interrupted;
mod keepalive;
mod keepalive_after_a_hang;
mod listing;
mod manual;
mod once_loses_nothing;
mod once_within_its_budget;
mod readme;
mod stopped_and_reloaded;
mod syslog_ng;
mod systemd;
mod tools;
mod trees;
mod watched;

/// Whether scenarios that take long may take it.
fn is_full_length() -> bool {
    std::env::var_os("OMSD_HOST_FULL").is_some()
}
