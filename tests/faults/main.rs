//! Faults that are real: SIGKILL at random moments and at chosen system calls, full, read-only and failing disks. The binary under test runs against the
//! stand-in service, under load, and every message that it had read is accounted for.
//!
//! Needs root (it mounts small file systems and reads another process's sockets), Linux 5.6, strace and ip (iproute2). `OMSD_BIN` names the binary under test.
//! `OMSD_KILL_ROUNDS` (default 200) and `OMSD_KILL_SEED` size and repeat the kill loop.

#[expect(dead_code, unused_imports, reason = "the scenarios beside this use the rest")]
#[path = "../e2e/harness/mod.rs"]
mod harness;
#[expect(dead_code, reason = "the crash simulator uses the rest")]
#[path = "../crash/random.rs"]
mod random;

mod account;
mod campaign;
mod certificate;
mod disk;
mod hung_mount;
mod kill_loop;
mod load;
mod names;
mod overload;
mod process;
mod sockets;
