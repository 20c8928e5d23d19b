//! What the daemon and its upload children need, read from /proc while they live.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two looks: a child that grows by megabytes takes longer for it.
const PAUSE: Duration = Duration::from_millis(2);

/// Most memory that was ever resident, in KB.
#[derive(Debug, Default, Clone, Copy)]
pub struct Peak {
    /// Of the daemon.
    pub parent_kb: u64,
    /// Of its largest child.
    pub child_kb: u64,
}

/// Looks at a daemon and its children until it is asked what it saw, or the daemon has ended.
pub struct Watch {
    done: Arc<AtomicBool>,
    watcher: JoinHandle<Peak>,
}

impl Watch {
    /// Starts to look at this daemon.
    pub fn start(pid: u32) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let stop = done.clone();
        let watcher = std::thread::spawn(move || {
            let mut peak = Peak::default();
            while let Some(parent_kb) = peak_kb(pid).filter(|_| !stop.load(Ordering::SeqCst)) {
                let child_kb = children_of(pid).into_iter().filter_map(peak_kb).fold(peak.child_kb, u64::max);
                peak = Peak { parent_kb, child_kb };
                std::thread::sleep(PAUSE);
            }
            peak
        });
        Self { done, watcher }
    }

    /// What it saw; a child that lived for a moment only may be missed.
    pub fn end_at_once(self) -> Peak {
        self.done.store(true, Ordering::SeqCst);
        self.watcher.join().expect("the watcher does not panic")
    }

    /// What it saw; fails if that was nothing.
    #[track_caller]
    pub fn end(self) -> Peak {
        let peak = self.end_at_once();
        assert!(peak.parent_kb > 0 && peak.child_kb > 0, "parent or child was never seen: {peak:?}");
        peak
    }
}

/// The children of a process with one thread. Source: proc_pid_task(5), `children`.
pub fn children_of(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// `None` for a process that has ended. Source: proc_pid_status(5), `VmHWM`.
fn peak_kb(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
