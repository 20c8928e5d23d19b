//! `standin`: the stand-in service for a person, a shell script or a benchmark. `standin --help` says how.

use omsd_standin::{Answer, Options, Refusal, RefuseWhen, Route, Standin, Told};
use std::io::{BufRead, Write};
use std::process::ExitCode;

const USAGE: &str = "\
usage: standin [--listen ADDRESS:PORT] [--ca-file FILE] [--count] [--marker TEXT]
               [--workspace ID] [--key BASE64] [--clock-offset SECONDS]

Plays the service that omsd sends to, over TLS with its own certification authority. It prints its address and the
workspace, writes the authority's certificate to FILE (default standin-ca.pem), then reads commands from standard input,
a line each, and ends where that ends, printing the sums:

  counts               print the sums so far as one JSON object
  complaints           print what was wrong with requests
  next ANSWER          answer the next data request so: 503 retry-after=2 delay=100, close, close-taken, reset, silence,
                       trickle, endless-header, continue, chunked, http10, redirect=URL, gzip, large=BYTES, garbage
  always ANSWER        answer every data request so when no next answer is due
  refuse STATUS TEXT   refuse bodies that contain TEXT
  refuse-over STATUS BYTES   refuse uncompressed bodies larger than BYTES
  behave               forget all answers and refusals
  renew                ask agents for a new certificate, at each topology heartbeat
  close, open          be down, be up again

  --count              count records instead of parsing each: for loads
  --marker TEXT        follow the numbers behind TEXT: how many arrived, how many twice

The sums are also served to `curl --cacert FILE https://ADDRESS:PORT/standin/counts`.
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("standin: {message}");
            ExitCode::from(64)
        }
    }
}

fn run() -> Result<(), String> {
    let mut options = Options::default();
    let mut ca_file = String::from("standin-ca.pem");
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} wants a value"));
        match name.as_str() {
            "--listen" => options.address = value()?.parse().map_err(|_| "--listen wants ADDRESS:PORT")?,
            "--ca-file" => ca_file = value()?,
            "--count" => options.keep_items = false,
            "--marker" => options.marker = value()?,
            "--workspace" => options.workspace_id = value()?,
            "--key" => options.shared_key = value()?,
            "--clock-offset" => {
                options.clock_offset_s = value()?.parse().map_err(|_| "--clock-offset wants seconds")?
            }
            "-h" | "--help" => {
                print!("{USAGE}");
                return Ok(());
            }
            other => return Err(format!("unknown option {other}; --help lists them")),
        }
    }
    let standin = Standin::start(options).map_err(|error| error.to_string())?;
    std::fs::write(&ca_file, standin.ca_pem()).map_err(|error| format!("{ca_file}: {error}"))?;
    let known = standin.options();
    say(&format!(
        "address {}\nworkspace {}\nkey {}\nca {ca_file}",
        standin.url(),
        known.workspace_id,
        known.shared_key
    ));

    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        if let Err(message) = obey(&standin, line.trim()) {
            say(&format!("error {message}"));
        }
    }
    obey(&standin, "counts")
}

fn obey(standin: &Standin, line: &str) -> Result<(), String> {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    match command {
        "" => {}
        "counts" => say(counts(standin).trim_end()),
        "complaints" => standin.seen().complaints.iter().for_each(|complaint| say(complaint)),
        "next" => standin.answer_next(Route::Data, [rest.parse::<Answer>()?]),
        "always" => standin.answer_always(Route::Data, rest.parse()?),
        "refuse" | "refuse-over" => {
            let (answer, what) = rest.split_once(' ').ok_or("refuse wants a status and a text or size")?;
            let when = match command {
                "refuse" => RefuseWhen::Contains(what.as_bytes().to_vec()),
                _ => RefuseWhen::LargerThan(what.parse().map_err(|_| "refuse-over wants a size in bytes")?),
            };
            standin.refuse(Refusal { when, answer: answer.parse()? });
        }
        "behave" => standin.behave(),
        "renew" => standin.tell(Told { update_certificate: true, ..Told::default() }),
        "close" => standin.close(),
        "open" => standin.open().map_err(|error| error.to_string())?,
        other => return Err(format!("unknown command {other}")),
    }
    Ok(())
}

fn counts(standin: &Standin) -> String {
    standin.seen().counts_json()
}

fn say(text: &str) {
    println!("{text}");
    let _ = std::io::stdout().flush();
}
