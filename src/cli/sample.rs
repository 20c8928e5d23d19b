//! `omsd sample`: what would be sent of the host's counters.

use super::{Exit, ended, options, parse, print, usage_error};
use crate::collect::host::{Host, Window};
use crate::collect::{Object, Options, Sink};
use crate::record::number::Number;
use crate::record::perf::{self, Writer};
use crate::sys::{clock, host};
use crate::upload::Stream;
use crate::upload::items::{Renderer, ThisHost};
use crate::upload::number::put_number;
use crate::upload::text::Text;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::time::Duration;
use getopts::Matches;
use std::path::Path;

const INTERVAL_S_MAX: u64 = 86_400;
const COUNT_MAX: u64 = 1_000_000_000;

/// Runs `omsd sample`.
pub fn command(arguments: &[String]) -> Exit {
    let mut options = options();
    options.optopt("", "object", "only this one: Processor, Memory, \"Logical Disk\", ...", "NAME");
    options.optopt("", "interval", "seconds that rates cover, and between samples; 1 by default, 0: no pause", "S");
    options.optopt("", "count", "samples to take; 1 by default", "N");
    options.optflag("", "compat", "values as coarse as the original's");
    options.optflag("", "json", "the items that would be sent, one a line");
    ended(|| {
        let matches = parse(&options, "omsd sample [options]", arguments)?;
        let objects = objects(&matches)?;
        let interval = Duration::from_secs(number(&matches, "interval", 0..=INTERVAL_S_MAX)?);
        let count = number(&matches, "count", 1..=COUNT_MAX)?;
        let options = Options { compat: matches.opt_present("compat") };
        let mut windows: Vec<_> = objects.iter().map(|&object| (object, Window::new(object, options))).collect();
        let mut host = Host::new(Path::new("/"));
        let mut shown = Shown::new(matches.opt_present("json"));
        take(&mut host, &mut windows, &mut shown);
        for _ in 0..count {
            std::thread::sleep(interval);
            shown.text.truncate(0);
            let failed = take(&mut host, &mut windows, &mut shown);
            print(&String::from_utf8_lossy(shown.text.as_bytes()))?;
            if failed == windows.len() {
                return Ok(Exit::StateIo);
            }
        }
        Ok(Exit::Ok)
    })
}

fn objects(matches: &Matches) -> Result<Vec<Object>, Exit> {
    let Some(name) = matches.opt_str("object") else { return Ok(Object::ALL.to_vec()) };
    match Object::ALL.into_iter().find(|object| object.name().eq_ignore_ascii_case(&name)) {
        Some(object) => Ok(Vec::from([object])),
        None => Err(usage_error(&format!(
            "there is no object {name}; there are {}",
            Object::ALL.map(Object::name).join(", ")
        ))),
    }
}

fn number(matches: &Matches, name: &str, range: RangeInclusive<u64>) -> Result<u64, Exit> {
    let Some(text) = matches.opt_str(name) else { return Ok(1) };
    let number = text.parse().ok().filter(|number| range.contains(number));
    number
        .ok_or_else(|| usage_error(&format!("--{name} takes a whole number from {} to {}", range.start(), range.end())))
}

/// One sample of each object; how many of them could not be taken.
fn take(host: &mut Host, windows: &mut [(Object, Window)], shown: &mut Shown) -> usize {
    let now_ms = clock::monotonic_ms();
    shown.sampled_us = clock::wall_us();
    let mut failed = 0;
    for (object, window) in windows {
        shown.object = *object;
        if let Err(cause) = host.sample(now_ms, window, shown) {
            eprintln!("omsd: no sample of {}: {cause}", object.name());
            failed += 1;
        }
    }
    failed
}

/// Makes lines of instances, by the way that records take.
struct Shown {
    renderer: Option<Renderer>,
    writer: Writer,
    object: Object,
    sampled_us: u64,
    text: Text,
}

impl Shown {
    fn new(json: bool) -> Shown {
        let this = || ThisHost { name: host::computer(), address: None };
        Shown {
            renderer: json.then(|| Renderer::new(this(), |_| 0)),
            writer: Writer::default(),
            object: Object::Processor,
            sampled_us: 0,
            text: Text::default(),
        }
    }
}

impl Sink for Shown {
    fn instance(&mut self, name: &[u8], values: &[Option<f64>]) {
        self.writer.begin(self.object, perf::all(self.object));
        self.writer.add(name, values);
        let Some(payload) = self.writer.payload() else { return };
        match &mut self.renderer {
            Some(renderer) => {
                renderer.item(Stream::Perf, self.sampled_us, payload, &mut self.text);
                self.text.put(b"\n");
            }
            None => {
                let instances = perf::decode(payload).into_iter().flat_map(|sample| sample.instances());
                for (counter, value) in instances.flat_map(|instance| instance.values()) {
                    put_row(self.object, name, counter, value, &mut self.text);
                }
            }
        }
    }
}

/// Object, counter, value, instance: the one of which nobody knows the width is the last.
fn put_row(object: Object, instance: &[u8], counter: &str, value: Number, out: &mut Text) {
    out.put_slice(format!("{:<13}  {counter:<27}  ", object.name()).as_bytes());
    let before = out.len();
    put_number(value, out);
    (out.len() - before..12).for_each(|_| out.put(b" "));
    out.put(b"  ");
    out.put_escaped(instance);
    out.put(b"\n");
}
