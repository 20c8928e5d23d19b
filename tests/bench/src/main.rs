//! Measures omsd, rsyslog and syslog-ng side by side: the same messages, the same service behind the same TLS, the same machine, one run;
//! and omsd beside collectd: the same counters.
//!
//! ```text
//!  messages.rs  what is sent            load.rs     how: paced, flat out, datagrams
//!  program.rs   the programs and their configurations
//!  service.rs   what they deliver to: the stand-in for omsd, sink.rs for the peers
//!  process.rs   what the kernel says of them: memory, processor, wake-ups, bytes written
//!  measure.rs   the measurements        overload.rs the one of a service that is down for long
//!                                       counters.rs those of performance counters
//!  report.rs    the tables and the budgets
//! ```
//!
//! Sender, services and sampler share the machine with what is measured; only the measured program's own processes are counted.

mod counters;
mod load;
mod measure;
mod messages;
mod overload;
mod process;
mod program;
mod report;
mod service;
mod sink;
mod sys;

use measure::{Bench, Measure, Scale};
use messages::Messages;
use program::Program;
use report::Figures;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: tests/bench/run [--quick] [--only NAME]... [--peers none|all|NAME]... [--queue MIB]
                       [--dir DIRECTORY] [--keep] [--check]

Measures omsd beside rsyslog, syslog-ng and, for counters, collectd, and prints Markdown tables. A full run takes about twenty minutes.

  --quick          a quarter of the time, for figures not to be quoted
  --only NAME      idle, steady, flood, unix, udp, counters (of omsd and collectd only), tls or overload (both of omsd
                   only); may be given again
  --peers NAME     none, all (without the option), rsyslog, syslog-ng or collectd; may be given again
  --no-omsd        only the peers
  --queue MIB      space on disk for what waits, for each program (without the option: 256; omsd's own default is 10);
                   overload takes what it needs: 1,647 MiB, or a tenth with --quick
  --dir DIRECTORY  where the programs keep their files: on a disk, not in memory (without the option: target/bench/run)
  --keep           leave those files
  --check          exit with 1 if omsd does not keep to a budget
";

struct Options {
    scale: Scale,
    measures: Vec<Measure>,
    programs: Vec<Program>,
    queue_mib: u32,
    dir: PathBuf,
    keep: bool,
    check: bool,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprint!("{message}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        scale: Scale::FULL,
        measures: Vec::new(),
        programs: Vec::new(),
        queue_mib: 256,
        dir: PathBuf::from("target/bench/run"),
        keep: false,
        check: false,
    };
    let (mut peers, mut ours) = (None::<Vec<Program>>, true);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} wants a value"));
        match name.as_str() {
            "--quick" => options.scale = Scale::QUICK,
            "--only" => {
                let name = value()?;
                let found = Measure::ALL.into_iter().find(|measure| measure.name() == name);
                options.measures.push(found.ok_or(format!("no measurement is called {name}"))?);
            }
            "--peers" => {
                let name = value()?;
                let all = Program::ALL.into_iter().filter(|program| *program != Program::Omsd);
                let chosen: Vec<Program> = all.filter(|program| name == "all" || program.name() == name).collect();
                if chosen.is_empty() && name != "none" {
                    return Err(format!("no peer is called {name}"));
                }
                peers.get_or_insert_default().extend(chosen);
            }
            "--no-omsd" => ours = false,
            "--queue" => {
                options.queue_mib = value()?.parse().map_err(|_| "--queue wants a number of MiB")?;
            }
            "--dir" => options.dir = PathBuf::from(value()?),
            "--keep" => options.keep = true,
            "--check" => options.check = true,
            "-h" | "--help" => return Ok(None),
            other => return Err(format!("unknown option {other}")),
        }
    }
    if options.measures.is_empty() {
        options.measures = Measure::ALL.to_vec();
    }
    let peers = peers.unwrap_or_else(|| Program::ALL[1..].to_vec());
    options.programs = Program::ALL
        .into_iter()
        .filter(|program| match program {
            Program::Omsd => ours,
            peer => peers.contains(peer),
        })
        .collect();
    Ok(Some(options))
}

/// Whether everything was measured and, where that was asked, every budget kept.
fn run(options: &Options) -> io::Result<bool> {
    std::fs::create_dir_all(&options.dir)?;
    let dir = options.dir.canonicalize()?;
    let mut messages = Messages::make();
    let mut next = 0;
    let mut results = Vec::new();
    let mut failures = Vec::new();
    let services = options.programs.iter().map(|program| program.service()).collect::<io::Result<Vec<_>>>()?;
    for (&program, service) in options.programs.iter().zip(&services) {
        program.prepare(&dir.join(program.name()), service)?;
        results.push((program, Figures::default()));
    }
    // One measurement of all programs before the next: a machine that changes its mind changes it for all.
    for &measure in &options.measures {
        for ((program, figures), service) in results.iter_mut().zip(&services) {
            if !program.takes_part(measure) {
                continue;
            }
            eprintln!("{}: {}", measure.name(), program.name());
            let dir = dir.join(program.name());
            let mut bench = Bench {
                program: *program,
                service,
                dir,
                messages: &mut messages,
                next: &mut next,
                scale: options.scale,
                queue_mib: options.queue_mib,
            };
            if let Err(error) = bench.run(measure, figures) {
                failures.push(format!("{} of {}: {error}", measure.name(), program.name()));
            }
        }
    }
    if !options.keep {
        std::fs::remove_dir_all(&dir)?;
    }
    let is_fips = options.programs.contains(&Program::Omsd) && Program::Omsd.version().contains("FIPS build");
    for table in [report::markdown(&results, is_fips), report::counters(&results), report::overload(&results)] {
        println!("{table}");
    }
    println!(
        "Messages of {:.0} bytes on average; {} MiB on disk for what waits, {} under overload.",
        messages.bytes_mean(),
        options.queue_mib,
        options.scale.overload_mib()
    );
    for program in &options.programs {
        println!("{}: {}.", program.name(), program.version());
    }
    let ours = results.iter().find(|(program, _)| *program == Program::Omsd);
    let over = ours.map(|(_, figures)| report::over_budget(figures, is_fips)).unwrap_or_default();
    over.iter().for_each(|line| println!("over budget: {line}"));
    failures.iter().for_each(|line| println!("not measured: {line}"));
    Ok(failures.is_empty() && (over.is_empty() || !options.check))
}
