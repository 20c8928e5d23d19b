//! `omsd status`: what the running agent wrote last; one file is read, nothing else is looked at.

use super::{Exit, ended, options, parse, root_of, root_option, say};
use crate::agent::paths::Paths;
use crate::agent::status;
use alloc::string::String;
use std::io;
use std::path::Path;

/// Runs `omsd status`.
pub fn command(arguments: &[String]) -> Exit {
    let mut options = options();
    root_option(&mut options);
    options.optflag("", "json", "the status file as it is");
    ended(|| {
        let matches = parse(&options, "omsd status [options]", arguments)?;
        let paths = Paths::below(&root_of(&matches));
        let (text, status) = status::read(&paths).map_err(|error| {
            let path = paths.status();
            eprintln!("omsd: {}: {error}; an agent writes it when it starts", path.display());
            if error.kind() == io::ErrorKind::PermissionDenied { Exit::Permission } else { Exit::TryAgain }
        })?;
        match matches.opt_present("json") {
            true => say(&(text + "\n")),
            false => say(&status.describe(status.now_us())),
        }
        Ok(if status.is_alive() { Exit::Ok } else { Exit::TryAgain })
    })
}

/// Whether an agent says that it lives.
pub fn is_running(root: &Path) -> bool {
    status::read(&Paths::below(root)).is_ok_and(|(_, status)| status.is_alive())
}

/// What it prints, also where there is nothing to print.
pub fn described(paths: &Paths) -> String {
    match status::read(paths) {
        Ok((_, status)) => status.describe(status.now_us()),
        Err(error) => alloc::format!("{}: {error}\n", paths.status().display()),
    }
}
