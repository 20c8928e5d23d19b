//! One installation: a root directory of its own, onboarded with a stand-in service of its own.

use super::{Omsd, free_port, run};
use omsd_standin::serde_json::{self, Value};
use omsd_standin::{Agent, Options, Seen, Standin};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where syslog comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// UDP on this port of the loopback address.
    Udp(u16),
    /// TCP on this port of the loopback address.
    Tcp(u16),
    /// The unix datagram socket [`Site::socket`].
    UnixDatagram,
    /// The unix stream socket [`Site::socket`].
    UnixStream,
}

impl Source {
    /// UDP on a free port.
    pub fn udp() -> Self {
        Self::Udp(free_port())
    }

    /// TCP on a free port.
    pub fn tcp() -> Self {
        Self::Tcp(free_port())
    }

    /// The port of a network source.
    pub fn port(self) -> u16 {
        match self {
            Self::Udp(port) | Self::Tcp(port) => port,
            Self::UnixDatagram | Self::UnixStream => panic!("a unix socket has no port"),
        }
    }
}

const DIR_PREFIX: &str = "omsd-e2e-";

/// An empty directory of its own, short enough that a unix socket fits into it.
pub fn temp_dir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    if number == 0 {
        remove_what_earlier_runs_left();
    }
    let dir = std::env::temp_dir().join(format!("{DIR_PREFIX}{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory for the scenario");
    dir
}

