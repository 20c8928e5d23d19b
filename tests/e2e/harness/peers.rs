//! The real programs that send: rsyslog and syslog-ng on their own directory and ports, and logger. Nothing of the system's own is touched.

use super::{PATIENCE, Source, free_port, tcp_listens, temp_dir, wait_until};
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A real rsyslogd that takes TCP on a port of its own and does with it what its action says.
pub struct Rsyslog(Relay);

impl Rsyslog {
    /// Starts it. `action`: the statement that forwards.
    #[track_caller]
    pub fn start(action: &str) -> Self {
        let relay = |dir: &Path, port: u16| {
            let conf = format!(
                "global(workDirectory=\"{dir}\" net.enableDNS=\"off\")\nmodule(load=\"imtcp\")\n\
                 input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n{action}\n",
                dir = dir.display()
            );
            std::fs::write(dir.join("rsyslog.conf"), conf).expect("rsyslog.conf is written");
            let mut command = Command::new(find("rsyslogd", "rsyslog"));
            command.args(["-n", "-f"]).arg(dir.join("rsyslog.conf")).arg("-i").arg(dir.join("pid"));
            command
        };
        Self(Relay::start("rsyslogd", relay))
    }

    /// Starts it with the files of a root directory as of a host: its rules in `etc/rsyslog.d`, its socket `dev/log`.
    #[track_caller]
    pub fn start_in(root: &Path) -> Self {
        let relay = |dir: &Path, port: u16| {
            let (own, root) = (dir.display(), root.display());
            let conf = format!(
                "global(workDirectory=\"{own}\" net.enableDNS=\"off\")\nmodule(load=\"imtcp\")\n\
                 module(load=\"imuxsock\" SysSock.Name=\"{root}/dev/log\")\n\
                 input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\ninclude(file=\"{root}/etc/rsyslog.d/*.conf\")\n"
            );
            let file = PathBuf::from(format!("{root}/etc/rsyslog.conf"));
            std::fs::create_dir_all(format!("{root}/dev")).expect("dev");
            std::fs::write(&file, conf).expect("rsyslog.conf is written");
            let mut command = Command::new(find("rsyslogd", "rsyslog"));
            command.args(["-n", "-f"]).arg(file).arg("-i").arg(dir.join("pid"));
            command
        };
        Self(Relay::start("rsyslogd", relay))
    }

    /// Sends it lines, as a program would that logs over TCP.
    pub fn send(&self, lines: &str) {
        self.0.send(lines);
    }
}

/// A real syslog-ng that takes TCP on a port of its own and sends it where its destination says.
pub struct SyslogNg(Relay);

impl SyslogNg {
    /// Starts it. `destination`: the driver that forwards.
    #[track_caller]
    pub fn start(destination: &str) -> Self {
        let relay = |dir: &Path, port: u16| {
            let conf = format!(
                "@version: 3.35\noptions {{ keep-hostname(yes); use-dns(no); dns-cache(no); chain-hostnames(no); stats-freq(0); }};\n\
                 source s_in {{ network(ip(\"127.0.0.1\") port({port}) transport(\"tcp\")); }};\n\
                 destination d_omsd {{ {destination}; }};\n\
                 log {{ source(s_in); destination(d_omsd); flags(flow-control); }};\n"
            );
            std::fs::write(dir.join("syslog-ng.conf"), conf).expect("syslog-ng.conf is written");
            let program =
                std::env::var_os("OMSD_SYSLOG_NG").map_or_else(|| find("syslog-ng", "syslog-ng-core"), PathBuf::from);
            let mut command = Command::new(program);
            command.args(["-F", "--no-caps", "-f"]).arg(dir.join("syslog-ng.conf"));
            command.arg("-R").arg(dir.join("persist")).arg("-p").arg(dir.join("pid")).arg("-c").arg(dir.join("ctl"));
            command
        };
        Self(Relay::start("syslog-ng", relay))
    }

    /// Sends it lines, as a program would that logs over TCP.
    pub fn send(&self, lines: &str) {
        self.0.send(lines);
    }
}

/// A program that logs over TCP by itself: sends these lines and keeps the connection.
#[track_caller]
pub fn send_over_tcp(source: Source, lines: &str) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(lines.as_bytes()).expect("omsd reads");
    stream
}

/// Runs logger(1) with these arguments over a file with these lines.
#[track_caller]
pub fn logger(arguments: &[&str], lines: &str) {
    let dir = temp_dir();
    let file = dir.join("lines");
    std::fs::write(&file, lines).expect("the lines are written");
    let mut command = Command::new(find("logger", "bsdutils"));
    let output = command.args(arguments).arg("-f").arg(&file).env("TZ", "UTC").output().expect("logger runs");
    assert!(output.status.success() && output.stderr.is_empty(), "logger {arguments:?}: {output:?}");
    let _ = std::fs::remove_dir_all(dir);
}

/// A program between a TCP port of its own and wherever it forwards to.
struct Relay {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Relay {
    #[track_caller]
    fn start(name: &str, command: impl Fn(&Path, u16) -> Command) -> Self {
        let (dir, port) = (temp_dir(), free_port());
        let log = std::fs::File::create(dir.join("output")).expect("a file for its output");
        let mut command = command(&dir, port);
        command.env("TZ", "UTC").stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut relay = Self { child, port, dir };
        wait_until(&format!("{name} listens"), || {
            let ended = relay.child.try_wait().expect("our child");
            assert!(ended.is_none(), "{name} ended: {}", relay.output());
            tcp_listens(port)
        });
        relay
    }

    fn send(&self, lines: &str) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(lines.as_bytes()).expect("it takes all lines");
        stream.shutdown(Shutdown::Write).expect("the end is told");
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.dir.join("output")).unwrap_or_default()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.dir.display(), self.output());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The path of a program; a scenario without its program fails and says what to install.
#[track_caller]
pub(super) fn find(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let standard = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(standard).map(|dir| dir.join(program)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("this scenario needs {program}: install the package {package}"))
}
