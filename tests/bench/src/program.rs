//! The programs measured, each configured as an administrator would who wants nothing lost and much done: a queue on disk, requests of
//! about a megabyte, server certificate verified.

use crate::counters::{self, Sampled};
use crate::measure::Measure;
use crate::service::Service;
use crate::sys;
use omsd_standin::Standin;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Ours.
    Omsd,
    /// Ours, with rows for the Logs Ingestion API in place of the original's items.
    OmsdRows,
    /// With imptcp, imudp, imuxsock, omelasticsearch and a disk-assisted queue.
    Rsyslog,
    /// With its http() destination and a reliable disk buffer.
    SyslogNg,
    /// With csv for a destination. Takes no messages.
    Collectd,
}

/// Where messages come in.
#[derive(Debug, Clone)]
pub enum Input {
    /// A port of the loopback address.
    Tcp(u16),
    /// A port of the loopback address.
    Udp(u16),
    /// A unix datagram socket.
    UnixDatagram(PathBuf),
}

/// What an administrator sets for all of them alike.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// How long a request may wait to become full.
    pub flush_s: u32,
    /// Space on disk for what waits.
    pub queue_mib: u32,
    /// A unix stream socket beside the one input, for omsd only.
    pub probed: Option<&'a Path>,
    /// Counters that are sampled.
    pub sampled: Option<Sampled>,
}

/// Receive buffer of UDP sockets, the one that omsd asks for.
const UDP_BUFFER_MIB: u32 = 32;
/// A program that does not listen by then will not.
const PATIENCE: Duration = Duration::from_secs(20);

/// A started program.
pub struct Running {
    child: Child,
    output: PathBuf,
}

impl Program {
    /// All of them, ours first.
    pub const ALL: [Program; 5] =
        [Program::Omsd, Program::OmsdRows, Program::Rsyslog, Program::SyslogNg, Program::Collectd];