/// Scenarios that failed leave their files for a look; the next run takes them away.
fn remove_what_earlier_runs_left() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(DIR_PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A root directory and the service it is onboarded with. Removed when dropped, unless the scenario failed.
pub struct Site {
    /// What stands for `/`.
    pub root: PathBuf,
    /// The service.
    pub standin: Standin,
    sources: RefCell<Vec<Source>>,
}

impl Site {
    /// An onboarded installation without configuration.
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    /// The same with a stand-in of this kind.
    pub fn with(options: Options) -> Self {
        let site = Self::bare(options);
        let identity = identity(&site.standin.options().workspace_id);
        let status = Command::new("cp").arg("-a").arg(identity.dir.join("etc")).arg(&site.root).status();
        assert!(status.expect("cp runs").success(), "the identity is copied");
        let conf = site.etc("conf/omsadmin.conf");
        let text = std::fs::read_to_string(&conf).expect("omsadmin.conf is there");
        std::fs::write(&conf, text.replace(&identity.url, &site.standin.url())).expect("omsadmin.conf is written");
        site.standin.adopt(identity.agent.clone());
        site.write_ca(site.standin.ca_pem());
        site
    }

    /// The same for [`OTHER_WORKSPACE`].
    pub fn other() -> Self {
        Self::with(Options { workspace_id: OTHER_WORKSPACE.to_owned(), ..Options::default() })
    }

    /// Onboards this host to the workspace of another installation, too; the primary one stays.
    pub fn join(&self, other: &Site) {
        let id = &other.standin.options().workspace_id;
        let status = Command::new("cp").arg("-a").arg(other.etc(id)).arg(self.etc("")).status();
        assert!(status.expect("cp runs").success(), "the identity is copied");
        self.write_ca(&(self.standin.ca_pem().to_owned() + other.standin.ca_pem()));
    }

    /// Takes these stores as the one `<match>` of the configuration; each is the lines behind its type.
    pub fn copy_to(&self, sources: &[Source], ring_keys: &str, stores: &[&str]) {
        let store = |keys: &&str| format!("  <store>\n  type out_oms\n{COMMON}\n{ring_keys}\n{keys}\n  </store>\n");
        const COMMON: &str =
            "  ca_file /etc/opt/omsd/ca.pem\n  flush_interval 1s\n  retry_wait 1s\n  max_retry_wait 2s";
        self.configure(sources, "");
        let text = std::fs::read_to_string(self.conf()).expect("omsd.conf is there");
        let sections = text.split("<match").next().unwrap_or_default().to_owned();
        let stores: String = stores.iter().map(store).collect();
        let text = format!("{sections}<match oms.**>\n  type copy\n{stores}</match>\n");
        std::fs::write(self.conf(), text).expect("omsd.conf is written");
    }

    /// An empty root beside a stand-in: nothing is onboarded.
    pub fn bare(options: Options) -> Self {
        let standin = Standin::start(options).expect("the stand-in starts");
        Self { root: temp_dir(), standin, sources: RefCell::default() }
    }

    /// A path below `etc/opt/omsd`.
    pub fn etc(&self, path: &str) -> PathBuf {
        self.root.join("etc/opt/omsd").join(path)
    }

    /// A path below `var/opt/omsd`.
    pub fn var(&self, path: &str) -> PathBuf {
        self.root.join("var/opt/omsd").join(path)
    }

    /// The configuration file.
    pub fn conf(&self) -> PathBuf {
        self.etc("omsd.conf")
    }

    /// The unix socket of the unix sources.
    pub fn socket(&self) -> PathBuf {
        self.root.join("run/log.sock")
    }

    /// The file that `ca_file` names.
    pub fn write_ca(&self, pem: &str) {
        std::fs::create_dir_all(self.etc("")).expect("etc/opt/omsd");
        std::fs::write(self.etc("ca.pem"), pem).expect("ca.pem is written");
    }

    /// Has omsd send its data to another server than the stand-in.
    pub fn send_to(&self, url: &str) {
        let conf = self.etc("conf/omsadmin.conf");
        let text = std::fs::read_to_string(&conf).expect("omsadmin.conf is there");
        std::fs::write(&conf, text.replace(&self.standin.url(), url)).expect("omsadmin.conf is written");
    }

    /// Writes a configuration with these sources. `keys`: lines for the `<match>`, in place of the defaults that make a scenario short.
    pub fn configure(&self, sources: &[Source], keys: &str) {
        const DEFAULTS: [&str; 4] =
            ["ca_file /etc/opt/omsd/ca.pem", "flush_interval 1s", "retry_wait 1s", "max_retry_wait 2s"];
        let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
        let kept = DEFAULTS.iter().filter(|default| !keys.lines().any(|line| name(line) == name(default)));
        let lines: String = kept.copied().chain(keys.lines()).map(|line| format!("  {}\n", line.trim())).collect();
        let sections: String = sources.iter().map(|source| self.section(*source)).collect();
        self.write_conf(sources, &format!("{sections}<match oms.**>\n  type out_oms\n{lines}</match>\n"));
    }

    fn write_conf(&self, sources: &[Source], text: &str) {
        std::fs::create_dir_all(self.etc("")).expect("etc/opt/omsd");
        std::fs::create_dir_all(self.root.join("run")).expect("run");
        std::fs::write(self.conf(), text).expect("omsd.conf is written");
        *self.sources.borrow_mut() = sources.to_vec();
    }

    /// Writes a configuration that sends rows to the stand-in's rule by an application's secret. `keys`: as in [`Site::configure`].
    pub fn configure_rows(&self, sources: &[Source], keys: &str) {
        use std::os::unix::fs::PermissionsExt;
        let (rule, app, tenant, secret) = self.standin.azure(|azure| {
            (azure.rule_id.clone(), azure.client_id.clone(), azure.tenant.clone(), azure.secret.clone())
        });
        let url = self.standin.url();
        let ours = format!(
            "type out_azure_ingestion\nendpoint {url}\ndcr_id {rule}\nidentity secret\ntenant_id {tenant}\nclient_id {app}\n\
             authority {url}\nca_file /etc/opt/omsd/ca.pem\nflush_interval 1s\nretry_wait 1s\nmax_retry_wait 2s"
        );
        let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
        let told = |line: &str| keys.lines().any(|other| name(other) == name(line));
        let unused = |line: &str| {
            let machine = keys.contains("identity managed") || keys.contains("identity arc");
            machine && ["tenant_id", "client_id", "authority"].iter().any(|key| line.starts_with(key))
        };
        let kept = ours.lines().filter(|line| !told(line) && !unused(line));
        let lines: String = kept.chain(keys.lines()).map(|line| format!("  {}\n", line.trim())).collect();
        let sections: String = sources.iter().map(|source| self.section(*source)).collect();
        self.write_ca(self.standin.ca_pem());
        self.write_conf(sources, &format!("{sections}<match oms.**>\n{lines}</match>\n"));
        let path = self.etc("secret");
        std::fs::write(&path, secret + "\n").expect("the secret is written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("and private");
    }

    /// Adds a heartbeat, every second, to the configuration.
    pub fn add_heartbeat(&self) {
        let text = std::fs::read_to_string(self.conf()).expect("omsd.conf is there");
        let section = "<source>\n  type oms_heartbeat\n  interval 1s\n</source>\n";
        std::fs::write(self.conf(), section.to_owned() + &text).expect("omsd.conf is written");
    }

    /// Adds a topology heartbeat, every second, to the configuration.
    pub fn add_topology_heartbeat(&self) {
        let text = std::fs::read_to_string(self.conf()).expect("omsd.conf is there");
        let section = "<source>\n  type heartbeat_request\n  run_interval 1s\n</source>\n";
        std::fs::write(self.conf(), section.to_owned() + &text).expect("omsd.conf is written");
    }

    fn section(&self, source: Source) -> String {
        let listen = match source {
            Source::Udp(port) => format!("protocol_type udp\n  bind 127.0.0.1\n  port {port}"),
            Source::Tcp(port) => format!("protocol_type tcp\n  bind 127.0.0.1\n  port {port}"),
            Source::UnixDatagram => "protocol_type unix_dgram\n  path /run/log.sock".to_owned(),
            Source::UnixStream => "protocol_type unix_stream\n  path /run/log.sock".to_owned(),
        };
        format!("<source>\n  type syslog\n  {listen}\n  tag oms.syslog\n</source>\n")
    }

    /// Starts the daemon and waits until it listens everywhere it should.
    #[track_caller]
    pub fn start(&self) -> Omsd {
        let omsd = Omsd::spawn(self.command("run"));
        omsd.wait_for_sources(&self.sources.borrow(), &self.socket());
        omsd
    }

    /// `omsd NAME --root ROOT`, in UTC, without the environment's proxies.
    pub fn command(&self, name: &str) -> Command {
        let mut command = super::omsd::command();
        command.arg(name).arg("--root").arg(&self.root);
        command
    }

    /// `omsd onboard` with the right workspace, key and endpoint.
    pub fn onboard_command(&self) -> Command {
        self.onboard(&self.standin.options().shared_key, &self.standin.url())
    }

    /// `omsd onboard` with this key.
    pub fn onboard_command_with(&self, key: &str) -> Command {
        self.onboard(key, &self.standin.url())
    }

    /// `omsd onboard` with this endpoint.
    pub fn onboard_command_at(&self, endpoint: &str) -> Command {
        self.onboard(&self.standin.options().shared_key, endpoint)
    }

    fn onboard(&self, key: &str, endpoint: &str) -> Command {
        let ca_file = self.root.join("standin-ca.pem");
        std::fs::write(&ca_file, self.standin.ca_pem()).expect("the authority is written");
        let mut command = self.command("onboard");
        command.args(["-w", &self.standin.options().workspace_id, "-s", key, "--endpoint", endpoint]);
        command.arg("--ca-file").arg(ca_file);
        command
    }

    /// What `omsd status --json` says, whether the agent runs (0) or not (75); null while there is no status yet.
    pub fn status(&self) -> Value {
        let output = run(self.command("status").arg("--json"));
        assert!([0, 75].contains(&output.code()), "{output:?}");
        match output.stdout.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {output:?}")),
        }
    }

    /// The account of one stream (`syslog`, `operation`, ...) in the status; null before its first record.
    pub fn stream(&self, name: &str) -> Value {
        let status = self.status();
        let streams = status["streams"].as_array().into_iter().flatten();
        streams.into_iter().find(|stream| stream["name"] == name).cloned().unwrap_or_default()
    }

    /// The account of one stream on its way to the second destination; null before its first record.
    pub fn other_stream(&self, name: &str) -> Value {
        let status = self.status();
        let streams = status["others"][0]["streams"].as_array().into_iter().flatten();
        streams.into_iter().find(|stream| stream["name"] == name).cloned().unwrap_or_default()
    }

    /// Waits until the service has seen what is wanted; fails with all it has seen.
    #[track_caller]
    pub fn wait(&self, what: &str, condition: impl FnMut(&Seen) -> bool) {
        if self.standin.wait(super::PATIENCE, condition) {
            return;
        }
        let seen = self.standin.seen();
        panic!(
            "waited in vain for {what}: {:?}\ncomplaints: {:?}\nhandshakes: {:?}\nlast requests: {:#?}",
            seen.counts,
            seen.complaints,
            seen.handshake_errors,
            &seen.requests[seen.requests.len().saturating_sub(3)..]
        );
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the scenario's files are left in {}", self.root.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

/// An identity that the binary under test made, once for all scenarios: making a key takes seconds.
struct Identity {
    dir: PathBuf,
    url: String,
    agent: Agent,
}

/// A workspace beside the default one.
pub const OTHER_WORKSPACE: &str = "0c9f6c9e-3a52-4f0b-8a8e-6a1b4b7d5e21";

fn identity(workspace_id: &str) -> &'static Identity {
    static IDENTITIES: [OnceLock<Identity>; 2] = [OnceLock::new(), OnceLock::new()];
    IDENTITIES[usize::from(workspace_id == OTHER_WORKSPACE)].get_or_init(|| {
        let site = Site::bare(Options { workspace_id: workspace_id.to_owned(), ..Options::default() });
        let output = run(&mut site.onboard_command());
        assert!(output.status.success(), "onboarding failed: {output:?}");
        let agent = site.standin.seen().agents.first().expect("the service knows the agent").clone();
        let dir = temp_dir();
        std::fs::rename(site.root.join("etc"), dir.join("etc")).expect("the identity is kept");
        Identity { dir, url: site.standin.url(), agent }
    })
}

/// Mode bits of a file.
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    metadata.permissions().mode() & 0o7777
}
