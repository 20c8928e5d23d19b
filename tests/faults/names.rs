//! Name servers as real networks have them, in a network namespace with its own /etc: the first one dead, one that never answers, an answer that does not
//! fit a datagram, search domains, a hosts file, a resolv.conf that is missing or changes, addresses that swallow connections, IPv6 alone. The real binary
//! finds the service, or says why not and in bounded time; it starts no thread.

use crate::harness::{Numbered, Omsd, Output, Site, Source, run, temp_dir, wait_until};
use omsd_standin::Options;
use rustix::mount::mount_bind;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs the test again as the only one in a network and mount namespace of its own, where the loopback interface is all there is.
#[track_caller]
fn in_a_network_of_its_own(name: &str, body: fn()) {
    const INSIDE: &str = "OMSD_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let script = "ip link set lo up && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command.arg(std::env::current_exe().expect("this program")).args(["--exact", name, "--nocapture"]);
    // The bundle that it may name is in the /etc that is hidden.
    let output = run(command.env(INSIDE, "1").env_remove("SSL_CERT_FILE"));
    let ran = output.stdout.contains("test result: ok. 1 passed");
    assert!(ran, "{}\n{}", output.stdout, output.stderr);
}

/// What stands for /etc.
struct Etc(PathBuf);

impl Etc {
    fn new() -> Self {
        let dir = temp_dir();
        mount_bind(&dir, "/etc").expect("root may mount");
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("a file");
    }

    fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.0.join(name));
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const A: u8 = 1;
const AAAA: u8 = 28;

/// What a name server does with a question for a name's addresses of a kind.
#[derive(Clone)]
enum Does {
    /// Never answers.
    Silence,
    /// Knows these addresses of one name.
    Knows(&'static str, Vec<IpAddr>),
    /// Knows them behind so long a chain of aliases that no datagram holds it.
    Chain(&'static str, Vec<IpAddr>),
}

/// A name server, for as long as the test runs; counts the questions over TCP.
fn name_server(address: Ipv4Addr, does: Does) -> Arc<AtomicU32> {
    let over_tcp = Arc::new(AtomicU32::new(0));
    let udp = UdpSocket::bind((address, 53)).expect("port 53 is free in a new network");
    let tcp = TcpListener::bind((address, 53)).expect("port 53 is free in a new network");
    let (does_udp, counted) = (does.clone(), over_tcp.clone());
    std::thread::spawn(move || {
        let mut question = [0; 1232];
        while let Ok((count, from)) = udp.recv_from(&mut question) {
            if let Some(answer) = reply(&question[..count], &does_udp, false) {
                let _ = udp.send_to(&answer, from);
            }
        }
    });
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let mut length = [0; 2];
            stream.read_exact(&mut length).expect("a length");
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).expect("a question");
            counted.fetch_add(1, Ordering::SeqCst);
            if let Some(answer) = reply(&question, &does, true) {
                let length = u16::try_from(answer.len()).expect("a message").to_be_bytes();
                stream.write_all(&[&length, &answer[..]].concat()).expect("the answer is taken");
            }
        }
    });
    over_tcp
}

fn reply(question: &[u8], does: &Does, over_tcp: bool) -> Option<Vec<u8>> {
    let end = 12 + question[12..].iter().position(|&byte| byte == 0)?;
    let (name, kind) = (String::from_utf8_lossy(&question[12..end]).into_owned(), question[end + 2]);
    let name: String = name.chars().map(|shown| if shown.is_ascii_control() { '.' } else { shown }).collect();
    let mut answer = question[..end + 5].to_vec();
    (answer[2], answer[3], answer[11]) = (0x81, 0x80, 0);
    let (known, addresses, chain) = match does {
        Does::Silence => return None,
        Does::Knows(known, addresses) => (known, addresses, false),
        Does::Chain(known, addresses) => (known, addresses, true),
    };
    if name != format!(".{known}") {
        answer[3] |= 3; // there is no such name
        return Some(answer);
    }
    if chain && !over_tcp {
        answer[2] |= 2; // truncated
        return Some(answer);
    }
    // Aliases of 60 bytes each, all for the name itself: what matters is that they take room.
    for _ in 0..if chain { 30 } else { 0 } {
        record(&mut answer, 5, &[&[60][..], &[b'a'; 60], &[0]].concat());
    }
    for address in addresses {
        match address {
            IpAddr::V4(address) if kind == A => record(&mut answer, A, &address.octets()),
            IpAddr::V6(address) if kind == AAAA => record(&mut answer, AAAA, &address.octets()),
            _ => {}
        }
    }
    Some(answer)
}

