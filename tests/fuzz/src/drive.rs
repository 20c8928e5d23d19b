//! The loop: mutate, check, and when a check fails, make the input small, keep it and say how to replay it.

use crate::Target;
use crate::mutate::{Random, mutate};
use std::cell::RefCell;
use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A check that takes longer has failed.
const CHECK_S_MAX: u64 = 10;
/// Mutants kept as ground for further ones.
const POOL: usize = 64;
/// Checks that a failing input may cost while it is made smaller.
const MINIMIZE_CHECKS_MAX: usize = 20_000;

/// What a run did.
#[derive(Debug)]
pub struct Report {
    /// Inputs checked.
    pub executions: u64,
    /// Time that took.
    pub seconds: f64,
    /// The input for which the property does not hold, made small, and what its panic said.
    pub failure: Option<(Vec<u8>, String)>,
}

/// The files of a directory in the order of their names, and before them no bytes at all.
pub fn seeds(directory: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut paths =
        fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}

/// Checks the seeds, then mutants of them for this long, then stops; or at the first failure. What is tried depends on `seed` and
/// on the seeds alone. An input that takes too long ends the process, after it has been kept in `artifacts`.
pub fn run(target: &Target, seeds: &[Vec<u8>], seed: u64, seconds: u64, artifacts: &Path) -> Report {
    silence();
    let watched = Watched::default();
    watched.watch(target.name, artifacts);
    let start = Instant::now();
    let mut random = Random::new(seed);
    let mut pool: Vec<Vec<u8>> = seeds.to_vec();
    let mut executions = 0;
    let mut failure = None;
    while start.elapsed() < Duration::from_secs(seconds) || executions < seeds.len() as u64 {
        let input = match seeds.get(usize::try_from(executions).unwrap_or(usize::MAX)) {
            Some(seed) => seed.clone(),
            None => next(&pool, target, &mut random),
        };
        watched.begin(&input);
        executions += 1;
        if let Err(said) = holds(target, &input) {
            failure = Some((input, said));
            break;
        }
        keep(&mut pool, seeds.len(), input, &mut random);
    }
    watched.end();
    let seconds = start.elapsed().as_secs_f64();
    let failure = failure.map(|(input, said)| (minimized(target, input), said));
    Report { executions, seconds, failure }
}

/// Whether the property holds; if not, what the panic said.
pub fn holds(target: &Target, input: &[u8]) -> Result<(), String> {
    let checked = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    checked.map_err(|_| SAID.with_borrow_mut(core::mem::take))
}

/// Keeps a failing input; returns where.
pub fn store(artifacts: &Path, name: &str, input: &[u8]) -> io::Result<PathBuf> {
    fs::create_dir_all(artifacts)?;
    let path = artifacts.join(format!("{name}-{:016x}", crate::input::digest(input)));
    fs::write(&path, input)?;
    Ok(path)
}

fn next(pool: &[Vec<u8>], target: &Target, random: &mut Random) -> Vec<u8> {
    let mut input = pool.get(random.below(pool.len())).cloned().unwrap_or_default();
    let other = pool.get(random.below(pool.len())).map(Vec::as_slice).unwrap_or_default();
    mutate(&mut input, other, target.words, target.bytes_max, random);
    input
}

/// One mutant in sixteen joins the pool, in place of another one; the seeds stay.
fn keep(pool: &mut Vec<Vec<u8>>, seeds: usize, input: Vec<u8>, random: &mut Random) {
    if random.below(16) > 0 {
        return;
    }
    if pool.len() < seeds + POOL {
        pool.push(input);
    } else {
        let at = seeds + random.below(POOL);
        pool[at] = input;
    }
}

/// Leaves out pieces, large ones first, as long as the check still fails.
fn minimized(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let mut checks = 0;
    let mut piece = input.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < input.len() && checks < MINIMIZE_CHECKS_MAX {
            let mut smaller = input.clone();
            smaller.drain(at..(at + piece).min(input.len()));
            checks += 1;
            if holds(target, &smaller).is_err() {
                input = smaller;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    input
}

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics are findings: they are kept, not printed.
fn silence() {
    panic::set_hook(Box::new(|panic| SAID.with_borrow_mut(|said| *said = panic.to_string())));
}

/// What is being checked, and since when.
#[derive(Debug, Default, Clone)]
struct Watched(Arc<Mutex<Option<(Instant, Vec<u8>)>>>);

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Vec<u8>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, input: &[u8]) {
        let mut watched = self.lock();
        let mut copy = watched.take().map(|(_, copy)| copy).unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(input);
        *watched = Some((Instant::now(), copy));
    }

    fn end(&self) {
        *self.lock() = None;
    }

    /// A thread that ends the process when a check does not end. It goes when the run does.
    fn watch(&self, name: &'static str, artifacts: &Path) {
        let (watched, artifacts) = (Arc::downgrade(&self.0), artifacts.to_path_buf());
        thread::spawn(move || {
            while let Some(watched) = watched.upgrade() {
                if let Some((since, input)) = &*Watched(watched).lock()
                    && since.elapsed() > Duration::from_secs(CHECK_S_MAX)
                {
                    println!("{name}: a check takes more than {CHECK_S_MAX} s");
                    report_stored(&artifacts, name, input);
                    std::process::exit(1);
                }
                thread::sleep(Duration::from_millis(200));
            }
        });
    }
}

/// Keeps a failing input and prints how to replay it.
pub fn report_stored(artifacts: &Path, name: &str, input: &[u8]) {
    match store(artifacts, name, input) {
        Ok(path) => {
            println!("  {} bytes, replay with: fuzz {name} {}", input.len(), path.display());
        }
        Err(error) => println!("  {} bytes, not kept ({error}): {}", input.len(), input.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_on(check: fn(&[u8]), words: &'static [&'static [u8]]) -> Report {
        let target = Target { name: "planted", check, words, bytes_max: 100 };
        run(&target, &[b"a longer seed to begin with".to_vec()], 7, 2, Path::new("/nonexistent"))
    }

    #[test]
    fn a_planted_fault_is_found_and_made_small() {
        let report =
            run_on(|data| assert!(!data.windows(4).any(|four| four == b"bang"), "heard"), &[b"ba", b"ng", b"bang"]);
        let (input, said) = report.failure.expect("a failure");
        assert_eq!(input, b"bang");
        assert!(said.contains("heard"), "{said}");
    }

    #[test]
    fn a_property_that_holds_is_tried_until_the_time_is_over() {
        let report = run_on(|_| (), &[]);
        assert!(report.failure.is_none());
        assert!(report.executions > 1000 && report.seconds >= 2.0);
    }
}
