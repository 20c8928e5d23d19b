//! The service asks for a new certificate, or ten days are left of the old one: a new pair is announced by the old one, proved by a heartbeat, and put in
//! its place; records go on. The service will not have it, or falls silent between, or the agent is killed there: the old pair goes on, and the next
//! heartbeat finds its way. `omsd onboard --renew`, killed at every system call of the swap, leaves a key that fits the certificate. Endpoints that the
//! service names are written down. A clock that is off is told from a certificate that is refused.

use crate::harness::{Omsd, PATIENCE, Site, Source, mode, run, wait_for, wait_until};
use omsd_standin::tls::pem_blocks;
use omsd_standin::{Agent, Answer, Manner, Options, Route, Seen, Standin, Told};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// An interval that the service may not ask for: the configured second stays.
fn told(update_certificate: bool) -> Told {
    Told { update_certificate, query_interval: "PT1S".to_owned(), ..Told::default() }
}

/// Making a key takes seconds of a processor, and whoever makes it stands back behind everybody else.
const A_NEW_KEY: Duration = Duration::from_secs(200);

/// An agent that tells the service every second that it is there.
struct Scene {
    site: Site,
    source: Source,
    before: Agent,
}

impl Scene {
    fn new(options: Options, told: Told) -> Self {
        let site = Site::with(options);
        let source = Source::udp();
        site.configure(&[source], "");
        site.add_topology_heartbeat();
        site.standin.tell(told);
        let before = site.standin.seen().agents[0].clone();
        Self { site, source, before }
    }

    fn agent(&self) -> Agent {
        self.site.standin.seen().agents[0].clone()
    }

    /// A record that the agent takes now reaches the service.
    #[track_caller]
    fn expect_delivery(&self, text: &str) {
        send(self.source, text);
        self.site.wait(text, |seen| seen.messages().any(|message| message == text));
    }

    #[track_caller]
    fn wait_for(&self, what: &str, route: Route, status: u16, count: usize) {
        self.site.wait(what, |seen| answered(seen, route, status) >= count);
    }

    /// What it says once it has made a key.
    #[track_caller]
    fn wait_for_key(omsd: &Omsd, text: &str) {
        wait_for(A_NEW_KEY, text, || omsd.stderr().contains(text) || !omsd.runs());
        assert!(omsd.stderr().contains(text), "{text:?} was never said: {}", omsd.stderr());
    }

    /// The new certificate is in place, the service knows it alone, and nothing else is left.
    #[track_caller]
    fn expect_renewed(&self) {
        let agent = self.agent();
        assert!(agent.certificate != self.before.certificate && agent.announced.is_none(), "{agent:?}");
        wait_until("the swap is done", || !self.certs("oms.crt.new").exists() && !self.certs("oms.key.new").exists());
        assert_eq!(der(&self.certs("oms.crt")), agent.certificate);
        assert_eq!(keys_that_fit(&self.certs("")), [true]);
        assert_eq!(modulus("rsa", &self.certs("oms.key")), modulus("x509", &self.certs("oms.crt")), "says openssl");
        assert_eq!((mode(&self.certs("oms.crt")), mode(&self.certs("oms.key"))), (0o640, 0o600));
        let names = std::fs::read_dir(self.certs("")).expect("certs").count();
        assert_eq!(names, 2, "something was left behind");
    }

    /// The old certificate is in place.
    #[track_caller]
    fn expect_kept(&self) {
        assert_eq!(der(&self.certs("oms.crt")), self.before.certificate);
        assert_eq!(keys_that_fit(&self.certs("")), [true]);
    }

    fn certs(&self, name: &str) -> PathBuf {
        self.site.etc("certs").join(name)
    }

    fn renew_command(&self) -> Command {
        let mut command = self.site.command("onboard");
        command.arg("--renew").arg("--ca-file").arg(self.site.etc("ca.pem"));
        command
    }
}

fn answered(seen: &Seen, route: Route, status: u16) -> usize {
    seen.requests.iter().filter(|request| (request.route, request.status) == (route, status)).count()
}

