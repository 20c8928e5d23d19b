//! `sys.limits`, `sys.mac`, `sys.sandbox`, `sys.fips`, `sys.old`: what the system allows, confines and still has.

use super::{Finding, Scene, Tell, proc};
use crate::agent::status::{self, SandboxStatus};
use crate::host::import;
use crate::sys::landlock;
use crate::upload::fips::Standing;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs;
use std::path::Path;

/// Fewer processes or open files than these do not suffice for the agent.
const PROCESSES_MIN: u64 = 8;
const FILES_MIN: u64 = 64;

pub(super) fn look(scene: &Scene, tell: Tell) {
    let pid = scene.agent();
    let of_agent = |name: &str| {
        let pid = pid.map_or_else(|| "self".to_string(), |pid| pid.to_string());
        proc::text(Path::new(&format!("/proc/{pid}/{name}")))
            .ok()
            .map(|text| text.trim_matches(['\0', '\n']).to_string())
    };
    let ring_bytes = scene.config.as_ref().map_or(0, |config| config.ring.bytes);
    tell(match of_agent("limits") {
        Some(limits) => judge_limits(&limits, ring_bytes),
        None => Finding::skip("sys.limits", "no /proc"),
    });
    tell(match pid {
        Some(_) => judge_mac(&Mac {
            selinux_enforces: host_text("/sys/fs/selinux/enforce").map(|text| text == "1"),
            apparmor: host_text("/sys/module/apparmor/parameters/enabled").is_some_and(|text| text == "Y"),
            label: of_agent("attr/apparmor/current").or_else(|| of_agent("attr/current")),
        }),
        None => Finding::skip("sys.mac", "needs run.alive"),
    });
    tell(sandbox(scene));
    tell(match &scene.config {
        Some(config) => judge_fips(&Standing::ask(), config.allow_non_fips, config.uploads()),
        None => Finding::skip("sys.fips", "needs cfg.parse"),
    });
    tell(judge_old(&original(scene)));
}

fn host_text(path: &str) -> Option<String> {
    proc::text(Path::new(path)).ok().map(|text| text.trim().to_string())
}

fn judge_limits(limits: &str, ring_bytes: u64) -> Finding {
    const ID: &str = "sys.limits";
    const FIX: &str = "raise it: LimitNPROC, LimitNOFILE, LimitFSIZE of a unit, or /etc/security/limits.conf";
    for (name, needed) in
        [("Max processes", PROCESSES_MIN), ("Max open files", FILES_MIN), ("Max file size", ring_bytes)]
    {
        if let Some(limit) = proc::limit(limits, name).filter(|limit| *limit < needed) {
            return Finding::fail(
                ID,
                format!("{}: {limit}, less than the {needed} that omsd needs", name.to_lowercase()),
                FIX,
            );
        }
    }
    Finding::pass(ID, "processes, open files and file size suffice")
}

/// What mandatory access control there is, and what it says of the agent.
struct Mac {
    /// `None`: there is no SELinux.
    selinux_enforces: Option<bool>,
    apparmor: bool,
    /// SELinux's context or AppArmor's profile of the agent.
    label: Option<String>,
}

fn judge_mac(mac: &Mac) -> Finding {
    const ID: &str = "sys.mac";
    const FIX: &str = "load the policy that comes with omsd (conf/selinux), then start it by its unit";
    const FIX_APPARMOR: &str =
        "load the profile that comes with omsd (conf/apparmor), then start omsd again; one that complains: aa-enforce";
    let label = mac.label.as_deref().unwrap_or("");
    let domain = label.split(':').nth(2).unwrap_or("");
    match mac.selinux_enforces {
        None if !mac.apparmor => Finding::pass(ID, "this host has neither SELinux nor AppArmor"),
        _ if label.is_empty() => Finding::skip(ID, "the agent's label cannot be read"),
        None if label == "unconfined" || ["(unconfined)", "(complain)"].iter().any(|mode| label.ends_with(mode)) => {
            Finding::warn(ID, format!("AppArmor is on, but does not confine omsd: {label}"), FIX_APPARMOR)
        }
        None => Finding::pass(ID, format!("AppArmor: {label}")),
        Some(true) if domain.starts_with("unconfined") || ["init_t", "initrc_t", "kernel_t"].contains(&domain) => {
            Finding::warn(ID, format!("SELinux enforces, but does not confine omsd: {label}"), FIX)
        }
        Some(true) => Finding::pass(ID, format!("SELinux enforces, omsd runs as {label}")),
        Some(false) => Finding::pass(ID, format!("SELinux is permissive, omsd runs as {label}")),
    }
}