    /// Whether it can do what is measured.
    pub fn takes_part(self, measure: Measure) -> bool {
        match measure {
            Measure::Tls | Measure::Overload => self == Program::Omsd,
            Measure::Counters => matches!(self, Program::Omsd | Program::Collectd),
            _ => self != Program::Collectd,
        }
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Program::Omsd => "omsd",
            Program::OmsdRows => "omsd-rows",
            Program::Rsyslog => "rsyslog",
            Program::SyslogNg => "syslog-ng",
            Program::Collectd => "collectd",
        }
    }

    /// What it says of itself.
    pub fn version(self) -> String {
        let argument = match self {
            Program::Omsd | Program::OmsdRows => "version",
            Program::Rsyslog => "-v",
            Program::SyslogNg => "--version",
            Program::Collectd => "-h",
        };
        let output = self.command().arg(argument).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        // collectd says how it is called first.
        let of_version = |line: &&str| line.starts_with(self.name());
        let line = text.lines().find(of_version).or(text.lines().next()).unwrap_or("not found");
        line.split(" (aka").next().unwrap_or(line).to_owned()
    }

    /// Starts it for its version and waits for its end: how long that took.
    pub fn start_to_end(self) -> io::Result<Duration> {
        let start = Instant::now();
        self.command().arg("version").output()?;
        Ok(start.elapsed())
    }

    /// The service it delivers to.
    pub fn service(self) -> io::Result<Service> {
        match self {
            Program::Omsd | Program::OmsdRows => Service::standin(),
            // The last delivers nothing.
            Program::Rsyslog | Program::SyslogNg | Program::Collectd => Service::sink(),
        }
    }

    /// Whether it is ours.
    pub fn is_ours(self) -> bool {
        matches!(self, Program::Omsd | Program::OmsdRows)
    }

    /// Once, before all measurements: for omsd the identity that its service knows it by.
    pub fn prepare(self, dir: &Path, service: &Service) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join("ca.pem"), service.ca_pem())?;
        let Service::Standin(standin) = service else { return Ok(()) };
        if self == Program::OmsdRows {
            let secret = dir.join("secret");
            fs::create_dir_all(dir.join("etc/opt/omsd"))?;
            fs::write(&secret, standin.azure(|azure| azure.secret.clone()))?;
            return fs::set_permissions(&secret, fs::Permissions::from_mode(0o600));
        }
        let key_file = dir.join("key");
        fs::write(&key_file, &standin.options().shared_key)?;
        let mut command = self.command();
        command.arg("onboard").arg("--root").arg(dir).args(["-w", &standin.options().workspace_id]);
        command.arg("--key-file").arg(key_file).args(["--endpoint", &standin.url()]);
        let output = command.arg("--ca-file").arg(dir.join("ca.pem")).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("omsd onboard: {}", String::from_utf8_lossy(&output.stderr))))
    }

    /// Starts it with nothing queued and returns once it listens.
    pub fn start(self, dir: &Path, service: &Service, input: &Input, settings: Settings<'_>) -> io::Result<Running> {
        let state = dir.join(if self.is_ours() { "var/opt/omsd" } else { "state" });
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        fs::create_dir_all(&state)?;
        let mut command = self.command();
        match self {
            Program::Omsd | Program::OmsdRows => {
                let to = match service {
                    Service::Standin(standin) if self == Program::OmsdRows => rows_conf(standin),
                    _ => "type out_oms".to_owned(),
                };
                fs::write(dir.join("etc/opt/omsd/omsd.conf"), omsd_conf(dir, &to, input, settings))?;
                command.arg("run").arg("--root").arg(dir);
            }
            Program::Rsyslog => {
                let conf = dir.join("rsyslog.conf");
                fs::write(&conf, rsyslog_conf(dir, &state, service.port(), input, settings))?;
                command.arg("-n").arg("-f").arg(conf).arg("-i").arg(state.join("pid"));
            }
            Program::SyslogNg => {
                let conf = dir.join("syslog-ng.conf");
                fs::write(&conf, syslog_ng_conf(dir, &state, service.port(), input, settings))?;
                command.args(["-F", "--no-caps", "-f"]).arg(conf).arg("-R").arg(state.join("persist"));
                command.arg("-p").arg(state.join("pid")).arg("-c").arg(state.join("ctl"));
                if let Some(modules) = std::env::var_os("OMSD_SYSLOG_NG_MODULES") {
                    command.arg("--module-path").arg(modules);
                }
            }
            Program::Collectd => {
                let conf = dir.join("collectd.conf");
                let unpacked = std::env::var("OMSD_COLLECTD").unwrap_or_default();
                let sampled = settings.sampled.ok_or(io::Error::other("collectd only samples"))?;
                fs::write(&conf, counters::collectd_conf(&state.display().to_string(), &unpacked, sampled))?;
                command.arg("-f").arg("-C").arg(conf).arg("-P").arg(state.join("pid"));
            }
        }
        let output = dir.join("output");
        let log = File::create(&output)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut running = Running { child: command.spawn()?, output };
        if self != Program::Collectd {
            running.wait_for(input)?;
        }
        Ok(running)
    }

    /// The program, in UTC, without the environment's proxies.
    pub fn command(self) -> Command {
        let (variable, name) = match self {
            Program::Omsd | Program::OmsdRows => ("OMSD_BIN", "omsd"),
            Program::Rsyslog => ("OMSD_RSYSLOGD", "rsyslogd"),
            Program::SyslogNg => ("OMSD_SYSLOG_NG", "syslog-ng"),
            Program::Collectd => ("OMSD_COLLECTD", "/"),
        };
        let mut program = PathBuf::from(std::env::var_os(variable).unwrap_or_else(|| name.into()));
        if self == Program::Collectd {
            program.push("usr/sbin/collectd"); // where its package was unpacked
        }
        let mut command = Command::new(program);
        command.env("TZ", "UTC");
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY"] {
            command.env_remove(name);
        }
        command
    }
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with what it said, if it has ended.
    pub fn check(&mut self) -> io::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                let said = fs::read_to_string(&self.output).unwrap_or_default();
                Err(io::Error::other(format!("it ended with {status} and said: {said}")))
            }
        }
    }

    fn wait_for(&mut self, input: &Input) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !listens(input) {
            self.check()?;
            if Instant::now() > deadline {
                let said = fs::read_to_string(&self.output).unwrap_or_default();
                return Err(io::Error::other(format!("it does not listen on {input:?} and said: {said}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        sys::terminate(self.child.id());
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn listens(input: &Input) -> bool {
    let table = |name: &str| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    match input {
        Input::Tcp(port) => table("tcp").lines().any(|line| line.contains(&format!(":{port:04X} 00000000:0000 0A"))),
        Input::Udp(port) => table("udp").lines().any(|line| line.contains(&format!(":{port:04X} 00000000:0000"))),
        Input::UnixDatagram(path) => table("unix").lines().any(|line| line.ends_with(&path.display().to_string())),
    }
}

/// The `<match>` of an application that the stand-in knows.
fn rows_conf(standin: &Standin) -> String {
    let url = standin.url();
    standin.azure(|azure| {
        format!(
            "type out_azure_ingestion\n  endpoint {url}\n  dcr_id {}\n  identity secret\n  tenant_id {}\n  client_id {}\n  \
             authority {url}\n  secret_path /secret",
            azure.rule_id, azure.tenant, azure.client_id
        )
    })
}

fn omsd_conf(dir: &Path, to: &str, input: &Input, settings: Settings<'_>) -> String {
    let Settings { flush_s, queue_mib, probed, sampled } = settings;
    let counters = sampled.map(counters::omsd_sources).unwrap_or_default();
    let sync = if sampled.is_some() { "sync_interval 1h\n  " } else { "" };
    // Paths are below the root.
    let below = |path: &Path| path.strip_prefix(dir).unwrap_or(path).display().to_string();
    let source = match input {
        Input::Tcp(port) => format!("protocol_type tcp\n  port {port}"),
        Input::Udp(port) => format!("protocol_type udp\n  port {port}"),
        Input::UnixDatagram(path) => format!("protocol_type unix_dgram\n  path /{}", below(path)),
    };
    let probed = probed.map(|path| format!("protocol_type unix_stream\n  path /{}", below(path)));
    let sources: String = [source]
        .into_iter()
        .chain(probed)
        .map(|source| format!("<source>\n  type syslog\n  {source}\n</source>\n"))
        .collect();
    // A service that was down is asked again soon: how long the default schedule waits is no figure of this benchmark.
    format!(
        "{sources}{counters}<match oms.**>\n  {to}\n  ca_file /ca.pem\n  buffer_size {queue_mib}m\n  \
         flush_interval {flush_s}s\n  {sync}retry_wait 1s\n  max_retry_wait 2s\n</match>\n"
    )
}

fn rsyslog_conf(dir: &Path, state: &Path, port: u16, input: &Input, settings: Settings<'_>) -> String {
    let source = match input {
        Input::Tcp(port) => {
            format!("module(load=\"imptcp\")\ninput(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\")")
        }
        Input::Udp(port) => format!(
            "module(load=\"imudp\" batchSize=\"128\")\n\
             input(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\" rcvbufSize=\"{UDP_BUFFER_MIB}m\")"
        ),
        Input::UnixDatagram(path) => format!(
            "module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{}\" CreatePath=\"on\" RateLimit.Interval=\"0\")",
            path.display()
        ),
    };
    // The module's package may be unpacked beside a daemon that is installed.
    let elasticsearch = std::env::var("OMSD_RSYSLOG_ELASTICSEARCH").unwrap_or_else(|_| "omelasticsearch".to_owned());
    let (dir, state) = (dir.display(), state.display());
    format!(
        r#"global(workDirectory="{state}" net.enableDNS="off")
main_queue(queue.type="FixedArray" queue.size="100000" queue.dequeueBatchSize="1024" queue.timeoutEnqueue="600000")
module(load="{elasticsearch}")
{source}
template(name="item" type="list" option.jsonf="on") {{
    property(outname="ident" name="programname" format="jsonf")
    property(outname="Timestamp" name="timegenerated" dateFormat="rfc3339" format="jsonf")
    property(outname="EventTime" name="timereported" dateFormat="rfc3339" format="jsonf")
    property(outname="Host" name="hostname" format="jsonf")
    property(outname="HostIP" name="fromhost-ip" format="jsonf")
    property(outname="Message" name="msg" format="jsonf")
    property(outname="ProcessId" name="procid" format="jsonf")
    property(outname="Facility" name="syslogfacility-text" format="jsonf")
    property(outname="Severity" name="syslogseverity-text" format="jsonf")
}}
action(type="omelasticsearch" server="127.0.0.1" serverport="{port}" usehttps="on" tls.cacert="{dir}/ca.pem"
    searchIndex="syslog" searchType="" template="item" bulkmode="on" maxbytes="1m" healthchecktimeout="10000"
    queue.type="LinkedList" queue.filename="forward" queue.size="100000" queue.maxDiskSpace="{queue_mib}m"
    queue.saveOnShutdown="on" queue.timeoutEnqueue="600000" queue.dequeueBatchSize="4096"
    queue.minDequeueBatchSize="4096" queue.minDequeueBatchSize.timeout="{flush_ms}" action.resumeRetryCount="-1")
"#,
        flush_ms = settings.flush_s * 1000,
        queue_mib = settings.queue_mib
    )
}

fn syslog_ng_conf(dir: &Path, state: &Path, port: u16, input: &Input, settings: Settings<'_>) -> String {
    let source = match input {
        Input::Tcp(port) => format!(
            "network(ip(\"127.0.0.1\") port({port}) transport(\"tcp\") log-iw-size(100000) log-fetch-limit(1000))"
        ),
        Input::Udp(port) => format!(
            "network(ip(\"127.0.0.1\") port({port}) transport(\"udp\") so-rcvbuf({}) log-iw-size(100000) log-fetch-limit(1000))",
            UDP_BUFFER_MIB << 20
        ),
        Input::UnixDatagram(path) => {
            format!("unix-dgram(\"{}\" log-iw-size(100000) log-fetch-limit(1000))", path.display())
        }
    };
    let (dir, state) = (dir.display(), state.display());
    format!(
        r#"@version: 3.38
options {{ keep-hostname(yes); use-dns(no); dns-cache(no); chain-hostnames(no); stats-freq(0); log-msg-size(65536); }};
source s_in {{ {source}; }};
destination d_out {{
    http(
        url("https://127.0.0.1:{port}/bulk") method("POST") headers("Content-Type: application/json")
        body-prefix("[") delimiter(",") body-suffix("]")
        body("$(format-json ident=$PROGRAM Timestamp=$R_ISODATE EventTime=$S_ISODATE Host=$HOST HostIP=$SOURCEIP Message=$MSG ProcessId=$PID Facility=$FACILITY Severity=$LEVEL)")
        batch-bytes(1048576) batch-lines(4096) batch-timeout({flush_ms}) workers(1) persist-name("bench")
        tls(ca-file("{dir}/ca.pem") peer-verify(yes))
        disk-buffer(reliable(yes) disk-buf-size({queue}) mem-buf-size(16777216) dir("{state}"))
    );
}};
log {{ source(s_in); destination(d_out); flags(flow-control); }};
"#,
        flush_ms = settings.flush_s * 1000,
        queue = u64::from(settings.queue_mib) << 20
    )
}
