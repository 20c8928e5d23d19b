//! The ring against a disk that tears, drops, reorders and garbles what was not synced.
//!
//! | file | what |
//! |---|---|
//! | `storage.rs` | a disk in memory that logs every write and sync, and says what a crash at any of them may leave behind |
//! | `every_write.rs` | crashes at every write and sync of scripted and random workloads |
//! | `damage.rs` | one flipped bit anywhere, files cut short, blank, foreign, of another format |
//! | `model.rs` | long random runs beside a plain queue |
//! | `faults.rs` | a disk that says no for a while |
//! | `hostile.rs` | files made to break the opener |
//!
//! `OMSD_CRASH_POINTS`: how many crash points the random workloads try (default 30,000). `OMSD_CRASH_SEED`: where they
//! start; otherwise the clock says. The seed is printed at the start, and again with the point that failed.
//! `OMSD_MODEL_STEPS` and `OMSD_HOSTILE_FILES` lengthen the other two. The long run is `OMSD_CRASH_POINTS=1000000 cargo
//! test --profile crash --no-default-features --test crash`.

#![allow(missing_docs, reason = "not a library")]

mod damage;
mod every_write;
mod faults;
mod hostile;
mod model;
mod random;
mod storage;
