//! Whether this host is a copy of the one that the state directory was made on: two hosts with one identity are one in every table.

use super::lock::{self, value};
use super::paths::Paths;
use crate::onboard::identity::machine_uuid;
use crate::sys::privilege::{self, Account};
use crate::sys::{file, host};
use alloc::format;
use alloc::string::String;
use std::path::Path;

/// Who may read it.
const MODE: u32 = 0o600;
/// A boot, the longest name of a host, a UUID, and a word in front of each.
const BYTES_MAX: u64 = 512;

/// What a host is told apart by. All three change together when a disk is copied, one or two at most otherwise: a reboot, a new name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Machine {
    boot_id: String,
    hostname: String,
    /// Of the firmware; empty where only root may read it and we are not.
    uuid: String,
}

impl Machine {
    fn this() -> Machine {
        Machine { boot_id: lock::boot_id(), hostname: host::hostname(), uuid: machine_uuid() }
    }

    fn read(text: &str) -> Machine {
        let part = |name| String::from(value(text, name).unwrap_or_default());
        Machine { boot_id: part("boot_id"), hostname: part("hostname"), uuid: part("uuid") }
    }

    fn text(&self) -> String {
        format!("boot_id {}\nhostname {}\nuuid {}\n", self.boot_id, self.hostname, self.uuid)
    }

    fn is_copied_from(&self, other: &Machine) -> bool {
        let differs = |one: &String, two: &String| !one.is_empty() && !two.is_empty() && one != two;
        differs(&self.boot_id, &other.boot_id)
            && differs(&self.hostname, &other.hostname)
            && differs(&self.uuid, &other.uuid)
    }

    /// Writes this host down in the place of another, and says whether it is a copy of that.
    fn replaces(&self, path: &Path) -> bool {
        let known = file::text_to_look(path, BYTES_MAX).unwrap_or_default();
        let before = Machine::read(&known);
        // Without root the firmware is not asked: what root has written down stays.
        let uuid = if self.uuid.is_empty() { before.uuid.clone() } else { self.uuid.clone() };
        let now = Machine { uuid, ..self.clone() };
        if now.text() != known {
            // What cannot be written down is compared with older knowledge the next time.
            let _ = file::write_often(path, now.text().as_bytes(), MODE);
        }
        self.is_copied_from(&before)
    }
}

/// Whether this host is a copy of the one on which an agent last started with this state directory. Remembers this one: it is told
/// once, and one that moved for good is itself from then on. The caller has the lock. Only root may ask the firmware; the file is
/// `account`'s, as all that is in that directory.
pub fn is_a_copy(paths: &Paths, account: Option<Account>) -> bool {
    let this = Machine::this();
    privilege::acting_as(account, || this.replaces(&paths.machine())).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_that_differs_in_all_is_a_copy() {
        let machine = |boot_id: &str, hostname: &str, uuid: &str| {
            Machine::read(&Machine { boot_id: boot_id.into(), hostname: hostname.into(), uuid: uuid.into() }.text())
        };
        let first = machine("boot", "web01", "0c9f");
        assert!(machine("other", "web02", "77aa").is_copied_from(&first));
        for same in [
            machine("boot", "web01", "0c9f"),
            machine("boot", "web02", "77aa"),
            machine("other", "web01", "77aa"),
            machine("other", "web02", "0c9f"),
            machine("other", "web02", ""),
        ] {
            assert!(!same.is_copied_from(&first), "{same:?}");
        }
        assert!(!first.is_copied_from(&Machine::read("")), "the first start");
    }
}
