//! Our binary, started and watched.

use super::{PATIENCE, Source, omsd_bin, tcp_listens, udp_bound, wait_until};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The binary under test, in UTC, without the environment's proxies.
pub fn command() -> Command {
    let mut command = Command::new(omsd_bin());
    command.env("TZ", "UTC");
    for name in
        ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY"]
    {
        command.env_remove(name);
    }
    command
}

/// What a command that ended by itself left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// The exit status, -1 for a signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }
}

/// Runs a command to its end, with nothing on its standard input.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A running daemon. Killed with all its children when dropped.
pub struct Omsd {
    child: Child,
    stdout: Gathered,
    stderr: Gathered,
    ended: Option<ExitStatus>,
}

impl Omsd {
    /// Starts it in a process group of its own and gathers what it prints.
    pub fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Gathered::from(child.stdout.take().expect("piped"));
        let stderr = Gathered::from(child.stderr.take().expect("piped"));
        Self { child, stdout, stderr, ended: None }
    }

    /// Starts it below strace, which writes these system calls of it and of its children to a file.
    pub fn spawn_traced(plain: &Command, calls: &str, trace: &Path) -> Self {
        let found = Command::new("strace").arg("-V").output();
        assert!(found.is_ok(), "this scenario needs strace: install the package strace");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", &format!("trace={calls}"), "-o"]).arg(trace);
        command.arg(plain.get_program()).args(plain.get_args()).env("TZ", "UTC");
        Self::spawn(command)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until the kernel shows its sockets.
    #[track_caller]
    pub fn wait_for_sources(&self, sources: &[Source], socket: &Path) {
        let deadline = Instant::now() + PATIENCE;
        while !sources.iter().all(|source| bound(*source, socket)) {
            assert!(self.runs(), "omsd ended at once: {}", self.stderr());
            assert!(Instant::now() < deadline, "omsd listens not on all of {sources:?}: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until its standard error says something.
    #[track_caller]
    pub fn wait_for_stderr(&self, text: &str) {
        wait_until(&format!("{text:?} on stderr"), || self.stderr().contains(text) || !self.runs());
        assert!(self.stderr().contains(text), "{text:?} was never said: {}", self.stderr());
    }

    /// Whether it has not ended.
    pub fn runs(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        !state.is_empty() && !state.starts_with('Z')
    }

    /// Sends a signal by its name without SIG.
    pub fn signal(&self, name: &str) {
        signal(name, &self.pid().to_string());
    }

    /// Sends TERM and waits for the end: its status, and how long it took.
    #[track_caller]
    pub fn terminate(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.signal("TERM");
        (self.wait_for_end(), start.elapsed())
    }

    /// Kills the daemon alone, as the kernel does when memory runs out; its child may live on.
    pub fn kill(&mut self) {
        self.signal("KILL");
        self.wait_for_end();
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                self.ended = Some(status);
                return status;
            }
            assert!(Instant::now() < deadline, "omsd does not end: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Omsd {
    fn drop(&mut self) {
        signal("KILL", &format!("-{}", self.pid())); // its group: the upload child too
        if self.ended.is_none() {
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("omsd said on stderr:\n{}", self.stderr());
        }
    }
}

fn bound(source: Source, socket: &Path) -> bool {
    match source {
        Source::Udp(port) => udp_bound(port),
        Source::Tcp(port) => tcp_listens(port),
        Source::UnixDatagram | Source::UnixStream => {
            // Between bind(2) and listen(2) a stream socket is there and takes nobody, and logger(1) passes that over in silence.
            let accepts =
                |line: &str| source == Source::UnixDatagram || line.split_whitespace().nth(3) == Some("00010000");
            let table = std::fs::read_to_string("/proc/self/net/unix").unwrap_or_default();
            table.lines().any(|line| line.ends_with(&socket.display().to_string()) && accepts(line))
        }
    }
}

/// The shell's own kill: no program to install, and signals without unsafe code.
fn signal(name: &str, target: &str) {
    let script = format!("kill -s {name} -- {target} 2>/dev/null");
    let _ = Command::new("sh").args(["-c", &script]).status();
}

/// Text that a thread gathers from a pipe.
struct Gathered {
    text: Arc<Mutex<Vec<u8>>>,
    _reader: JoinHandle<()>,
}

impl Gathered {
    fn from(mut pipe: impl Read + Send + 'static) -> Self {
        let text: Arc<Mutex<Vec<u8>>> = Arc::default();
        let gathered = text.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 64 * 1024];
            while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                gathered.lock().expect("no thread panicked").extend_from_slice(&bytes[..count]);
            }
        });
        Self { text, _reader: reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("no thread panicked")).into_owned()
    }
}
