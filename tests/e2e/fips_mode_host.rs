//! The host's kernel is in FIPS mode, or seems to be: a file in the place of the kernel's says so. The standard build uploads nothing and says why, unless
//! the configuration allows it, which the log, the status, `check` and a record then tell. The FIPS build uploads. A flag that cannot be read is warned of.

use crate::harness::{Omsd, Site, Source, is_fips_build, run};
use omsd_standin::Seen;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// The same command in a mount namespace where `/proc/sys/crypto/fips_enabled` is made by `make`.
fn on_host(make: &str, command: &Command) -> Command {
    let script = format!("mount -t tmpfs none /proc/sys && mkdir /proc/sys/crypto && {make} && exec \"$@\"");
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let mut wrapped = Command::new("unshare");
    wrapped
        .args([if is_root { "-m" } else { "-rm" }, "sh", "-c", &script, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

const ON: &str = "echo 1 >/proc/sys/crypto/fips_enabled";
const OFF: &str = "echo 0 >/proc/sys/crypto/fips_enabled";
const UNREADABLE: &str = "mkdir /proc/sys/crypto/fips_enabled";
const ALLOWED: &str = "standard build, host in FIPS mode: allow_non_fips";
const REFUSAL: &str = "this host is in FIPS mode, but this build's cryptographic module is not validated";

/// A heartbeat is all that there is to upload.
fn site(system: &str) -> Site {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    site.add_heartbeat();
    let text = std::fs::read_to_string(site.conf()).expect("omsd.conf is there");
    std::fs::write(site.conf(), format!("<system>\n{system}\n</system>\n{text}")).expect("omsd.conf is written");
    site
}

/// It runs and uploads; what it says of FIPS in its log, the status and `check`. Gives what it told the service.
#[track_caller]
fn upload(make: &str, system: &str, warning: bool, said: &str) -> String {
    let site = site(system);
    let omsd = Omsd::spawn(on_host(make, &site.command("run")));
    site.wait("a heartbeat", |seen| seen.items.iter().any(|item| item.data_type == "HEALTH_ASSESSMENT_BLOB"));
    let silent = said == "standard build, host not in FIPS mode";
    assert_eq!(omsd.stderr().contains("warn"), warning, "{}", omsd.stderr());
    assert_eq!(omsd.stderr().contains(said), !silent, "{}", omsd.stderr());
    let status = site.status();
    assert!(status["fips"].as_str().is_some_and(|told| told.starts_with(said)), "{said} in {status}");
    let check = run(on_host(make, &site.command("check")).arg("sys.fips"));
    assert_eq!(check.code(), i32::from(warning), "{check:?}");
    assert!(check.stdout.contains(said), "{check:?}");
    let told = |seen: &Seen| seen.items.iter().find(|item| item.text("Category") == "omsd FIPS").cloned();
    if warning && said == ALLOWED {
        site.wait("an operation record", |seen| told(seen).is_some());
    }
    told(&site.standin.seen()).map(|item| item.text("Detail").to_owned()).unwrap_or_default()
}

#[test]
fn the_fips_build_uploads_and_the_standard_one_refuses() {
    if is_fips_build() {
        upload(ON, "", false, "FIPS build, host in FIPS mode");
        return;
    }
    let site = site("");
    for (command, code) in [("run", 78), ("check", 2)] {
        let output = run(&mut on_host(ON, &site.command(command)));
        assert_eq!(output.code(), code, "{command}: {output:?}");
        assert!((output.stdout + &output.stderr).contains(REFUSAL), "{command}");
    }
    let refused = run(&mut on_host(ON, &site.onboard_command()));
    assert!(refused.code() == 78 && refused.stderr.contains(REFUSAL), "{refused:?}");
    assert_eq!(site.standin.seen().counts.connections, 0);
}

#[test]
fn what_the_configuration_allows_is_told_everywhere() {
    let said = if is_fips_build() { "FIPS build, host in FIPS mode" } else { ALLOWED };
    let told = upload(ON, "  allow_non_fips yes", !is_fips_build(), said);
    assert_eq!(told, if is_fips_build() { "" } else { ALLOWED });
}

#[test]
fn on_any_other_host_both_builds_upload() {
    let said = if is_fips_build() { "FIPS build" } else { "standard build" };
    let told = upload(OFF, "", false, &format!("{said}, host not in FIPS mode"));
    assert_eq!(told, "");
    upload(UNREADABLE, "", true, &format!("{said}, host's FIPS mode unknown"));
}