fn record(answer: &mut Vec<u8>, kind: u8, data: &[u8]) {
    answer[7] += 1;
    answer.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, u8::try_from(data.len()).expect("short")]);
    answer.extend_from_slice(data);
}

const SERVICE: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::LOCALHOST)];

fn knows(addresses: &[IpAddr]) -> Does {
    Does::Knows("service.example", addresses.to_vec())
}

/// Onboards again, by a name.
fn by_name(site: &Site, name: &str) -> Output {
    run(&mut site.onboard_command_at(&format!("https://{name}:{}", site.standin.address().port())))
}

#[track_caller]
fn expect_found(site: &Site, name: &str) {
    let output = by_name(site, name);
    assert_eq!(output.code(), 0, "{output:?}");
}

#[track_caller]
fn expect_not_found(site: &Site, says: &str) {
    let output = by_name(site, "service.example");
    assert!(output.code() == 75 && output.stderr.contains(says), "{output:?}");
}

#[test]
fn what_files_say_is_read_anew_each_time() {
    in_a_network_of_its_own("names::what_files_say_is_read_anew_each_time", || {
        let (site, etc) = (Site::new(), Etc::new());
        expect_not_found(
            &site,
            "the name of service.example was not found (name server 127.0.0.1: Connection refused)",
        );
        etc.write("hosts", "127.0.0.1\tlocalhost\n127.0.0.1 other.example service.example # here\n");
        expect_found(&site, "service.example");
        etc.remove("hosts");
        expect_found(&site, "localhost");
        // Without a resolv.conf there is a server on this host.
        name_server(Ipv4Addr::LOCALHOST, knows(&SERVICE));
        expect_found(&site, "service.example");
        name_server(Ipv4Addr::new(127, 0, 0, 2), knows(&[]));
        etc.write("resolv.conf", "nameserver 127.0.0.2\n");
        expect_not_found(&site, "the name servers know no address of it");
        etc.write("resolv.conf", "search other.example example\nnameserver 127.0.0.1\n");
        expect_found(&site, "service");
    });
}

#[test]
fn dead_and_silent_servers_are_passed_over_and_long_answers_fetched_over_tcp() {
    in_a_network_of_its_own("names::dead_and_silent_servers_are_passed_over_and_long_answers_fetched_over_tcp", || {
        let (site, etc) = (Site::new(), Etc::new());
        name_server(Ipv4Addr::new(127, 0, 0, 3), Does::Silence);
        let over_tcp = name_server(Ipv4Addr::new(127, 0, 0, 4), Does::Chain("service.example", SERVICE.to_vec()));
        etc.write("resolv.conf", "nameserver 127.0.0.2\nnameserver 127.0.0.3\nnameserver 127.0.0.4\n");
        expect_found(&site, "service.example");
        assert!(over_tcp.load(Ordering::SeqCst) > 0, "the answer came in a datagram");
    });
}

#[test]
fn an_address_that_swallows_connections_does_not_hide_the_next() {
    in_a_network_of_its_own("names::an_address_that_swallows_connections_does_not_hide_the_next", || {
        let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0);
        let (site, etc) = (Site::with(Options { address, ..Options::default() }), Etc::new());
        let _swallowing = swallow(site.standin.address().port());
        etc.write("hosts", "127.0.0.1 service.example\n::1 service.example\n");
        expect_found(&site, "service.example");
        // IPv6 alone.
        etc.remove("hosts");
        name_server(Ipv4Addr::LOCALHOST, knows(&[Ipv6Addr::LOCALHOST.into()]));
        expect_found(&site, "service.example");
    });
}

/// Makes a port of 127.0.0.1 neither take nor refuse connections: its queue is full, so the kernel drops what asks for one.
fn swallow(port: u16) -> (TcpListener, Vec<TcpStream>) {
    std::fs::write("/proc/sys/net/core/somaxconn", "0").expect("the network is our own");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("only the service's IPv6 port is taken");
    let address = listener.local_addr().expect("an address");
    let second = std::time::Duration::from_secs(1);
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, second) {
        queued.push(stream);
    }
    (listener, queued)
}