fn sandbox(scene: &Scene) -> Finding {
    const ID: &str = "sys.sandbox";
    if scene.agent().is_none() {
        return Finding::skip(ID, "needs run.alive");
    }
    match status::read(&scene.paths) {
        Ok((_, told)) => judge_sandbox(&told.sandbox, landlock::version().is_ok()),
        Err(error) => Finding::skip(ID, format!("the agent's status: {error}")),
    }
}

/// A kernel without a layer is no reason for a warning; a layer that it has and that is not in force is. `has_landlock`: so it tells us.
fn judge_sandbox(layers: &SandboxStatus, has_landlock: bool) -> Finding {
    const ID: &str = "sys.sandbox";
    let named = [("no_new_privs", &layers.no_new_privs), ("seccomp", &layers.seccomp), ("landlock", &layers.landlock)];
    let text: Vec<String> = named.iter().map(|(name, state)| format!("{name} {state}")).collect();
    let text = text.join(", ");
    let is = |state: &str, wanted| state.split(' ').next() == Some(wanted);
    if named.iter().any(|(_, state)| !is(state, "on") && !is(state, "unsupported")) {
        return Finding::warn(ID, text, "set sandbox on in <system>; the log says why the kernel refused a layer");
    }
    if has_landlock && is(&layers.landlock, "unsupported") {
        let fix =
            "what starts omsd has a filter of its own (a container, a unit): let the three calls landlock_* pass there";
        return Finding::warn(ID, format!("{text}, but this kernel has it"), fix);
    }
    Finding::pass(ID, text)
}

fn judge_fips(standing: &Standing, allow_non_fips: bool, uploads: bool) -> Finding {
    const ID: &str = "sys.fips";
    match standing.permit(allow_non_fips) {
        Err(refused) if uploads => Finding::fail(ID, refused.to_string(), "install the FIPS build, see fips/README.md"),
        _ if uploads && standing.is_worth_a_warning() => {
            Finding::warn(ID, standing.to_string(), "use the FIPS build, see fips/README.md")
        }
        _ => Finding::pass(ID, standing.to_string()),
    }
}

/// What is left of the original: files, processes.
fn original(scene: &Scene) -> Vec<String> {
    const FILES: [&str; 6] = [
        "/etc/rsyslog.d/95-omsagent.conf",
        "/etc/syslog-ng/conf.d/omsagent.conf",
        "/etc/cron.d/omsagent",
        "/etc/cron.d/OMSConsistencyInvoker",
        "/etc/sudoers.d/omsagent",
        "/etc/logrotate.d/omsagent",
    ];
    let servers = proc::processes().into_iter().filter(|process| process.name == "omiserver");
    let servers = servers.map(|process| format!("omiserver runs (process {})", process.pid));
    let running = import::running(&scene.root).into_iter().chain(servers);
    let files = FILES.iter().map(|path| scene.paths.place(path)).filter(|path| fs::symlink_metadata(path).is_ok());
    running.chain(files.map(|path| path.display().to_string())).collect()
}

