//! `omsd run`: the agent in the foreground, in the background, or as cron starts it.

use super::ensure::{ensure, look};
use super::{Exit, ended, options, parse, root_of, root_option, usage_error};
use crate::agent::caller::{self, Began, Caller};
use crate::agent::ensure::{Action, Memory, decide};
use crate::agent::log::Log;
use crate::agent::once::{Budget, Hindrance};
use crate::agent::paths::Paths;
use crate::agent::{self, Ended, Settings, StartError};
use crate::config::LogLevel;
use crate::host::import;
use crate::limits::{ONCE_BUDGET_S_DEFAULT, ONCE_BUDGET_S_MAX, ONCE_BUDGET_S_MIN, ONCE_OVER_S, START_MS_MAX};
use crate::sys::{clock, process};
use alloc::string::{String, ToString};
use getopts::Matches;
use std::io;
use std::path::{Path, PathBuf};

/// How an agent is to run.
enum Way {
    Foreground,
    Daemon,
    Ensure,
    Once { strict: bool },
}

pub fn command(arguments: &[String]) -> Exit {
    ended(|| {
        let (way, settings) = asked(arguments)?;
        Ok(match way {
            Way::Foreground => in_foreground(settings),
            Way::Daemon => daemon(&settings),
            Way::Ensure => ensure(&settings),
            Way::Once { strict } => once(settings, strict),
        })
    })
}

/// What the arguments ask for. Apart from what follows: an agent need not carry the descriptions of its options along.
#[inline(never)]
fn asked(arguments: &[String]) -> Result<(Way, Settings), Exit> {
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
    options.optflag(
        "",
        "once",
        "for cron where nothing may stay resident: collect and upload within --budget, and end",
    );
    options.optopt("", "budget", "seconds that --once may take, 5 to 3600 (50); 10 less than from run to run", "N");
    options.optflag("", "strict", "--once ends with 75 where another agent runs, not with 0");
    options.optflag("v", "verbose", "log each upload");
    let matches = parse(&options, "omsd run [options]", arguments)?;
    if matches.opt_present("demo") && matches.opt_present("config") {
        return Err(usage_error("--demo takes no --config"));
    }
    let mut ways = ["demo", "daemon", "ensure", "once"].into_iter().filter(|way| matches.opt_present(way));
    let (way, other) = (ways.next(), ways.next());
    if other.is_some() {
        return Err(usage_error("only one of --demo, --daemon, --ensure and --once"));
    }
    let strict = matches.opt_present("strict");
    if way != Some("once") && (matches.opt_present("budget") || strict) {
        return Err(usage_error("--budget and --strict go with --once"));
    }
    let way = match way {
        Some("daemon") => Way::Daemon,
        Some("ensure") => Way::Ensure,
        Some("once") => Way::Once { strict },
        _ => Way::Foreground,
    };
    Ok((way, settings_of(&matches)?))
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
        once: if matches.opt_present("once") { Some(budget_of(matches)?) } else { None },
        verbose: matches.opt_present("verbose"),
    })
}

fn budget_of(matches: &Matches) -> Result<Budget, Exit> {
    let began_ms = clock::monotonic_ms();
    let Some(text) = matches.opt_str("budget") else { return Ok(Budget { began_ms, seconds: ONCE_BUDGET_S_DEFAULT }) };
    let seconds = text.parse().ok().filter(|seconds| (ONCE_BUDGET_S_MIN..=ONCE_BUDGET_S_MAX).contains(seconds));
    let wrong = || usage_error("--budget takes 5 to 3600 seconds");
    seconds.map(|seconds| Budget { began_ms, seconds }).ok_or_else(wrong)
}

