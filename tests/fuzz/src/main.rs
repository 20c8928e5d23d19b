//! `fuzz TARGET|all [--seconds N] [--seed S]` looks for failures; `fuzz TARGET FILE...` replays them.

use omsd_fuzz::{TARGETS, Target, drive};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

const USAGE: &str = "\
usage: fuzz TARGET|all [--seconds N] [--seed S]    look for inputs against a property (5 s each)
       fuzz TARGET FILE...                         check these inputs; a failure shows its panic
       fuzz list                                   the targets' names
";

struct Asked {
    targets: Vec<Target>,
    seconds: u64,
    seed: u64,
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["list"] {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        return ExitCode::SUCCESS;
    }
    let Some(asked) = read(&arguments) else {
        eprint!("{USAGE}");
        return ExitCode::from(64);
    };
    if asked.files.is_empty() { search(&asked) } else { replay(&asked) }
}

fn read(arguments: &[String]) -> Option<Asked> {
    let mut arguments = arguments.iter();
    let name = arguments.next()?;
    let targets: Vec<Target> =
        TARGETS.into_iter().filter(|target| name == "all" || name.as_str() == target.name).collect();
    let by_clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let mut asked = Asked { targets, seconds: 5, seed: by_clock, files: Vec::new() };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => asked.seconds = arguments.next()?.parse().ok()?,
            "--seed" => asked.seed = arguments.next()?.parse().ok()?,
            option if option.starts_with('-') => return None,
            file => asked.files.push(file.into()),
        }
    }
    let understood = !asked.targets.is_empty() && (asked.files.is_empty() || name != "all");
    understood.then_some(asked)
}

fn search(asked: &Asked) -> ExitCode {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = ExitCode::SUCCESS;
    println!("seed {}, {} s each", asked.seed, asked.seconds);
    for target in &asked.targets {
        let seeds = match drive::seeds(&here.join("seeds").join(target.name)) {
            Ok(seeds) => seeds,
            Err(error) => {
                println!("{}: no seeds: {error}", target.name);
                return ExitCode::FAILURE;
            }
        };
        let artifacts = here.join("artifacts");
        let report = drive::run(target, &seeds, asked.seed, asked.seconds, &artifacts);
        let per_second = report.executions as f64 / report.seconds;
        let result = if report.failure.is_some() { "FAILED" } else { "ok" };
        println!("{:<24}{result}, {} executions, {per_second:.0} a second", target.name, report.executions);
        if let Some((input, said)) = report.failure {
            println!("{said}");
            drive::report_stored(&artifacts, target.name, &input);
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn replay(asked: &Asked) -> ExitCode {
    for path in &asked.files {
        match std::fs::read(path) {
            Ok(input) => asked.targets.iter().for_each(|target| (target.check)(&input)),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                return ExitCode::from(66);
            }
        }
        println!("{}: ok", path.display());
    }
    ExitCode::SUCCESS
}