#[test]
fn a_name_that_never_answers_has_an_end_and_starts_no_thread() {
    in_a_network_of_its_own("names::a_name_that_never_answers_has_an_end_and_starts_no_thread", || {
        let (site, etc) = (Site::new(), Etc::new());
        name_server(Ipv4Addr::LOCALHOST, Does::Silence);
        let trace = etc.0.join("trace");
        let plain = site.onboard_command_at("https://service.example");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=clone,clone3,fork,vfork", "-o"]).arg(&trace);
        let output = run(command.arg(plain.get_program()).args(plain.get_args()));
        assert!(output.code() == 75 && output.stderr.contains("no answer from name server 127.0.0.1"), "{output:?}");
        assert_eq!(std::fs::read_to_string(&trace).expect("the trace"), "", "something was started");
    });
}

#[test]
fn a_running_agent_finds_the_service_as_soon_as_resolv_conf_is_right() {
    in_a_network_of_its_own("names::a_running_agent_finds_the_service_as_soon_as_resolv_conf_is_right", || {
        let (site, etc) = (Site::new(), Etc::new());
        etc.write("hosts", "127.0.0.1 service.example\n");
        expect_found(&site, "service.example");
        etc.remove("hosts");
        name_server(Ipv4Addr::new(127, 0, 0, 2), knows(&SERVICE));
        let source = Source::tcp();
        site.configure(&[source], "");
        let omsd: Omsd = site.start();
        let messages = Numbered::new(100);
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, source.port())).expect("omsd listens");
        stream.write_all(messages.lines().as_bytes()).expect("omsd reads");
        omsd.wait_for_stderr("the name of service.example was not found");
        wait_until("it is told in the status", || {
            site.status()["upload"]["last_reason"].as_str().is_some_and(|reason| reason.contains("not found"))
        });
        etc.write("resolv.conf", "nameserver 127.0.0.2\n");
        messages.expect_once_each(&site, |_, _| {});
    });
}

/// Where the service is, seen from a host that has no way to it yet.
const AFAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The host boots: no address, no route, no resolv.conf, its own loopback interface down. These come one after the other, as by DHCP; the service is at the other end of
/// a cable that is put in.
#[test]
fn an_agent_that_starts_before_the_network_says_what_is_missing_and_delivers_when_it_is_there() {
    in_a_network_of_its_own(
        "names::an_agent_that_starts_before_the_network_says_what_is_missing_and_delivers_when_it_is_there",
        || {
            let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
            let (site, etc) = (Site::with(Options { address, ..Options::default() }), Etc::new());
            etc.write("hosts", "127.0.0.1 service.example\n");
            expect_found(&site, "service.example");
            etc.remove("hosts");
            site.configure(&[Source::UnixDatagram], "");
            let plain = site.command("run");
            let mut apart = Command::new("unshare");
            apart.arg("--net").arg(plain.get_program()).args(plain.get_args()).env("TZ", "UTC");
            let omsd = Omsd::spawn(apart);
            wait_until("it listens", || site.socket().exists() || !omsd.runs());
            let messages = Numbered::new(50);
            let local = UnixDatagram::unbound().expect("a socket");
            for line in messages.lines().lines() {
                local.send_to(line.as_bytes(), site.socket()).expect("omsd listens");
            }
            let says = |text: &str| {
                wait_until(text, || run(&mut site.command("status")).stdout.contains(text));
            };
            says("syslog: 51 received = 0 sent + 51 waiting + 0 lost\n");
            says("): none since the start\n  failed ");
            says(" failures in a row, next attempt in ");
            // C libraries have other words for the rest.
            says("the name of service.example was not found (name server 127.0.0.1: Network ");
            etc.write("resolv.conf", &format!("nameserver {AFAR}\n"));
            says(&format!("the name of service.example was not found (name server {AFAR}: Network "));
            let cable = format!(
                "ip link add there type veth peer name eth0 netns {0}
                 ip address add {AFAR}/24 dev there; ip link set there up
                 exec nsenter --net=/proc/{0}/ns/net sh -ec '
                 ip link set lo up; ip address add 192.0.2.2/24 dev eth0; ip link set eth0 up'",
                omsd.pid()
            );
            let put_in = run(Command::new("sh").args(["-ec", &cable]));
            assert_eq!(put_in.code(), 0, "{put_in:?}");
            name_server(AFAR, knows(&[AFAR.into()]));
            messages.expect_once_each(&site, |_, _| {});
            says("syslog: 51 received = 51 sent + 0 waiting + 0 lost\n");
            says("lost: nothing\n");
        },
    );
}
