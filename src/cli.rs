//! argv to a command: options, usage text, exit codes.

mod check;
mod collect_logs;
mod control;
mod ensure;
mod import;
mod install;
mod onboard;
mod ring;
mod run;
mod sample;
mod status;

use crate::config::SyslogTable;
use crate::crypto;
use crate::sys::{memory, process, signal};
use crate::syslog::iso8601;
#[cfg(feature = "fips")]
use crate::upload::https;
use crate::upload::items::rows::RowForm;
use crate::upload::render;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use getopts::{Matches, Options};
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// How a command ends. Source: sysexits(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do. Of `check`: all passed.
    Ok = 0,
    /// Of `check`: a warning. It ends as a monitoring plug-in does.
    Warned = 1,
    /// Of `check`: a failure.
    Failed = 2,
    /// Of `check`: nothing could be checked.
    Unchecked = 3,
    /// Unknown option or combination.
    Usage = 64,
    /// The service said no for good.
    Refused = 69,
    /// Our own invariant or generator failed.
    SelfTest = 70,
    /// A file, directory or socket cannot be made.
    CannotCreate = 73,
    /// The disk failed, or the ring is damaged beyond repair.
    StateIo = 74,
    /// Network, another instance: later.
    TryAgain = 75,
    /// Ids, modes, a denial.
    Permission = 77,
    /// The configuration has errors, or this build may not run here.
    Configuration = 78,
}

impl Exit {
    const ALL: [Exit; 9] = [
        Exit::Ok,
        Exit::Usage,
        Exit::Refused,
        Exit::SelfTest,
        Exit::CannotCreate,
        Exit::StateIo,
        Exit::TryAgain,
        Exit::Permission,
        Exit::Configuration,
    ];

    /// How `check` ends with this code.
    fn of_check(code: u8) -> Exit {
        [Exit::Ok, Exit::Warned, Exit::Failed].get(usize::from(code)).copied().unwrap_or(Exit::Unchecked)
    }

    /// The exit of this code; codes that are none of ours are "try again".
    fn from_code(code: u8) -> Exit {
        Exit::ALL.into_iter().find(|&exit| exit as u8 == code).unwrap_or(Exit::TryAgain)
    }
}

/// A command: its name, what it is for, what it does.
struct Command {
    name: &'static str,
    purpose: &'static str,
    run: fn(&[String]) -> Exit,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "run",
        purpose: "collect and upload: in the foreground, in the background, or from cron",
        run: run::command,
    },
    Command { name: "stop", purpose: "end the running agent, and wait until it has ended", run: control::stop },
    Command {
        name: "reload",
        purpose: "have the running agent take a changed configuration, and say whether it did",
        run: control::reload,
    },
    Command {
        name: "onboard",
        purpose: "register this host with a workspace, or list where it is",
        run: onboard::command,
    },
    Command {
        name: "import",
        purpose: "take over what Microsoft's agent knows, or give it back",
        run: import::command,
    },
    Command {
        name: "check",
        purpose: "what is right and wrong on this host and on the way to the service",
        run: check::command,
    },
    Command {
        name: "status",
        purpose: "whether omsd lives, when it last uploaded, and what was lost and why",
        run: status::command,
    },
    Command {
        name: "collect-logs",
        purpose: "an archive for those who help, without secrets",
        run: collect_logs::command,
    },
    Command {
        name: "render",
        purpose: "raw syslog lines on standard input to the items that would be uploaded",
        run: render_lines,
    },
    Command {
        name: "sample",
        purpose: "performance counters of this host, as they would be sent",
        run: sample::command,
    },
    Command { name: "ring", purpose: "list, dump or verify a ring file", run: ring::command },
    Command { name: "install", purpose: "make this host run it, or upgrade that", run: install::install_command },
    Command {
        name: "uninstall",
        purpose: "take all of that back; --purge: without trace",
        run: install::uninstall_command,
    },
    Command {
        name: "service",
        purpose: "start, stop, restart, status, enable, disable: whoever supervises",
        run: install::service_command,
    },
    Command { name: "version", purpose: "version, target and TLS provider", run: version },
];

/// Runs the command that the arguments (without the program's name) ask for.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    memory::seal_relocations();
    process::restrict_file_modes();
    signal::ignore_file_and_pipe_signals();
    let arguments: Result<Vec<String>, OsString> = arguments.map(OsString::into_string).collect();
    let exit = match arguments {
        Ok(arguments) => dispatch(&arguments),
        Err(argument) => usage_error(&alloc::format!("{} is not valid UTF-8", argument.display())),
    };
    ExitCode::from(exit as u8)
}

fn dispatch(arguments: &[String]) -> Exit {
    let Some((name, rest)) = arguments.split_first() else {
        eprint_usage();
        return Exit::Usage;
    };
    match name.as_str() {
        "-h" | "--help" | "help" => {
            say(&usage());
            Exit::Ok
        }
        "-V" | "--version" => version(&[]),
        name => match COMMANDS.iter().find(|command| command.name == name) {
            Some(command) => (command.run)(rest),
            None => usage_error(&alloc::format!("there is no command {name}")),
        },
    }
}