/// For each key in oms.key, whether it is the one of oms.crt: whether its modulus stands there. Where that is in our keys: RFC 8017 appendix A.1.2.
fn keys_that_fit(certs: &Path) -> Vec<bool> {
    let certificate = der(&certs.join("oms.crt"));
    let text = std::fs::read_to_string(certs.join("oms.key")).expect("oms.key");
    let fits = |key: Vec<u8>| certificate.windows(256).any(|bytes| bytes == &key[12..268]);
    pem_blocks(&text).into_iter().map(fits).collect()
}

fn der(certificate: &Path) -> Vec<u8> {
    let text = std::fs::read_to_string(certificate).expect("a certificate");
    pem_blocks(&text).pop().expect("a certificate")
}

/// As openssl sees it.
fn modulus(kind: &str, path: &Path) -> String {
    let output = run(Command::new("openssl").args([kind, "-noout", "-modulus", "-in"]).arg(path));
    assert!(output.code() == 0 && output.stdout.starts_with("Modulus="), "{output:?}");
    output.stdout
}

#[test]
fn at_the_request_of_the_service() {
    let scene = Scene::new(Options::default(), told(true));
    let omsd = scene.site.start();
    scene.expect_delivery("before");
    Scene::wait_for_key(&omsd, "oms.crt was renewed; it ends on ");
    scene.expect_renewed();
    // The service knows the new one alone; and its asking again and again is heard once an hour.
    scene.expect_delivery("after");
    let beats = answered(&scene.site.standin.seen(), Route::Heartbeat, 200);
    scene.wait_for("two more heartbeats", Route::Heartbeat, 200, beats + 2);
    let seen = scene.site.standin.seen();
    assert_eq!(answered(&seen, Route::Renewal, 200), 1);
    assert_eq!((seen.refusals.len(), seen.complaints.len()), (0, 0), "{:?} {:?}", seen.refusals, seen.complaints);
    drop(seen);
    let status = scene.site.status();
    let identity = &status["identities"][0];
    assert!(!identity["last_heartbeat"].as_str().unwrap_or_default().is_empty(), "{identity}");
    let output = run(&mut scene.site.command("status"));
    let year = identity["certificate_end"].as_str().and_then(|end| end.get(..4)).unwrap_or("?");
    assert!(output.stdout.contains(&format!("oms.crt ends {year}")), "{output:?}");
}