/// One run of bounded time, silent unless it fails.
fn once(settings: Settings, strict: bool) -> Exit {
    if let Some(budget) = settings.once {
        process::end_in(budget.seconds + ONCE_OVER_S);
    }
    let paths = Paths::below(&settings.root);
    let (exit, text) = match agent::start(settings, &mut Caller::default()) {
        Ok(Ended::Stopped) => return Exit::Ok,
        Ok(ended @ Ended::Hindered(hindrance)) => (exit_of_end(ended), describe(hindrance).to_string()),
        Ok(ended) => (exit_of_end(ended), String::from("the run failed: the agent's log says why")),
        Err(StartError::Locked(_)) if hangs(&paths) => {
            (Exit::TryAgain, String::from("an agent runs here that hangs: omsd stop --kill ends it"))
        }
        Err(StartError::Locked(_)) if !strict => return Exit::Ok,
        Err(StartError::Configuration) => {
            (Exit::Configuration, String::from("the configuration has errors: omsd check shows them"))
        }
        Err(error) => (exit_of(&error), text_of(&error, paths.root())),
    };
    fail_once_an_hour(&paths, &mut Memory::load(&paths), exit, &alloc::format!("once {text}"), &text)
}

/// Whether the holder of the lock shows no sign of life. It is not ended: this is no service that keeps one alive.
fn hangs(paths: &Paths) -> bool {
    let facts = look(paths, 0, &Memory::default());
    facts.is_ok_and(|facts| matches!(decide(&facts), Action::Suspect | Action::Replace))
}

fn describe(hindrance: Hindrance) -> &'static str {
    match hindrance {
        Hindrance::ClockNotSet => "this host's clock is not set: records are kept, and sent when it is",
        Hindrance::NoChild => "no process to upload with could be started: records are kept, and sent when one can",
        Hindrance::Refused => "the service refuses this host: records are kept, and tried again; omsd status says why",
        Hindrance::Stuck => "what waits has not become less for three runs: omsd status says why",
    }
}

/// Says what failed, if that was not said within the last hour.
pub fn fail_once_an_hour(paths: &Paths, memory: &mut Memory, exit: Exit, cause: &str, text: &str) -> Exit {
    if memory.is_news(cause, clock::monotonic_ms()) {
        eprintln!("omsd: {text}");
        // What cannot be remembered is told again.
        let _ = memory.save(paths);
    }
    exit
}

fn in_foreground(settings: Settings) -> Exit {
    let root = settings.root.clone();
    agent::start(settings, &mut Caller::default()).map_or_else(|error| told(&error, &root), exit_of_end)
}

fn told(error: &StartError, root: &Path) -> Exit {
    eprintln!("omsd: {}", text_of(error, root));
    exit_of(error)
}

/// The error, and who it may be that has the port.
fn text_of(error: &StartError, root: &Path) -> String {
    let original = match error {
        StartError::Source(open) if open.cause.kind() == io::ErrorKind::AddrInUse => import::running(root),
        _ => None,
    };
    original.map_or_else(|| error.to_string(), |original| alloc::format!("{error}. {original}"))
}

fn daemon(settings: &Settings) -> Exit {
    // What is wrong with the configuration is shown here, where somebody reads it.
    let log = Log::new(LogLevel::Warn);
    if let Err(error) = agent::load_for_background(settings, &Paths::below(&settings.root), &log) {
        return told(&error, &settings.root);
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
                caller.failed(exit_of(&error) as u8, &text_of(&error, &settings.root));
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
        Ended::Hindered(Hindrance::Refused) => Exit::Refused,
        Ended::Hindered(_) => Exit::TryAgain,
        Ended::ModuleBroken => Exit::SelfTest,
    }
}

fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::Configuration | StartError::NoOutput => Exit::Configuration,
        StartError::Fips(refused) => Exit::from_code(refused.exit_code()),
        StartError::Sandbox(_) => Exit::Permission,
        StartError::Create(_, cause) if cause.kind() == io::ErrorKind::PermissionDenied => Exit::Permission,
        StartError::Source(error) if error.cause.kind() == io::ErrorKind::PermissionDenied => Exit::Permission,
        StartError::Create(_, cause) if is_full(cause) => Exit::StateIo,
        StartError::Create(..) | StartError::Source(_) | StartError::OfNetwork(_) => Exit::CannotCreate,
        StartError::Ring(..) => Exit::StateIo,
        StartError::Locked(_) | StartError::Signals(_) => Exit::TryAgain,
    }
}

fn is_full(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
