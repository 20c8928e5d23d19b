//! A host in FIPS mode, a program with or without a FIPS module, and what follows: two questions, asked apart, reported apart.
//!
//! | the host's flag | this build | its finished TLS configuration says | then |
//! |---|---|---|---|
//! | off, or no such file | standard | (not asked) | runs |
//! | off | FIPS | yes | runs, and says that the host is not in FIPS mode |
//! | on | FIPS | yes | runs |
//! | on | standard | (not asked) | refuses (exit 78), unless `allow_non_fips`, which every report then names |
//! | cannot be read | either | | as if off, with a warning |
//! | any | FIPS | no | never uploads (exit 70) |

use alloc::string::{String, ToString};
use core::fmt;
use std::fs;
use std::io;

use super::https;
use crate::sys::process::{self, Ended};

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

/// Both answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    host: HostMode,
    /// What the finished TLS configuration of a FIPS build says; `None`: this is no FIPS build.
    answer: Option<bool>,
}

/// Why nothing may be uploaded. Displays as a sentence for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The host is in FIPS mode, this build's module is not validated, and the configuration does not allow it.
    HostInFipsMode,
    /// This is a FIPS build, but its own TLS configuration denies it.
    NotFips,
}

impl Standing {
    /// Asks the kernel and, in a FIPS build, a finished TLS configuration. Source: `/proc/sys/crypto/fips_enabled`.
    pub fn ask() -> Standing {
        let host = judge(fs::read_to_string("/proc/sys/crypto/fips_enabled"));
        Standing { host, answer: cfg!(feature = "fips").then(https::fips) }
    }

    /// Whether uploads may start.
    pub fn permit(&self, allow_non_fips: bool) -> Result<(), Refused> {
        match self.answer {
            Some(false) => Err(Refused::NotFips),
            None if self.host == HostMode::On && !allow_non_fips => Err(Refused::HostInFipsMode),
            _ => Ok(()),
        }
    }

    /// On this host uploads depend on `allow_non_fips`.
    pub fn needs_permission(&self) -> bool {
        self.answer.is_none() && self.host == HostMode::On
    }

    /// Something an administrator should see: uploads that need a permission, or a host that does not say what it is.
    pub fn is_worth_a_warning(&self) -> bool {
        self.needs_permission() || matches!(self.host, HostMode::Unknown(_))
    }

    /// There is nothing about FIPS here.
    pub fn is_ordinary(&self) -> bool {
        self.answer.is_none() && self.host == HostMode::Off
    }
}

/// `FIPS build, host not in FIPS mode`, and the like.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.answer {
            None => "standard build",
            Some(true) => "FIPS build",
            Some(false) => "FIPS build that denies it",
        })?;
        match &self.host {
            HostMode::Off => f.write_str(", host not in FIPS mode"),
            HostMode::On if self.answer.is_none() => f.write_str(", host in FIPS mode: allow_non_fips"),
            HostMode::On => f.write_str(", host in FIPS mode"),
            HostMode::Unknown(cause) => write!(f, ", host's FIPS mode unknown ({cause})"),
        }
    }
}

impl Refused {
    /// The program's exit code. Source: sysexits(3).
    pub fn exit_code(self) -> u8 {
        match self {
            Refused::HostInFipsMode => 78,
            Refused::NotFips => 70,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::HostInFipsMode => {
                "this host is in FIPS mode, but this build's cryptographic module is not validated: use the FIPS build, \
                 or allow it (allow_non_fips yes in the configuration, --allow-non-fips of onboard)"
            }
            Refused::NotFips => {
                "the FIPS build's own TLS configuration says that it is not FIPS: nothing is sent; install the program anew"
            }
        })
    }
}

/// A child of a FIPS build ended as the module ends a process in which its own checks failed: by SIGABRT.
/// A standard build has no such module, and a panic of ours ends by another signal.
pub fn is_broken_module(ended: Option<Ended>) -> bool {
    cfg!(feature = "fips") && ended == Some(Ended::Killed(process::SIGABRT))
}

fn judge(content: io::Result<String>) -> HostMode {
    match content {
        Ok(text) if text.trim() == "1" => HostMode::On,
        Ok(_) => HostMode::Off,
        Err(error) if error.kind() == io::ErrorKind::NotFound => HostMode::Off,
        Err(error) => HostMode::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_abort_in_a_fips_build_means_a_broken_module() {
        assert_eq!(is_broken_module(Some(Ended::Killed(process::SIGABRT))), cfg!(feature = "fips"));
        for ended in [None, Some(Ended::Exited(process::SIGABRT)), Some(Ended::Killed(9))] {
            assert!(!is_broken_module(ended), "{ended:?}");
        }
    }

    #[test]
    fn only_a_one_means_fips_mode() {
        assert_eq!(judge(Ok("1\n".into())), HostMode::On);
        assert_eq!(judge(Ok("0\n".into())), HostMode::Off);
        assert_eq!(judge(Ok("".into())), HostMode::Off);
        assert_eq!(judge(Err(io::ErrorKind::NotFound.into())), HostMode::Off);
        assert!(matches!(judge(Err(io::ErrorKind::PermissionDenied.into())), HostMode::Unknown(_)));
    }

    #[track_caller]
    fn check(host: HostMode, answer: Option<bool>, permitted: [Result<(), Refused>; 2], said: &str) {
        let standing = Standing { host, answer };
        assert_eq!([false, true].map(|allow| standing.permit(allow)), permitted);
        assert_eq!(standing.to_string(), said);
    }

    #[test]
    fn flag_build_and_answer_decide_together() {
        let unknown = || HostMode::Unknown("?".into());
        check(HostMode::Off, None, [Ok(()); 2], "standard build, host not in FIPS mode");
        check(HostMode::Off, Some(true), [Ok(()); 2], "FIPS build, host not in FIPS mode");
        check(HostMode::On, Some(true), [Ok(()); 2], "FIPS build, host in FIPS mode");
        let refused = [Err(Refused::HostInFipsMode), Ok(())];
        check(HostMode::On, None, refused, "standard build, host in FIPS mode: allow_non_fips");
        check(unknown(), None, [Ok(()); 2], "standard build, host's FIPS mode unknown (?)");
        check(unknown(), Some(true), [Ok(()); 2], "FIPS build, host's FIPS mode unknown (?)");
        for host in [HostMode::Off, HostMode::On, unknown()] {
            let standing = Standing { host, answer: Some(false) };
            assert_eq!([false, true].map(|allow| standing.permit(allow)), [Err(Refused::NotFips); 2]);
        }
    }
}
