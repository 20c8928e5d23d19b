//! `omsd stop` and `omsd reload`: what is asked of the agent that runs.

use super::{Exit, ended, options, parse, root_of, root_option, say};
use crate::agent::control::{self, Answer};
use crate::agent::paths::Paths;
use crate::host::forward::remove_dead_log;
use crate::host::service::is_supervised;
use crate::limits::{HAND_OVER_MS_MAX, KILL_MS_MAX, RELOAD_MS_MAX};
use alloc::string::String;
use std::io;
use std::path::Path;

pub fn stop(arguments: &[String]) -> Exit {
    let mut options = options();
    root_option(&mut options);
    options.optflag("", "kill", "an agent that does not end is killed; what it has read is in the ring");
    ended(|| {
        let matches = parse(&options, "omsd stop [options]", arguments)?;
        let kill_ms = matches.opt_present("kill").then_some(KILL_MS_MAX);
        let root = root_of(&matches);
        let answer = control::stop(&Paths::below(&root), HAND_OVER_MS_MAX, kill_ms);
        if matches!(answer, Answer::NotRunning | Answer::Done | Answer::Killed) {
            remove_dead_log(&root);
        }
        Ok(match answer {
            Answer::NotRunning => said("no omsd runs here"),
            Answer::Done => said("stopped"),
            Answer::Killed => said("killed: it did not end in time"),
            Answer::Late => failed(Exit::TryAgain, "it was told to end and has not: look again, or use --kill"),
            other => refused(&other),
        })
    })
}

pub fn reload(arguments: &[String]) -> Exit {
    let mut options = options();
    root_option(&mut options);
    ended(|| {
        let matches = parse(&options, "omsd reload [options]", arguments)?;
        let root = root_of(&matches);
        Ok(match control::reload(&Paths::below(&root), RELOAD_MS_MAX) {
            Answer::Done => said("the configuration was reloaded"),
            Answer::Refused => {
                let text = "the configuration was not reloaded, the old one stays in force: omsd check and the agent's log say why";
                failed(Exit::Configuration, text)
            }
            Answer::Beyond => {
                let text = "the configuration was not reloaded, the old one stays in force: it needs what an agent gives up when it \
                            starts (its log says what). To start it afresh: ";
                failed(Exit::Permission, &(String::from(text) + &afresh(&root)))
            }
            Answer::NotRunning => failed(Exit::TryAgain, "no omsd runs here"),
            Answer::Late => failed(Exit::TryAgain, "the agent has not said whether it took the configuration"),
            other => refused(&other),
        })
    })
}

/// The command by which an agent is started afresh.
fn afresh(root: &Path) -> String {
    match root.to_str() {
        Some("/") if is_supervised() => String::from("omsd service restart"),
        Some("/") => String::from("omsd stop; omsd run --daemon"),
        _ => alloc::format!("omsd stop --root {0}; omsd run --daemon --root {0}", root.display()),
    }
}

fn said(text: &str) -> Exit {
    say(&alloc::format!("{text}\n"));
    Exit::Ok
}

fn failed(exit: Exit, text: &str) -> Exit {
    eprintln!("omsd: {text}");
    exit
}

/// What can keep any request from the agent.
fn refused(answer: &Answer) -> Exit {
    match answer {
        Answer::Denied(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            failed(Exit::Permission, "the agent runs as another account: be that, or root")
        }
        Answer::Denied(error) => failed(Exit::StateIo, &alloc::format!("{error}")),
        _ => {
            failed(Exit::TryAgain, "an omsd runs here, but which process it is cannot be made sure of: end it by hand")
        }
    }
}