fn usage() -> String {
    let mut text = String::from("Usage: omsd COMMAND [options]\n\nCommands:\n");
    for command in COMMANDS {
        text.push_str(&alloc::format!("    {:12}  {}\n", command.name, command.purpose));
    }
    text.push_str("\nEach command has -h. To see it work: omsd run --demo\n");
    text
}

fn eprint_usage() {
    let _ = io::stderr().write_all(usage().as_bytes());
}

/// Writes to standard output. Whether anybody hears it makes no difference: the exit code is the answer.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Writes to standard output what the command is about. `Err` is how it ends then.
fn print(text: &str) -> Result<(), Exit> {
    printed(io::stdout().write_all(text.as_bytes()))
}

/// A reader that has gone is no error of ours, but there is nothing more to do.
fn printed(written: io::Result<()>) -> Result<(), Exit> {
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Exit::Ok,
        _ => {
            eprintln!("omsd: {error}");
            Exit::StateIo
        }
    })
}

fn usage_error(text: &str) -> Exit {
    eprintln!("omsd: {text}; see omsd -h");
    Exit::Usage
}

/// Options that every command has.
fn options() -> Options {
    let mut options = Options::new();
    options.optflag("h", "help", "show this");
    options
}

fn root_option(options: &mut Options) {
    options.optopt("", "root", "put this directory in front of every path", "DIR");
}

fn root_of(matches: &Matches) -> PathBuf {
    PathBuf::from(matches.opt_str("root").unwrap_or_else(|| "/".to_string()))
}

/// Parses what a command is given that takes options and nothing else. `Err` is how it ends: help was shown, or the usage was wrong.
fn parse(options: &Options, brief: &str, arguments: &[String]) -> Result<Matches, Exit> {
    let matches = parse_with_words(options, brief, arguments)?;
    no_word(&matches)?;
    Ok(matches)
}

/// As [`parse`], for a command that takes words, too.
fn parse_with_words(options: &Options, brief: &str, arguments: &[String]) -> Result<Matches, Exit> {
    let matches = options.parse(arguments).map_err(|fail| {
        eprintln!("omsd: {fail}");
        eprintln!("{}", options.short_usage(brief));
        Exit::Usage
    })?;
    if matches.opt_present("help") {
        say(&options.usage(&alloc::format!("Usage: {brief}")));
        return Err(Exit::Ok);
    }
    Ok(matches)
}

fn no_word(matches: &Matches) -> Result<(), Exit> {
    matches.free.first().map_or(Ok(()), |extra| Err(usage_error(&alloc::format!("{extra} is not expected here"))))
}

/// Makes the `?` of a command's steps its exit code.
fn ended(steps: impl FnOnce() -> Result<Exit, Exit>) -> Exit {
    steps().unwrap_or_else(|exit| exit)
}

fn render_lines(arguments: &[String]) -> Exit {
    let mut options = options();
    options.optopt("", "as", "the destination's form: oms (default), ingestion or ingestion-cef", "FORM");
    options.optopt("", "now", "take lines as received then (RFC 3339), not now", "TIME");
    ended(|| {
        let matches = parse(&options, "omsd render [options] < lines", arguments)?;
        let rows = |table| render::Form::Rows(RowForm { table, ..RowForm::default() });
        let form = match matches.opt_str("as").as_deref() {
            None | Some("oms") => render::Form::Oms,
            Some("ingestion") => rows(SyslogTable::Syslog),
            Some("ingestion-cef") => rows(SyslogTable::CommonSecurityLog),
            Some(_) => return Err(usage_error("--as takes: oms, ingestion, ingestion-cef")),
        };
        let now_us = match matches.opt_str("now") {
            None => None,
            Some(text) => {
                let time = iso8601::unix_us(&text).and_then(|us| u64::try_from(us).ok());
                Some(time.ok_or_else(|| usage_error("--now takes a time such as 2026-11-22T07:00:00Z"))?)
            }
        };
        printed(render::render(form, io::stdin().lock(), io::stdout().lock(), now_us))?;
        Ok(Exit::Ok)
    })
}

fn version(arguments: &[String]) -> Exit {
    ended(|| {
        parse(&options(), "omsd version", arguments)?;
        say(&version_text());
        Ok(Exit::Ok)
    })
}

fn version_text() -> String {
    alloc::format!(
        "omsd {} ({}-{}{})\n{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        if cfg!(target_env = "musl") { "linux-musl" } else { "linux" },
        if cfg!(feature = "fips") { ", FIPS build" } else { "" },
        about_module(),
    )
}

/// What the module says of itself, and what may be said of it.
#[cfg(feature = "fips")]
fn about_module() -> String {
    let answer = |yes| if yes { "FIPS" } else { "not FIPS" };
    alloc::format!(
        "module: {} {}, answers: {}\nTLS configuration answers: {}\ncertificate: {}\n",
        crypto::NAME,
        crypto::version(),
        answer(crypto::fips()),
        answer(https::fips()),
        crypto::CERTIFICATE,
    )
}

#[cfg(not(feature = "fips"))]
fn about_module() -> String {
    alloc::format!("module: {}, approved algorithms only; not a FIPS validated module\n", crypto::NAME)
}