/// Makes the agent's certificate one that ends in ten days.
fn age(scene: &mut Scene) {
    let (key, certificate) = (scene.certs("oms.key"), scene.certs("oms.crt"));
    let subject = format!(
        "/CN={}/CN={}/OU=Linux Monitoring Agent/O=Microsoft",
        scene.before.workspace_id, scene.before.agent_guid
    );
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-utf8", "-sha256", "-days", "10", "-subj", &subject, "-key"]).arg(key);
    let output = command.arg("-out").arg(&certificate).output().expect("openssl(1)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    scene.before.certificate = der(&certificate);
    scene.site.standin.adopt(scene.before.clone());
}

#[test]
fn when_ten_days_are_left() {
    let mut scene = Scene::new(Options::default(), told(false));
    age(&mut scene);
    let omsd = scene.site.start();
    Scene::wait_for_key(&omsd, "oms.crt was renewed");
    scene.expect_renewed();
    scene.expect_delivery("after");
}

#[test]
fn a_service_that_will_not_have_it_leaves_the_old_one_in_use() {
    let scene = Scene::new(Options::default(), told(true));
    scene.site.standin.answer_always(Route::Renewal, Answer::status(403));
    let omsd = scene.site.start();
    Scene::wait_for_key(&omsd, "the service does not take a new certificate (403); the old one stays in use");
    scene.expect_kept();
    assert!(!scene.certs("oms.crt.new").exists(), "a pair that nobody wants was left");
    scene.expect_delivery("after");
}

#[test]
fn a_new_pair_that_is_refused_is_tried_again_and_then_dropped() {
    let scene = Scene::new(Options::default(), told(true));
    // The first heartbeat, the one as the new certificate, and that one again: no. From then on only the old one is shown.
    scene.site.standin.answer_next(Route::Heartbeat, [200, 403, 403].map(Answer::status));
    let omsd = scene.site.start();
    Scene::wait_for_key(&omsd, "the service does not take a new certificate (403); the old one stays in use");
    wait_until("the pair that is refused is dropped", || !scene.certs("oms.crt.new").exists());
    scene.expect_kept();
    scene.expect_delivery("after");
}

#[test]
fn an_agent_killed_after_the_announcement_uses_the_new_pair_when_it_is_started_again() {
    let scene = Scene::new(Options::default(), told(true));
    scene.site.standin.answer_next(Route::Renewal, [Answer::manner(Manner::Silence { taken: true })]);
    let mut omsd = scene.site.start();
    assert!(scene.site.standin.wait(A_NEW_KEY, |seen| seen.agents[0].announced.is_some()), "{}", omsd.stderr());
    omsd.kill();
    scene.expect_kept();
    let omsd = scene.site.start();
    Scene::wait_for_key(&omsd, "oms.crt was renewed");
    scene.expect_renewed();
    assert_eq!(scene.site.standin.seen().requests.iter().filter(|request| request.route == Route::Renewal).count(), 1);
    scene.expect_delivery("after");
}

/// Every file that the swap touches.
const TOUCHED: [&str; 6] = ["oms.key", "oms.crt", ".oms.key.new", ".oms.crt.new", "oms.key.new", "oms.crt.new"];

/// Every system call that changes them, by its names on all machines.
const CALLS: [&str; 8] = [
    "?open,openat",
    "write",
    "fsync",
    "fchmod",
    "?fchown,?fchown32",
    "?rename,?renameat,?renameat2",
    "?unlink,?unlinkat",
    "close",
];

#[test]
fn killed_at_every_system_call_of_the_swap_it_leaves_files_that_work() {
    let scene = Scene::new(Options::default(), told(false));
    // A pair that waits: announced, and not proved.
    scene.site.standin.answer_next(Route::Heartbeat, [Answer::status(200), Answer::status(503)]);
    let output = run(&mut scene.renew_command());
    assert_eq!(output.code(), 75, "{output:?}");
    let waiting = scene.agent();
    assert!(waiting.announced.is_some() && scene.certs("oms.crt.new").exists());
    let kept = scene.site.root.join("kept");
    copy(&scene.certs(""), &kept);

    let certs = std::fs::canonicalize(scene.certs("")).expect("certs");
    let mut killed = [0, 0];
    for call in CALLS {
        // Until a run gets through without so many of these calls.
        for point in 1.. {
            copy(&kept, &certs);
            scene.site.standin.adopt(waiting.clone());
            let output = run(&mut killed_at(&scene, &certs, call, point));
            if output.status.success() {
                break;
            }
            let fit = keys_that_fit(&certs);
            assert!(fit.contains(&true) && fit.len() <= 2, "killed at {call} {point}: {fit:?}");
            let now = der(&certs.join("oms.crt"));
            let known = [&waiting.certificate, waiting.announced.as_ref().expect("announced")];
            killed[known.iter().position(|known| **known == now).expect("the old or the new one")] += 1;
            // Whoever comes next finds one pair, and the service takes it. Without one that waits it would make another.
            if scene.certs("oms.crt.new").exists() && scene.certs("oms.key.new").exists() {
                let output = run(&mut scene.renew_command());
                assert_eq!(output.code(), 0, "after a kill at {call} {point}: {output:?}");
                assert_eq!(keys_that_fit(&certs), [true], "after a kill at {call} {point}");
            }
        }
    }
    assert!(killed[0] >= 20 && killed[1] >= 8, "too few: {killed:?}");
}

fn killed_at(scene: &Scene, certs: &Path, call: &str, point: u32) -> Command {
    let plain = scene.renew_command();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "signal=none"]);
    command.args(["-e", &format!("inject={call}:signal=KILL:when={point}")]);
    // By the name that it has through the link, and by the one that an open descriptor shows.
    for directory in [&scene.certs(""), certs] {
        command.args(TOUCHED.iter().flat_map(|name| ["-P".into(), directory.join(name).into_os_string()]));
    }
    command.arg(plain.get_program()).args(plain.get_args()).env("TZ", "UTC");
    command
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