fn judge_old(left: &[String]) -> Finding {
    const ID: &str = "sys.old";
    const FIX: &str = "/opt/microsoft/omsagent/bin/service_control stop; then take it over (omsd import) and remove it: sh omsagent-*.sh --purge";
    match left {
        [] => Finding::pass(ID, "nothing is left of the original agent"),
        [first, more @ ..] => {
            Finding::warn(ID, format!("the original agent is here still: {first}"), FIX).with(more.to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[track_caller]
    fn expect(found: &Finding, expected: Grade, part: &str) {
        assert!(found.result == expected && found.text.contains(part), "{found:?}");
        assert_eq!(found.fix.is_empty(), matches!(expected, Grade::Pass | Grade::Skip), "{found:?}");
    }

    #[test]
    fn limits_are_above_the_need() {
        let limits = |processes: &str, files: &str, size: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max file size             {size:20} unlimited            bytes     \n\
                 Max processes             {processes:20} 31339                processes \n\
                 Max open files            {files:20} 1048576              files     \n"
            )
        };
        let ring_bytes = 10 << 20;
        expect(&judge_limits(&limits("8", "64", "unlimited"), ring_bytes), Grade::Pass, "");
        expect(&judge_limits(&limits("7", "64", "unlimited"), ring_bytes), Grade::Fail, "max processes: 7");
        expect(&judge_limits(&limits("8", "63", "unlimited"), ring_bytes), Grade::Fail, "max open files: 63");
        expect(&judge_limits(&limits("8", "64", "1000"), ring_bytes), Grade::Fail, "max file size: 1000");
    }

    #[test]
    fn what_enforces_confines_omsd() {
        let mac = |selinux_enforces, apparmor, label: Option<&str>| Mac {
            selinux_enforces,
            apparmor,
            label: label.map(String::from),
        };
        for (mac, expected, part) in [
            (mac(None, false, None), Grade::Pass, "neither"),
            (mac(None, true, Some("omsd (enforce)")), Grade::Pass, "AppArmor: omsd (enforce)"),
            (mac(None, true, Some("unconfined")), Grade::Warn, "does not confine omsd: unconfined"),
            (mac(None, true, Some("omsd (unconfined)")), Grade::Warn, "omsd (unconfined)"),
            (mac(None, true, Some("omsd (complain)")), Grade::Warn, "omsd (complain)"),
            (mac(None, true, None), Grade::Skip, "cannot be read"),
            (mac(Some(true), false, Some("system_u:system_r:omsd_t:s0")), Grade::Pass, "omsd_t"),
            (mac(Some(true), false, Some("system_u:system_r:init_t:s0")), Grade::Warn, "init_t"),
            (mac(Some(true), false, Some("u:r:unconfined_service_t:s0")), Grade::Warn, "unconfined_service_t"),
            (mac(Some(false), false, Some("u:r:init_t:s0")), Grade::Pass, "permissive"),
            (mac(Some(true), false, None), Grade::Skip, "cannot be read"),
        ] {
            expect(&judge_mac(&mac), expected, part);
        }
    }

    #[test]
    fn a_layer_that_the_kernel_lacks_is_no_warning() {
        let layers = |seccomp: &str, landlock: &str| SandboxStatus {
            account: "root".into(),
            no_new_privs: "on".into(),
            seccomp: seccomp.into(),
            landlock: landlock.into(),
        };
        for (seccomp, landlock, has_landlock, expected, part) in [
            ("on", "on (ABI 4)", true, Grade::Pass, "seccomp on, landlock on (ABI 4)"),
            ("on", "unsupported (switched off at boot)", false, Grade::Pass, "(switched off at boot)"),
            ("unsupported", "unsupported", false, Grade::Pass, "seccomp unsupported"),
            ("on", "unsupported (not in this kernel)", true, Grade::Warn, "but this kernel has it"),
            ("off", "on (ABI 1)", true, Grade::Warn, "seccomp off"),
            ("failed: no", "on", true, Grade::Warn, "failed: no"),
        ] {
            expect(&judge_sandbox(&layers(seccomp, landlock), has_landlock), expected, part);
        }
    }

    #[test]
    fn what_is_left_of_the_original_is_named() {
        expect(&judge_old(&[]), Grade::Pass, "nothing is left");
        let found = judge_old(&["omsagent runs (process 5)".to_string(), "/etc/cron.d/omsagent".to_string()]);
        expect(&found, Grade::Warn, "omsagent runs (process 5)");
        assert_eq!(found.details, ["/etc/cron.d/omsagent"]);
    }
}
