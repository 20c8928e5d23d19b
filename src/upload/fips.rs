//! A host in FIPS mode and a program without a validated module: the two questions, and what follows.

use alloc::format;
use alloc::string::{String, ToString};
use std::fs;
use std::io;

use super::https;

/// Whether the kernel runs in FIPS mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostMode {
    /// No, or it knows no such mode.
    Off,
    /// Yes.
    On,
    /// It did not say; holds why. Worth a warning.
    Unknown(String),
}

/// Asks the kernel. Source: `/proc/sys/crypto/fips_enabled`.
pub fn host_mode() -> HostMode {
    judge(fs::read_to_string("/proc/sys/crypto/fips_enabled"))
}

fn judge(content: io::Result<String>) -> HostMode {
    match content {
        Ok(text) if text.trim() == "1" => HostMode::On,
        Ok(_) => HostMode::Off,
        Err(error) if error.kind() == io::ErrorKind::NotFound => HostMode::Off,
        Err(error) => HostMode::Unknown(error.to_string()),
    }
}

/// Why uploads must not start here, if they must not: the host is in FIPS mode, the TLS module is not validated, and the
/// configuration does not allow it. The program ends with the exit code for a configuration error then.
pub fn fips_refusal(allow_non_fips: bool) -> Option<String> {
    refusal(&host_mode(), https::fips(), allow_non_fips)
}

fn refusal(host: &HostMode, module_is_fips: bool, allow_non_fips: bool) -> Option<String> {
    (*host == HostMode::On && !module_is_fips && !allow_non_fips).then(|| {
        format!(
            "this host is in FIPS mode, but this build's cryptographic module is not validated: use the FIPS build, \
             or set {} in the configuration",
            "allow_non_fips yes"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_one_means_fips_mode() {
        assert_eq!(judge(Ok("1\n".into())), HostMode::On);
        assert_eq!(judge(Ok("0\n".into())), HostMode::Off);
        assert_eq!(judge(Ok("".into())), HostMode::Off);
        assert_eq!(judge(Err(io::ErrorKind::NotFound.into())), HostMode::Off);
        assert!(matches!(judge(Err(io::ErrorKind::PermissionDenied.into())), HostMode::Unknown(_)));
    }

    #[test]
    fn uploads_are_refused_only_on_a_fips_host_without_module_and_permission() {
        assert!(refusal(&HostMode::On, false, false).is_some());
        assert!(refusal(&HostMode::On, false, true).is_none());
        assert!(refusal(&HostMode::On, true, false).is_none());
        assert!(refusal(&HostMode::Off, false, false).is_none());
        assert!(refusal(&HostMode::Unknown("?".into()), false, false).is_none());
    }
}