#[test]
fn endpoints_that_the_service_names_are_used() {
    let moved = "/moved/ConfigurationService.Svc/RenewCertificate";
    let told = Told { renewal_path: moved.to_owned(), dsc_host: "other.example.net".to_owned(), ..told(true) };
    let scene = Scene::new(Options::default(), told);
    let omsd = scene.site.start();
    Scene::wait_for_key(&omsd, "oms.crt was renewed");
    let text = std::fs::read_to_string(scene.site.etc("conf/omsadmin.conf")).expect("omsadmin.conf");
    assert!(text.contains(&format!("CERTIFICATE_UPDATE_ENDPOINT={}{moved}\n", scene.site.standin.url())), "{text}");
    assert!(
        text.contains("DSC_ENDPOINT=https://other.example.net/Accounts/") && text.contains("Nodes\\(AgentId="),
        "{text}"
    );
    assert_eq!(text.lines().count(), 10);
    scene.expect_renewed();
}

#[test]
fn a_running_agent_sends_to_where_it_is_onboarded_anew() {
    let scene = Scene::new(Options::default(), told(false));
    let other = Standin::start(Options::default()).expect("the other service starts");
    scene.site.write_ca(&[scene.site.standin.ca_pem(), other.ca_pem()].concat());
    let omsd = scene.site.start();
    scene.expect_delivery("here");
    let mut command = scene.site.command("onboard");
    let options = scene.site.standin.options();
    command.args(["-w", &options.workspace_id, "-s", &options.shared_key, "--endpoint", &other.url()]);
    let output = run(command.arg("--ca-file").arg(scene.site.etc("ca.pem")));
    assert_eq!(output.code(), 0, "{output:?}");
    send(scene.source, "there");
    assert!(other.wait(PATIENCE, |seen| seen.messages().any(|message| message == "there")), "{}", omsd.stderr());
    assert_eq!(other.seen().complaints, [""; 0]);
}

fn send(source: Source, text: &str) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let line = format!("<13>Nov 22 20:00:00 web01 app: {text}");
    socket.send_to(line.as_bytes(), (Ipv4Addr::LOCALHOST, source.port())).expect("it is sent");
}

#[test]
fn a_clock_that_is_off_is_not_taken_for_a_bad_certificate() {
    let hour_ahead = Options { clock_offset_s: 3600, ..Options::default() };
    let scene = Scene::new(hour_ahead, told(true));
    let omsd = scene.site.start();
    omsd.wait_for_stderr("this host's clock is 60 min behind its clock: set the clock; the certificate is kept");
    scene.expect_kept();
    assert_eq!(answered(&scene.site.standin.seen(), Route::Renewal, 200), 0);
    // Said once, however often it is so.
    scene.wait_for("three refusals", Route::Heartbeat, 403, 3);
    assert_eq!(omsd.stderr().matches("60 min behind").count(), 1, "{}", omsd.stderr());
}

#[test]
fn by_hand_and_removed() {
    let scene = Scene::new(Options::default(), told(false));
    let output = run(&mut scene.renew_command());
    assert!(
        output.code() == 0 && output.stdout.starts_with("The certificate was renewed; it ends on 20"),
        "{output:?}"
    );
    scene.expect_renewed();
    let workspace = &scene.before.workspace_id;
    let output = run(scene.site.command("onboard").args(["remove", workspace]));
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(!scene.site.etc(workspace).exists() && std::fs::symlink_metadata(scene.site.etc("certs")).is_err());
    let output = run(scene.renew_command().args(["-w", workspace]));
    assert!(output.code() == 78 && output.stderr.contains("run omsd onboard"), "{output:?}");
    assert_eq!(run(scene.site.command("onboard").args(["remove", "nonsense"])).code(), 64);
}
