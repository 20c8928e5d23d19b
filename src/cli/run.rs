//! `omsd run`: the agent in the foreground, in the background, or as cron starts it.

use super::ensure::ensure;
use super::{Exit, ended, no_free, options, parse, root_of, root_option, usage_error};
use crate::agent::caller::{self, Began, Caller};
use crate::agent::log::Log;
use crate::agent::paths::Paths;
use crate::agent::{self, Ended, Settings, StartError};
use crate::config::LogLevel;
use crate::limits::START_MS_MAX;
use alloc::string::{String, ToString};
use getopts::Matches;
use std::eprintln;
use std::io;
use std::path::PathBuf;

pub fn command(arguments: &[String]) -> Exit {
    let mut options = options();
    root_option(&mut options);
    options.optopt("c", "config", "configuration to use in place of ROOT/etc/opt/omsd/omsd.conf", "FILE");
    options.optflag("", "demo", "no configuration, no privilege: print what arrives as request bodies");
    options.optflag("", "daemon", "in the background; ends when the agent runs, or says why it does not");
    options.optflag(
        "",
        "ensure",
        "for cron, each minute: see to it that one runs in the background; silent when one does",
    );
    options.optflag("v", "verbose", "log each upload");
    ended(|| {
        let matches = parse(&options, "omsd run [options]", arguments)?;
        no_free(&matches)?;
        if matches.opt_present("demo") && matches.opt_present("config") {
            return Err(usage_error("--demo takes no --config"));
        }
        let mut ways = ["demo", "daemon", "ensure"].into_iter().filter(|way| matches.opt_present(way));
        let (way, other) = (ways.next(), ways.next());
        if other.is_some() {
            return Err(usage_error("only one of --demo, --daemon and --ensure"));
        }
        let settings = settings_of(&matches)?;
        Ok(match way {
            Some("daemon") => daemon(&settings),
            Some("ensure") => ensure(&settings),
            _ => in_foreground(settings),
        })
    })
}

/// An agent that leaves its caller's directory needs whole paths.
fn settings_of(matches: &Matches) -> Result<Settings, Exit> {
    let whole = |path: PathBuf| {
        std::path::absolute(&path).map_err(|error| {
            eprintln!("omsd: {}: {error}", path.display());
            Exit::CannotCreate
        })
    };
    Ok(Settings {
        root: whole(root_of(matches))?,
        config: matches.opt_str("config").map(PathBuf::from).map(whole).transpose()?,
        demo: matches.opt_present("demo"),
        verbose: matches.opt_present("verbose"),
    })
}

fn in_foreground(settings: Settings) -> Exit {
    agent::start(settings, &mut Caller::default()).map_or_else(|error| told(&error), exit_of_end)
}

fn told(error: &StartError) -> Exit {
    eprintln!("omsd: {error}");
    exit_of(error)
}

fn daemon(settings: &Settings) -> Exit {
    // What is wrong with the configuration is shown here, where somebody reads it.
    let log = Log::new(LogLevel::Warn);
    if let Err(error) = agent::load_for_background(settings, &Paths::below(&settings.root), &log) {
        return told(&error);
    }
    let (_, exit, text) = detach(settings);
    if !text.is_empty() {
        eprintln!("omsd: {text}");
    }
    exit
}

/// Starts an agent in the background; its process, how that went, and what to say of it.
pub fn detach(settings: &Settings) -> (u32, Exit, String) {
    let life = |mut caller: Caller| {
        let exit = agent::start(settings.clone(), &mut caller).map_or_else(
            |error| {
                caller.failed(exit_of(&error) as u8, &error.to_string());
                exit_of(&error)
            },
            exit_of_end,
        );
        exit as u8
    };
    let (pid, began) = match caller::detach(life) {
        Ok(detached) => detached,
        Err(error) => return (0, Exit::TryAgain, alloc::format!("no process for the agent: {error}")),
    };
    let (exit, text) = match began {
        Began::Ready => (Exit::Ok, String::new()),
        Began::Failed(code, reason) => (Exit::from_code(code), reason),
        Began::Lost(ended) => {
            let how = ended.map_or_else(|| String::from("no exit code"), |ended| ended.to_string());
            (Exit::SelfTest, alloc::format!("the agent ended before it ran ({how})"))
        }
        Began::Late => {
            let text = alloc::format!("the agent does not run after {} s; it goes on starting", START_MS_MAX / 1000);
            (Exit::TryAgain, text)
        }
    };
    (pid, exit, text)
}

fn exit_of_end(ended: Ended) -> Exit {
    match ended {
        Ended::Stopped => Exit::Ok,
        Ended::NotSynced => Exit::StateIo,
        Ended::ModuleBroken => Exit::SelfTest,
    }
}

fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::Configuration | StartError::NoOutput => Exit::Configuration,
        StartError::Fips(refused) => Exit::from_code(refused.exit_code()),
        StartError::Create(_, cause) if cause.kind() == io::ErrorKind::PermissionDenied => Exit::Permission,
        StartError::Source(error) if error.cause.kind() == io::ErrorKind::PermissionDenied => Exit::Permission,
        StartError::Create(..) | StartError::Source(_) | StartError::OfNetwork(_) => Exit::CannotCreate,
        StartError::Ring(..) => Exit::StateIo,
        StartError::Locked(_) | StartError::Signals(_) => Exit::TryAgain,
    }
}
