//! System: the host as a whole.

use super::memory::Meminfo;
use super::text::{lines, number, value};
use super::{Sink, report};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What there is to say besides memory; `None`: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct System {
    /// Log-ins.
    pub users: Option<u64>,
    /// Processes, those of the kernel included.
    pub processes: Option<u64>,
    /// Seconds since boot.
    pub uptime_s: Option<u64>,
}

/// The one instance, by the name of the operating system.
pub fn sample(caption: &[u8], system: System, memory: Option<&Meminfo>, sink: &mut dyn Sink) {
    let kb = |kb: fn(&Meminfo) -> u64| memory.map(kb);
    let free_virtual = kb(|memory| memory.available_kb.saturating_add(memory.swap_free_kb));
    let [available, swap, swap_free] = [kb(|m| m.available_kb), kb(|m| m.swap_total_kb), kb(|m| m.swap_free_kb)];
    let values = [system.users, system.processes, free_virtual, available, swap, swap_free, system.uptime_s];
    report(sink, caption, &values.map(|value| value.map(|value| value as f64)));
}

/// Whole seconds since boot. Source: proc_uptime(5).
pub fn uptime_s(uptime: &[u8]) -> Option<u64> {
    number(uptime.split(|byte| !byte.is_ascii_digit()).next()?)
}

/// Bytes of a record of who is logged in, on all architectures that this program is built for. Source: utmp(5).
pub const LOGIN_BYTES: usize = 384;

/// Log-ins of users among these records: their first field is the type, 7 is `USER_PROCESS`. Source: utmp(5).
pub fn users(utmp: &[u8]) -> u64 {
    utmp.chunks_exact(LOGIN_BYTES).filter(|login| login.starts_with(&[7, 0])).count() as u64
}

/// The original's name of an operating system: the release file's line on Red Hat Enterprise Linux, else `NAME VERSION (machine)`
/// with at least a minor version of 0. Source of the files: os-release(5); releases older than it have only their own file.
pub fn caption(redhat_release: Option<&[u8]>, os_release: Option<&[u8]>, machine: &str) -> Vec<u8> {
    let release = redhat_release.and_then(|file| lines(file).next()).map(<[u8]>::trim_ascii);
    if let Some(line) = release.filter(|line| line.starts_with(b"Red Hat Enterprise Linux")) {
        return line.to_vec();
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let of_key = |key: &[u8]| os_release.and_then(|file| value(file, key)).map(unquoted).map(text);
    let of_release = release.map(text);
    let of_release = of_release.as_deref().and_then(|line| line.split_once(" release "));
    let name = of_key(b"NAME=").or_else(|| of_release.map(|(name, _)| name.into()));
    let version = of_key(b"VERSION_ID=").or_else(|| of_release?.1.split(' ').next().map(String::from));
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "Linux".into());
    let caption = match version.filter(|version| !version.is_empty()) {
        Some(version) if version.contains('.') => format!("{name} {version} ({machine})"),
        Some(version) => format!("{name} {version}.0 ({machine})"),
        None => format!("{name} ({machine})"),
    };
    caption.into_bytes()
}

