//! `omsd import`: takes over what Microsoft's agent knows on this host, or gives it back.

use super::status::is_running;
use super::{Exit, ended, options, parse, root_of, root_option, say, usage_error};
use crate::host::import::{self, ImportError, Request, SERVICE_CONTROL};
use alloc::format;
use alloc::string::String;
use std::path::{Path, PathBuf};

const BRIEF: &str = "omsd import [--from DIR] [-w ID]... [--no-config] [--dry-run] [--root DIR]\n       omsd import --undo [--root DIR]";

/// Runs `omsd import`. Its exit codes are those of [`ImportError::exit_code`].
pub fn command(arguments: &[String]) -> Exit {
    let mut options = options();
    root_option(&mut options);
    options.optopt("", "from", &format!("the original's configuration (default ROOT{})", import::ORIGINAL), "DIR");
    options.optmulti("w", "workspace", "take this workspace, and no other that is not named", "ID");
    options.optflag("", "no-config", "take identity and proxy, not the configuration");
    options.optflag("", "dry-run", "say what would be taken over, and write nothing");
    options.optflag("", "undo", "give back: take away what an import wrote");
    ended(|| {
        let matches = parse(&options, BRIEF, arguments)?;
        let root = root_of(&matches);
        let dry = matches.opt_present("dry-run");
        if matches.opt_present("undo") {
            if dry {
                return Err(usage_error("--undo takes no --dry-run"));
            }
            return undo(&root).map_err(fail);
        }
        let from = matches.opt_str("from").map(PathBuf::from);
        let workspaces = matches.opt_strs("workspace");
        let request = Request {
            root: &root,
            from: from.as_deref(),
            workspaces: &workspaces,
            no_config: matches.opt_present("no-config"),
        };
        take(&request, dry).map_err(fail)
    })
}

fn take(request: &Request, dry: bool) -> Result<Exit, ImportError> {
    let found = import::look(request)?;
    say(&format!("{found}"));
    found.notes.iter().for_each(|note| say(&format!("Note: {note}.\n")));
    if dry {
        say("Nothing was written: this is what `omsd import` would take over.\n");
        return Ok(Exit::Ok);
    }
    found.take()?;
    let restart = if is_running(request.root) { ", once the omsd that runs is restarted" } else { "" };
    say(&format!("All this is omsd's now{restart}. The original's files are as they were.\n"));
    Ok(Exit::Ok)
}

fn undo(root: &Path) -> Result<Exit, ImportError> {
    if is_running(root) {
        return Err(ImportError::InTheWay(String::from("omsd runs: stop it first (`omsd service stop`)")));
    }
    let notes = import::give_back(root)?;
    notes.iter().for_each(|note| say(&format!("Note: {note}.\n")));
    say(&format!("Given back. `{SERVICE_CONTROL} start` starts the original.\n"));
    Ok(Exit::Ok)
}

fn fail(error: ImportError) -> Exit {
    eprintln!("omsd: {error}");
    Exit::from_code(error.exit_code())
}
