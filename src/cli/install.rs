//! `omsd install`, `omsd uninstall` and `omsd service`.

use super::{Exit, ended, options, parse, parse_with_words, root_of, root_option, say, usage_error};
use crate::host::init::{MODES, Mode};
use crate::host::install::{self, install};
use crate::host::service::{VERBS, service};
use crate::host::uninstall::{self, uninstall};
use crate::host::{self, HostError};
use alloc::format;
use alloc::string::String;

/// Runs `omsd install`.
pub fn install_command(arguments: &[String]) -> Exit {
    let mut options = options();
    root_option(&mut options);
    options.optopt("", "prefix", &format!("the program goes to DIR/bin (default {})", host::PREFIX), "DIR");
    options.optopt("", "user", "account to run as, by name or UID:GID (default omsd, made if it is not there)", "NAME");
    options.optopt("", "mode", "systemd, sysv, upstart, openrc, cron or none (default: what the host has)", "MODE");
    options.optflag("", "dry-run", "say what would be done, and do nothing");
    options.optflag("", "no-syslog", "leave rsyslog and syslog-ng as they are");
    ended(|| {
        let matches = parse(&options, "omsd install [options]", arguments)?;
        let mode = matches.opt_str("mode").map(|name| mode(&name)).transpose()?;
        let wish = install::Wish {
            root: root_of(&matches),
            prefix: matches.opt_str("prefix"),
            user: matches.opt_str("user"),
            mode,
            is_dry: matches.opt_present("dry-run"),
            forwards: !matches.opt_present("no-syslog"),
        };
        install(&wish).map_err(failed)?;
        Ok(Exit::Ok)
    })
}

fn mode(name: &str) -> Result<Mode, Exit> {
    Mode::from_name(name).ok_or_else(|| {
        let names = MODES.map(|(_, name)| name).join(", ");
        usage_error(&format!("--mode takes: {names}"))
    })
}

/// Runs `omsd uninstall`.
pub fn uninstall_command(arguments: &[String]) -> Exit {
    let mut options = options();
    root_option(&mut options);
    options.optflag("", "purge", "also configuration, identities, state, and the account if install made it");
    options.optflag("", "dry-run", "say what would be done, and do nothing");
    ended(|| {
        let matches = parse(&options, "omsd uninstall [options]", arguments)?;
        let wish = uninstall::Wish {
            root: root_of(&matches),
            purges: matches.opt_present("purge"),
            is_dry: matches.opt_present("dry-run"),
        };
        Ok(if uninstall(&wish).map_err(failed)? { Exit::Ok } else { Exit::StateIo })
    })
}

/// Runs `omsd service`.
pub fn service_command(arguments: &[String]) -> Exit {
    ended(|| {
        let names = VERBS.map(|(_, name)| name).join("|");
        let matches = parse_with_words(&options(), &format!("omsd service {names}"), arguments)?;
        let [name] = &matches.free[..] else { return Err(usage_error(&format!("service takes one of {names}"))) };
        let verb = VERBS.iter().find(|(_, known)| known == name);
        let (verb, _) = verb.ok_or_else(|| usage_error(&format!("service takes one of {names}")))?;
        if service(*verb).map_err(failed)? {
            return Ok(Exit::Ok);
        }
        say("omsd does not run\n");
        Ok(Exit::TryAgain)
    })
}

fn failed(error: HostError) -> Exit {
    eprintln!("omsd: {error}");
    Exit::from_code(error.exit_code())
}