fn unquoted(value: &[u8]) -> &[u8] {
    let between = |quote: &[u8]| value.strip_prefix(quote)?.strip_suffix(quote);
    between(b"\"").or_else(|| between(b"'")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Found;

    #[track_caller]
    fn check_memory(meminfo: &str, expected: [f64; 4]) {
        let mut found = Found::default();
        sample(b"x", System::default(), Meminfo::parse(meminfo.as_bytes()).as_ref(), &mut found);
        let in_order = [3, 2, 4, 5].map(|index| found.values("x")[index].expect("known"));
        assert_eq!(in_order, expected, "{meminfo}");
    }

    /// Free Physical, Free Virtual, Size Stored, Free Paging.
    #[test]
    fn memory_is_in_kb_and_free_means_available() {
        let swap = "SwapTotal: 2097148 kB\nSwapFree: 1998844 kB\n";
        let free = "MemFree: 513244 kB\nBuffers: 204800 kB\nCached: 5120000 kB\n";
        let with = format!("MemTotal: 8167848 kB\nMemAvailable: 6021312 kB\n{free}{swap}");
        check_memory(&with, [6021312.0, 8020156.0, 2097148.0, 1998844.0]);
        let without = format!("MemTotal: 8167848 kB\n{free}{swap}");
        check_memory(&without, [5838044.0, 7836888.0, 2097148.0, 1998844.0]);
        check_memory("MemTotal: 1012108 kB\nMemAvailable: 523456 kB\n", [523456.0, 523456.0, 0.0, 0.0]);
        let c = "MemTotal: 3522864 kB\nMemAvailable: 2813432 kB\nSwapTotal: 6655996 kB\nSwapFree: 6638924 kB\n";
        check_memory(c, [2813432.0, 9452356.0, 6655996.0, 6638924.0]);
        let d = "MemTotal: 524288 kB\nMemFree: 131072 kB\nSwapTotal: 262144 kB\nSwapFree: 65536 kB\n";
        check_memory(d, [131072.0, 196608.0, 262144.0, 65536.0]);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut found = Found::default();
        let system = System { users: Some(3), processes: None, uptime_s: Some(77) };
        sample(b"x", system, None, &mut found);
        assert_eq!(found.values("x"), [Some(3.0), None, None, None, None, None, Some(77.0)]);
    }

    #[test]
    fn uptime_is_cut_to_seconds() {
        assert_eq!(uptime_s(b"350735.47 234388.90\n"), Some(350_735));
        assert_eq!(uptime_s(b"7"), Some(7));
        assert_eq!(uptime_s(b".5 1"), None);
        assert_eq!(uptime_s(b""), None);
    }

    #[test]
    fn log_ins_of_users_are_counted_and_nothing_else() {
        let login = |kind: i16| [&kind.to_le_bytes()[..], &[b'x'; LOGIN_BYTES - 2]].concat();
        let utmp = [login(2), login(7), login(8), login(7), login(0x107), login(7)].concat();
        assert_eq!(users(&utmp), 3);
        assert_eq!(users(&utmp[..utmp.len() - 1]), 2); // one is being written
        assert_eq!(users(b""), 0);
    }

    #[track_caller]
    fn check_caption(redhat: Option<&str>, os: Option<&str>, expected: &str) {
        let caption = caption(redhat.map(str::as_bytes), os.map(str::as_bytes), "x86_64");
        assert_eq!(String::from_utf8_lossy(&caption), expected);
    }

    #[test]
    fn the_operating_system_is_called_as_the_original_calls_it() {
        let ubuntu = "PRETTY_NAME=\"Ubuntu 16.04.7 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"16.04\"\n";
        check_caption(None, Some(ubuntu), "Ubuntu 16.04 (x86_64)");
        let centos = "NAME=\"CentOS Linux\"\nVERSION=\"7 (Core)\"\nVERSION_ID=\"7\"\n";
        check_caption(Some("CentOS Linux release 7.9.2009 (Core)\n"), Some(centos), "CentOS Linux 7.0 (x86_64)");
        let rhel = "Red Hat Enterprise Linux Server release 7.9 (Maipo)";
        check_caption(Some(&format!("{rhel}\n")), Some("NAME=\"Red Hat Enterprise Linux Server\"\n"), rhel);
        check_caption(Some("CentOS release 6.10 (Final)\n"), None, "CentOS 6.10 (x86_64)");
        check_caption(None, Some("NAME='Debian GNU/Linux'\nVERSION_ID=12\n"), "Debian GNU/Linux 12.0 (x86_64)");
        check_caption(None, Some("NAME=Arch\n"), "Arch (x86_64)");
        check_caption(None, None, "Linux (x86_64)");
    }
}
