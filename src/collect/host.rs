//! Reads the host's counters.

use super::{Object, Options, Sink};
use core::fmt;
use std::path::Path;

/// What one `<source>` remembers from sample to sample: rates cover its own time, whatever other sources do.
#[derive(Debug)]
pub struct Window {
    object: Object,
    options: Options,
}

impl Window {
    /// For a source that has not sampled yet: its first sample knows no rates.
    pub fn new(object: Object, options: Options) -> Window {
        Window { object, options }
    }
}

/// The file without which an object cannot be sampled at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable(pub &'static str);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read /{}", self.0)
    }
}

/// The host's files, kept open between samples.
#[derive(Debug)]
pub struct Host {}

impl Host {
    /// The host whose file systems are below `root`: `/`, or a tree made for a test. Reads nothing yet.
    pub fn new(_root: &Path) -> Host {
        Host {}
    }

    /// Samples the window's object at `now_ms` (monotonic) and hands the instances to `sink`. All samples of one `now_ms` share
    /// their readings. Fails, without an instance, if the object's first file cannot be read.
    pub fn sample(&mut self, _now_ms: u64, window: &mut Window, _sink: &mut dyn Sink) -> Result<(), Unreadable> {
        let _ = (window.object, window.options);
        Ok(())
    }
}
