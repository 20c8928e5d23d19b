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

/// Sees to it that an agent runs. Silent unless it fails.
pub fn ensure(settings: &Settings) -> Exit {
    let paths = Paths::below(&settings.root);
    let mut memory = Memory::load(&paths);
    let failed = |memory: &mut Memory, (exit, cause, text): (Exit, String, String)| {
        fail_once_an_hour(&paths, memory, exit, &cause, &text)
    };
    let digest = match load_for_background(settings, &paths, &Log::new(LogLevel::Fatal)) {
        Ok((_, digest)) => digest.0,
        Err(error) => {
            let text = match error {
                StartError::Configuration => String::from("the configuration has errors: omsd check shows them"),
                other => other.to_string(),
            };
            return failed(&mut memory, (Exit::Configuration, String::from("configuration"), text));
        }
    };
    for _ in 0..LOOKS_MAX {
        let facts = match look(&paths, digest, &memory) {
            Ok(facts) => facts,
            Err(error) => {
                let text = format!("{}: {error}", paths.lock().display());
                let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
                let exit = if denied { Exit::Permission } else { Exit::StateIo };
                return failed(&mut memory, (exit, String::from("lock"), text));
            }
        };
        let step = match decide(&facts) {
            Action::Leave => Ok(Exit::Ok),
            Action::Note => {
                let text = String::from("the running agent has not written its status for more than 90 s");
                Ok(failed(&mut memory, (Exit::Ok, String::from("note"), text)))
            }
            Action::Suspect => {
                memory.suspicion = facts.suspicion();
                let _ = memory.save(&paths);
                Ok(Exit::Ok)
            }
            Action::Brake { crashes } => {
                let text = format!("it crashed {crashes} times in a row: it is started every 5, then every 15 minutes");
                Err((Exit::TryAgain, String::from("brake"), text))
            }
            Action::HandOver => match control::stop(&paths, HAND_OVER_MS_MAX, None) {
                Answer::Done | Answer::NotRunning => continue,
                answer => Err(not_ended(&answer)),
            },
            Action::Replace => match control::stop(&paths, STALE_TERM_MS, Some(KILL_MS_MAX)) {
                Answer::Done | Answer::Killed | Answer::NotRunning => continue,
                answer => Err(not_ended(&answer)),
            },
            Action::Start { crashes } => {
                let at_ms = clock::monotonic_ms();
                let (pid, exit, text) = detach(settings);
                // Another was faster: that is what was wanted.
                if exit == Exit::TryAgain && matches!(lock::holder(&paths), Ok(Holder::Held(_))) {
                    continue;
                }
                (memory.start, memory.suspicion) = (Some(Start { pid, at_ms, crashes }), None);
                let _ = memory.save(&paths);
                if exit == Exit::Ok { Ok(exit) } else { Err((exit, format!("start {}", exit as u8), text)) }
            }
        };
        return step.unwrap_or_else(|failure| failed(&mut memory, failure));
    }
    Exit::Ok
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

fn not_ended(answer: &Answer) -> (Exit, String, String) {
    let (exit, text) = match answer {
        Answer::Denied(error) => (Exit::Permission, format!("the running agent cannot be told to end: {error}")),
        Answer::Unsure => (
            Exit::TryAgain,
            String::from("the running agent is to end, but which process it is cannot be made sure of: end it by hand"),
        ),
        _ => (Exit::TryAgain, String::from("the running agent does not end; none is started beside it")),
    };
    (exit, String::from("not ended"), text)
}
