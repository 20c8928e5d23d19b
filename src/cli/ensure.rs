//! `omsd run --ensure`: what cron calls each minute.

use super::Exit;
use super::run::{detach, fail_once_an_hour};
use crate::agent::control::{self, Answer};
use crate::agent::ensure::{Action, Facts, Memory, Sign, Start, decide};
use crate::agent::lock::{self, Holder};
use crate::agent::log::Log;
use crate::agent::paths::Paths;
use crate::agent::{Settings, StartError, load_for_background, status};
use crate::config::LogLevel;
use crate::limits::{HAND_OVER_MS_MAX, KILL_MS_MAX, LOCK_STEP_MS, LOCK_TRY_MS, STALE_TERM_MS};
use crate::sys::clock;
use alloc::format;
use alloc::string::{String, ToString};

/// Ending a holder makes the lock free, and starting may find it taken again: nothing needs more looks than this.
const LOOKS_MAX: usize = 4;

/// What to say of a call that failed: its exit code, its cause in a word or two, and a sentence.
type Failure = (Exit, String, String);

/// Sees to it that an agent runs. Silent unless it fails.
pub fn ensure(settings: &Settings) -> Exit {
    let paths = Paths::below(&settings.root);
    let mut memory = Memory::load(&paths);
    let well = digest(settings, &paths).and_then(|digest| see_to_it(settings, &paths, digest, &mut memory));
    match well {
        Ok(()) => Exit::Ok,
        Err((exit, cause, text)) => fail_once_an_hour(&paths, &mut memory, exit, &cause, &text),
    }
}

/// The digest of the configuration, if an agent in the background could go by it.
fn digest(settings: &Settings, paths: &Paths) -> Result<u64, Failure> {
    let loaded = load_for_background(settings, paths, &Log::new(LogLevel::Fatal));
    loaded.map(|(_, digest)| digest.0).map_err(|error| {
        let text = match error {
            StartError::Configuration => String::from("the configuration has errors: omsd check shows them"),
            other => other.to_string(),
        };
        (Exit::Configuration, String::from("configuration"), text)
    })
}

fn see_to_it(settings: &Settings, paths: &Paths, digest: u64, memory: &mut Memory) -> Result<(), Failure> {
    for _ in 0..LOOKS_MAX {
        let facts = look(paths, digest, memory).map_err(|error| {
            let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
            let exit = if denied { Exit::Permission } else { Exit::StateIo };
            (exit, String::from("lock"), format!("{}: {error}", paths.lock().display()))
        })?;
        match decide(&facts) {
            Action::Leave => return Ok(()),
            Action::Note => {
                let text = String::from("the running agent has not written its status for more than 90 s");
                return Err((Exit::Ok, String::from("note"), text));
            }
            Action::Suspect => {
                memory.suspicion = facts.suspicion();
                // What cannot be remembered is found again.
                let _ = memory.save(paths);
                return Ok(());
            }
            Action::Brake { crashes } => {
                let text = format!("it crashed {crashes} times in a row: it is started every 5, then every 15 minutes");
                return Err((Exit::TryAgain, String::from("brake"), text));
            }
            Action::HandOver => ended(control::stop(paths, HAND_OVER_MS_MAX, None))?,
            Action::Replace => ended(control::stop(paths, STALE_TERM_MS, Some(KILL_MS_MAX)))?,
            Action::Start { crashes } => {
                if let Some(done) = start(settings, paths, memory, crashes) {
                    return done;
                }
            }
        }
    }
    Ok(())
}

/// Starts an agent, and remembers that; `None`: another was faster, which is what was wanted.
fn start(settings: &Settings, paths: &Paths, memory: &mut Memory, crashes: u32) -> Option<Result<(), Failure>> {
    let at_ms = clock::monotonic_ms();
    let (pid, exit, text) = detach(settings);
    if exit == Exit::TryAgain && matches!(lock::holder(paths), Ok(Holder::Held(_))) {
        return None;
    }
    (memory.start, memory.suspicion) = (Some(Start { pid, at_ms, crashes }), None);
    // A crash that cannot be counted brakes nothing.
    let _ = memory.save(paths);
    Some(if exit == Exit::Ok { Ok(()) } else { Err((exit, format!("start {text}"), text)) })
}

/// What there is to decide by now.
pub fn look(paths: &Paths, configuration: u64, memory: &Memory) -> std::io::Result<Facts> {
    let boot_id = lock::boot_id();
    let status = status::read(paths).ok().and_then(|(_, status)| Sign::of(&status, &boot_id));
    let lock = settled_holder(paths)?;
    let (now_ms, program) = (clock::monotonic_ms(), lock::program());
    Ok(Facts { now_ms, boot_id, program, configuration, lock, status, memory: memory.clone() })
}

/// Who holds the lock, when that is somebody who lives: a child that was just forked has the lock of its killed parent for a moment,
/// and one that just took it has not said so yet.
fn settled_holder(paths: &Paths) -> std::io::Result<Holder> {
    let until_ms = clock::monotonic_ms() + LOCK_TRY_MS;
    loop {
        match lock::holder(paths)? {
            Holder::Held(record) if !record.is_alive() && clock::monotonic_ms() < until_ms => {
                clock::sleep_ms(LOCK_STEP_MS);
            }
            holder => return Ok(holder),
        }
    }
}

/// Whether the lock is free now, or why not.
fn ended(answer: Answer) -> Result<(), Failure> {
    let (exit, text) = match answer {
        Answer::Done | Answer::Killed | Answer::NotRunning => return Ok(()),
        Answer::Denied(error) => (Exit::Permission, format!("the running agent cannot be told to end: {error}")),
        Answer::Unsure => (
            Exit::TryAgain,
            String::from("the running agent is to end, but which process it is cannot be made sure of: end it by hand"),
        ),
        Answer::Refused | Answer::Beyond | Answer::Late => {
            (Exit::TryAgain, String::from("the running agent does not end; none is started beside it"))
        }
    };
    Err((exit, String::from("not ended"), text))
}
