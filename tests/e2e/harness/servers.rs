//! The real programs that omsd talks to: openssl, nginx and stunnel as servers, squid and tinyproxy as proxies. Each has a directory and ports of its own.

use super::copy_program;
use super::peers::find;
use super::{PATIENCE, free_port, tcp_listens, temp_dir, wait_for};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A running program that listens on a port of the loopback address; killed when dropped.
pub struct Server {
    /// Where it listens.
    pub port: u16,
    dir: PathBuf,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    /// Starts what `command` makes of a directory and a port, and waits until it listens.
    #[track_caller]
    pub fn start(package: &str, command: impl FnOnce(&Path, u16) -> Command) -> Self {
        let (dir, port) = (temp_dir(), free_port());
        let mut command = command(&dir, port);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}: install the package {package}"));
        let output: Arc<Mutex<Vec<u8>>> = Arc::default();
        gather(child.stdout.take().expect("piped"), output.clone());
        gather(child.stderr.take().expect("piped"), output.clone());
        let mut server = Self { port, dir, stdin: child.stdin.take(), child, output };
        wait_for(PATIENCE, &format!("{command:?} listens"), || {
            let ended = server.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "{command:?}: {ended:?}: {}", server.output());
            tcp_listens(port)
        });
        server
    }

    /// `openssl s_server` with these arguments; `{dir}` in them is `certificates`.
    #[track_caller]
    pub fn openssl(certificates: &Path, arguments: &str) -> Self {
        Self::start("openssl", |_, port| {
            let mut command = Command::new("openssl");
            command.current_dir(certificates).args(["s_server", "-accept", &format!("127.0.0.1:{port}")]);
            command.args(arguments.split_whitespace());
            command
        })
    }

    /// nginx with these lines in its `server` section. It answers 200 to everything.
    #[track_caller]
    pub fn nginx(certificates: &Path, lines: &str) -> Self {
        Self::start("nginx", |dir, port| {
            let lines = lines.replace("{dir}", &certificates.display().to_string());
            // Our own account: the workers read what we wrote.
            let conf = format!(
                "daemon off; master_process off; pid {d}/pid; error_log stderr notice;\nevents {{}}\n\
                 http {{ access_log {d}/access; client_body_temp_path {d}; proxy_temp_path {d}; fastcgi_temp_path {d};\n\
                 uwsgi_temp_path {d}; scgi_temp_path {d};\n\
                 server {{ listen 127.0.0.1:{port} ssl;\n{lines}\nlocation / {{ return 200; }} }} }}\n",
                d = dir.display()
            );
            std::fs::write(dir.join("nginx.conf"), conf).expect("nginx.conf is written");
            let mut command = Command::new(find("nginx", "nginx"));
            command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf")).args(["-e", "stderr"]);
            command
        })
    }

    /// stunnel with these lines in its section, in front of a plain server on `backend`.
    #[track_caller]
    pub fn stunnel(certificates: &Path, backend: u16, lines: &str) -> Self {
        Self::start("stunnel4", |dir, port| {
            let lines = lines.replace("{dir}", &certificates.display().to_string());
            let conf = format!(
                "foreground = yes\npid =\n[s]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{backend}\n{lines}\n"
            );
            std::fs::write(dir.join("stunnel.conf"), conf).expect("stunnel.conf is written");
            let mut command = Command::new(find("stunnel", "stunnel4"));
            command.arg(dir.join("stunnel.conf"));
            command
        })
    }

    /// squid on two ports: this one plain, or with TLS if a certificate of this name is given. `user`: wanted by it, with
    /// this password; who is not known gets 407.
    #[track_caller]
    pub fn squid(tls: Option<(&Path, &Path)>, known: Option<(&str, &str)>, rules: &str) -> Self {
        Self::start("squid-openssl", |dir, port| {
            let listen = match tls {
                None => format!("http_port 127.0.0.1:{port}"),
                Some((certificate, key)) => {
                    format!("https_port 127.0.0.1:{port} tls-cert={} tls-key={}", certificate.display(), key.display())
                }
            };
            let rules = known.map_or_else(String::new, |known| authentication(dir, known)) + rules;
            let conf = format!(
                "{listen}\npid_filename none\ncache deny all\naccess_log stdio:{d}/access\ncache_log {d}/log\n\
                 cache_store_log none\ncoredump_dir none\nmime_table /dev/null\nunlinkd_program /bin/true\npinger_enable off\n\
                 error_directory {d}\nicon_directory {d}\nmax_filedescriptors 1024\nshutdown_lifetime 0 seconds\n{rules}\n\
                 http_access allow all\n",
                d = dir.display()
            );
            std::fs::write(dir.join("squid.conf"), conf).expect("squid.conf is written");
            // As root it becomes another user.
            run_once("chmod", &["-R", "a+rwX", &dir.display().to_string()]);
            let mut command = Command::new(find("squid", "squid-openssl"));
            command.args(["-N", "-n", &squid_name(port), "-f"]).arg(dir.join("squid.conf"));
            command
        })
    }

    /// tinyproxy with these lines.
    #[track_caller]
    pub fn tinyproxy(lines: &str) -> Self {
        Self::start("tinyproxy-bin", |dir, port| {
            let conf = format!("Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\n{lines}\n");
            std::fs::write(dir.join("tinyproxy.conf"), conf).expect("tinyproxy.conf is written");
            let mut command = Command::new(find("tinyproxy", "tinyproxy-bin"));
            command.args(["-d", "-c"]).arg(dir.join("tinyproxy.conf"));
            command
        })
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().expect("no thread panicked")).into_owned()
    }

    /// One of its files, as far as it is there.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// Writes to its standard input; whether it took it.
    pub fn type_in(&mut self, text: &str) -> bool {
        let stdin = self.stdin.as_mut().expect("piped");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        remove_shared_memory(self.port);
        if std::thread::panicking() {
            eprintln!("the server in {} printed:\n{}", self.dir.display(), self.output());
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// What squid names its shared memory after: two of one name that start at the same moment get into each other's way.
fn squid_name(port: u16) -> String {
    format!("omsd{port}")
}

/// A squid that was killed leaves its shared memory behind.
fn remove_shared_memory(port: u16) {
    let prefix = squid_name(port) + "-";
    for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Lines with which squid wants Basic authentication, by the helper beside it.
fn authentication(dir: &Path, (user, password): (&str, &str)) -> String {
    let output = Command::new("openssl").args(["passwd", "-apr1", password]).output().expect("openssl runs");
    let hash = String::from_utf8(output.stdout).expect("a hash is ASCII");
    std::fs::write(dir.join("passwords"), format!("{user}:{}\n", hash.trim())).expect("passwords are written");
    // Started as root, squid becomes another user, who may not reach where its package was unpacked.
    copy_program(&squid_helper(), &dir.join("helper"));
    format!(
        "auth_param basic program {d}/helper {d}/passwords\nacl known proxy_auth REQUIRED\nhttp_access deny !known\n",
        d = dir.display()
    )
}

/// Beside the program, or where its package was unpacked: the command in PATH is a script then, whose last line runs it.
fn squid_helper() -> PathBuf {
    const HELPER: &str = "lib/squid/basic_ncsa_auth";
    let script = std::fs::read(find("squid", "squid-openssl")).expect("squid can be read");
    let script = String::from_utf8_lossy(&script[..script.len().min(4096)]).into_owned();
    let unpacked =
        script.split('"').find(|word| word.ends_with("/sbin/squid")).map(|path| path.replace("sbin/squid", HELPER));
    unpacked.map_or_else(|| Path::new("/usr").join(HELPER), PathBuf::from)
}

fn run_once(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).status().is_ok_and(|status| status.success()), "{program}");
}

fn gather(mut pipe: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count @ 1..) = pipe.read(&mut bytes) {
            into.lock().expect("no thread panicked").extend_from_slice(&bytes[..count]);
        }
    });
}
