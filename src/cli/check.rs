//! `omsd check`: findings as lines for people or for programs, and the worst of them as the exit code.

use super::{Exit, options, parse_with_words, root_of, root_option, say, usage_error};
use crate::check::{self, Scene, Sum, Wanted};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use miniserde::json;
use std::path::PathBuf;

/// Checks of a configuration's file alone.
const OF_A_FILE: [&str; 2] = ["cfg.parse", "sys.fips"];

/// Runs `omsd check`. A wrong command line is "could not check", too.
pub fn command(arguments: &[String]) -> Exit {
    match run(arguments) {
        Ok(code) => Exit::of_check(code),
        Err(Exit::Usage) => Exit::Unchecked,
        Err(exit) => exit,
    }
}

fn run(arguments: &[String]) -> Result<u8, Exit> {
    let mut options = options();
    root_option(&mut options);
    options.optopt("c", "config", "check this configuration only, not the host", "FILE");
    options.optflag("", "offline", "ask neither name servers nor the service");
    options.optflag("", "online", "has no effect: that is the default");
    options.optflag("", "syslog", "send a message through the syslog daemon, and wait for it in the ring");
    options.optflag("", "active", "the same");
    options.optflag("", "json", "one JSON object a line");
    let brief = format!(
        "omsd check [options] [ID...]\n\nIDs, or the part of one in front of the dot: {}",
        check::ids().collect::<Vec<_>>().join(" ")
    );
    let matches = parse_with_words(&options, &brief, arguments)?;
    if let Some(unknown) = matches.free.iter().find(|id| !check::ids().any(|known| check::is_meant(id, known))) {
        return Err(usage_error(&format!("there is no check {unknown}")));
    }
    let file = matches.opt_str("config").map(PathBuf::from);
    let ids = match file.is_some() && matches.free.is_empty() {
        true => OF_A_FILE.iter().map(ToString::to_string).collect(),
        false => matches.free.clone(),
    };
    let wanted = Wanted {
        ids,
        offline: matches.opt_present("offline"),
        active: matches.opt_present("syslog") || matches.opt_present("active"),
    };
    let is_json = matches.opt_present("json");
    let mut sum = Sum::default();
    check::run(&Scene::new(&root_of(&matches), file), &wanted, |finding| {
        sum.add(finding.result);
        say(&if is_json { json::to_string(finding) + "\n" } else { finding.describe() });
    });
    if !is_json {
        say(&sum.describe());
    }
    Ok(sum.exit_code())
}
