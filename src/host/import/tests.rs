//! Trees of the original as they are found, and as they should not be.

use super::*;
use crate::onboard::certificate::Subject;
use crate::onboard::identity::tests::Root;
use alloc::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

const FIRST: &str = "11111111-1111-1111-1111-111111111111";
const SECOND: &str = "22222222-2222-2222-2222-222222222222";
const AGENT: &str = "aaaaaaaa-1111-4111-8111-111111111111";
const CONF: &str = include_str!("../../config/testdata/original/omsagent.conf");
const SYSLOG: &str = include_str!("../../config/testdata/original/omsagent.d/syslog.conf");
const MONITOR: &str = include_str!("../../config/testdata/original/omsagent.d/monitor.conf");

/// Certificate and key; made once, for it takes a while.
fn pair() -> &'static Certificate {
    static PAIR: OnceLock<Certificate> = OnceLock::new();
    PAIR.get_or_init(generate)
}

fn generate() -> Certificate {
    let now_unix_s = i64::try_from(clock::wall_us() / 1_000_000).unwrap();
    Certificate::generate(Subject { workspace_id: FIRST, agent_guid: AGENT }, now_unix_s).unwrap()
}

/// A host with the original, and where its files are.
struct Host {
    root: Root,
    from: PathBuf,
}

impl Host {
    fn new() -> Host {
        let root = Root::new();
        let from = root.0.join("etc/opt/microsoft/omsagent");
        Host { root, from }
    }

    /// As onboarding leaves it, with a proxy.
    fn onboarded() -> Host {
        let host = Host::new();
        host.workspace(FIRST);
        let names = ["conf", "certs"];
        names.iter().for_each(|it| {
            symlink(Path::new("/etc/opt/microsoft/omsagent").join(FIRST).join(it), host.from.join(it)).unwrap()
        });
        host.write("proxy.conf", "http://user:password@proxy:3128");
        host
    }

    fn workspace(&self, id: &str) {
        let conf = AdminConf {
            workspace_id: id.to_owned(),
            agent_guid: AGENT.to_owned(),
            oms_endpoint: format!("https://{id}.ods.opinsights.azure.com/OperationalData.svc/PostJsonDataItems"),
            uuid: Some(String::new()),
            ..AdminConf::default()
        };
        let conf = conf.to_text();
        let files = [
            ("conf/omsadmin.conf", conf.as_str()),
            ("conf/omsagent.conf", CONF),
            ("conf/omsagent.d/syslog.conf", SYSLOG),
            ("conf/omsagent.d/monitor.conf", MONITOR),
            ("certs/oms.crt", &pair().certificate_pem),
            ("certs/oms.key", &pair().key_pem),
        ];
        files.iter().for_each(|(name, text)| self.write(&format!("{id}/{name}"), text));
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.from.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    }

    fn ours(&self, name: &str) -> PathBuf {
        self.root.0.join("etc/opt/omsd").join(name)
    }

    fn look(&self) -> Result<Found> {
        look(&Request { root: &self.root.0, from: None, workspaces: &[], no_config: false })
    }

    fn refused(&self) -> ImportError {
        self.look().and_then(|found| found.take()).expect_err("taken over")
    }
}

/// Every file below a directory, with what it holds, its mode and its times.
fn listing(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let metadata = fs::symlink_metadata(entry.path()).unwrap();
        let content =
            if metadata.is_file() { fs::read_to_string(entry.path()).unwrap_or_default() } else { String::new() };
        let facts = format!("{:o} {} {} {content}", metadata.mode(), metadata.mtime_nsec(), metadata.ctime_nsec());
        all.insert(entry.path(), facts);
        if metadata.is_dir() {
            all.extend(listing(&entry.path()));
        }
    }
    all
}

#[test]
fn identity_proxy_and_configuration_are_taken_over_and_given_back() {
    let host = Host::onboarded();
    let before = listing(&host.from);
    let found = host.look().unwrap();
    assert!(!host.ours("").exists(), "looking writes nothing");
    found.take().unwrap();

    let known = Directory::new(&host.root.0, FIRST).load().unwrap();
    assert_eq!((known.conf.agent_guid.as_str(), &known.pair.key_pem), (AGENT, &pair().key_pem));
    assert_eq!(identity::list(&host.root.0).len(), 1);
    assert!(host.ours("certs/oms.key").exists(), "it is the primary one");
    let proxy_mode = if crate::sys::privilege::is_root() { 0o640 } else { 0o600 };
    for (name, mode) in [("certs/oms.key", 0o600), ("certs/", 0o700), ("proxy.conf", proxy_mode), ("omsd.conf", 0o644)]
    {
        assert_eq!(fs::metadata(host.ours(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    assert_eq!(fs::read_to_string(host.ours("proxy.conf")).unwrap(), "http://user:password@proxy:3128");
    let parsed = config::parse(&mut HostFiles::new(&host.root.0), &host.ours("omsd.conf").to_string_lossy());
    let (config, _) = parsed.expect("accepted");
    assert_eq!((config.sources.len(), config.perf.len(), config.targets.len()), (1, 1, 1));

    assert_eq!(give_back(&host.root.0).unwrap(), [""; 0]);
    assert!(!host.ours("").exists(), "something was left behind");
    assert_eq!(listing(&host.from), before, "the original was touched");
}

#[test]
fn what_is_left_out_of_the_configuration_is_named_by_its_line() {
    let host = Host::onboarded();
    let shown = host.look().unwrap().to_string();
    let line = format!("{}:5:", host.from.join(FIRST).join("conf/omsagent.conf").display());
    assert!(shown.contains("type `exec` does nothing here"), "{shown}");
    assert!(shown.contains(&line) && shown.contains("retry_limit 6, as it was"), "{shown}");
    assert!(!shown.contains("password"), "{shown}");
}

#[test]
fn several_workspaces_share_what_the_primary_one_receives() {
    let host = Host::onboarded();
    host.workspace(SECOND);
    fs::remove_file(host.from.join("conf")).unwrap();
    symlink(host.from.join(SECOND).join("conf"), host.from.join("conf")).unwrap();
    let found = host.look().unwrap();
    assert!(found.notes.iter().any(|note| note.contains(FIRST)), "{:?}", found.notes);
    found.take().unwrap();
    let workspaces = identity::list(&host.root.0);
    assert_eq!((workspaces[0].workspace_id.as_str(), workspaces[0].is_primary), (SECOND, true));
    assert!(workspaces.iter().all(|workspace| workspace.is_onboarded) && workspaces.len() == 2);
    let text = fs::read_to_string(host.ours("omsd.conf")).unwrap();
    assert!(text.contains(&format!("workspace_id {FIRST}")) && text.contains(&format!("workspace_id {SECOND}")));
    give_back(&host.root.0).unwrap();
    assert!(!host.ours("").exists());
}

#[test]
fn a_workspace_that_was_removed_there_is_passed_over_and_one_may_be_chosen() {
    let host = Host::onboarded();
    fs::create_dir_all(host.from.join(SECOND).join("conf")).unwrap();
    assert_eq!(host.look().unwrap().workspaces.len(), 1);
    host.workspace(SECOND);
    let chosen =
        |id: &str| look(&Request { root: &host.root.0, from: None, workspaces: &[id.to_owned()], no_config: true });
    let found = chosen(SECOND).unwrap();
    assert_eq!((found.workspaces.len(), found.workspaces[0].id.as_str()), (1, SECOND));
    assert!(found.configuration.is_none());
    assert_eq!(chosen(AGENT).err().unwrap().exit_code(), 64);
}

#[test]
fn more_workspaces_than_are_served_are_a_matter_of_choice() {
    let host = Host::onboarded();
    (2..=5).for_each(|number| host.workspace(&FIRST.replace('1', &number.to_string())));
    let refused = host.refused();
    assert!(refused.exit_code() == 64 && refused.to_string().contains("-w"), "{refused}");
}

#[test]
fn a_copy_of_its_directory_is_as_good() {
    let host = Host::onboarded();
    host.write(
        &format!("{FIRST}/conf/omsagent.conf"),
        &CONF.replace("@include ", &format!("@include {ORIGINAL}/{FIRST}/conf/")),
    );
    let copy = host.root.0.join("backup");
    fs::rename(&host.from, &copy).unwrap();
    let found = look(&Request { root: &host.root.0, from: Some(&copy), workspaces: &[], no_config: false }).unwrap();
    found.take().unwrap();
    assert!(fs::read_to_string(host.ours("omsd.conf")).unwrap().contains("port 25224"));
}

/// A tree with something wrong is refused with these words, and nothing is written.
#[track_caller]
fn check_refused(spoil: impl FnOnce(&Host), exit_code: u8, words: &str) {
    let host = Host::onboarded();
    spoil(&host);
    let refused = host.refused();
    assert!(refused.to_string().contains(words), "{refused}");
    assert_eq!(refused.exit_code(), exit_code, "{refused}");
    assert!(!host.ours("").exists(), "something was written");
}

fn in_first(name: &str) -> String {
    format!("{FIRST}/{name}")
}

fn replace(host: &Host, name: &str, make: impl FnOnce(&Path)) {
    let path = host.from.join(in_first(name));
    fs::remove_file(&path).unwrap();
    make(&path);
}

#[test]
fn what_cannot_be_used_is_named_and_nothing_is_written() {
    const CONFS: [&str; 3] = ["conf/omsadmin.conf", "certs/oms.crt", "certs/oms.key"];
    for name in CONFS {
        check_refused(|host| host.write(&in_first(name), "\n"), 78, &format!("{name}: empty"));
        check_refused(|host| replace(host, name, |path| symlink("/etc/passwd", path).unwrap()), 78, "not a file");
        check_refused(|host| replace(host, name, |path| fs::create_dir(path).unwrap()), 78, "not a file");
        let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        check_refused(|host| replace(host, name, pipe), 78, "not a file");
        let huge = |path: &Path| File::create(path).unwrap().set_len(1 << 40).unwrap();
        check_refused(|host| replace(host, name, huge), 78, "too long");
        check_refused(|host| replace(host, name, |path| fs::write(path, b"\xff\xfe").unwrap()), 78, "not a text");
    }
    for name in &CONFS[1..] {
        check_refused(|host| replace(host, name, |_| ()), 74, "No such file");
    }
    check_refused(|host| replace(host, CONFS[0], |_| ()), 78, "no agent was onboarded");
    let admin_conf = |from: &'static str, to: &'static str| {
        move |host: &Host| {
            let path = host.from.join(in_first(CONFS[0]));
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from));
            fs::write(path, text.replace(from, to)).unwrap();
        }
    };
    check_refused(admin_conf(AGENT, "x"), 78, "AGENT_GUID");
    check_refused(admin_conf(AGENT, ""), 78, "AGENT_GUID is missing");
    check_refused(admin_conf("ID=1111", "ID=2222"), 78, "WORKSPACE_ID");
    check_refused(admin_conf("https://", "http://"), 78, "OMS_ENDPOINT");
    check_refused(|host| host.write(&in_first(CONFS[2]), &generate().key_pem), 78, "not the key of the certificate");
    check_refused(|host| host.write(&in_first(CONFS[1]), "no certificate"), 78, "not the key of the certificate");
    check_refused(|host| host.write("proxy.conf", "ftp://proxy"), 78, "proxy.conf");
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused_with_its_lines_and_can_be_left() {
    let conf = in_first("conf/omsagent.conf");
    check_refused(
        |host| host.write(&conf, "<source>\ntype syslog\nport 1\n</source>\n"),
        78,
        "omsagent.conf:1:1: error",
    );
    check_refused(
        |host| replace(host, "conf/omsagent.conf", |path| symlink("/etc/passwd", path).unwrap()),
        78,
        "a link",
    );
    check_refused(|host| host.write(&conf, &"#".repeat(2 << 20)), 78, "too long");
    let host = Host::onboarded();
    host.write(&conf, "<match>\n");
    let request = Request { root: &host.root.0, from: None, workspaces: &[], no_config: true };
    look(&request).unwrap().take().unwrap();
    assert!(host.ours("conf/omsadmin.conf").exists() && !host.ours("omsd.conf").exists());
}

#[test]
fn what_is_ours_already_stands_in_the_way_or_is_kept() {
    let host = Host::onboarded();
    fs::create_dir_all(host.ours("")).unwrap();
    fs::write(host.ours("omsd.conf"), "# mine").unwrap();
    fs::write(host.ours("proxy.conf"), "mine:1").unwrap();
    let before = listing(&host.ours("")).into_keys().collect::<Vec<_>>();
    let found = host.look().unwrap();
    assert!(found.notes.iter().any(|note| note.contains("proxy.conf")), "{:?}", found.notes);
    found.take().unwrap();
    assert_eq!(host.refused().exit_code(), 75);
    assert_eq!(fs::read_to_string(host.ours("proxy.conf")).unwrap(), "mine:1");
    give_back(&host.root.0).unwrap();
    assert_eq!(fs::read_to_string(host.ours("omsd.conf")).unwrap(), "# mine");
    assert_eq!(listing(&host.ours("")).into_keys().collect::<Vec<_>>(), before);
    assert_eq!(give_back(&host.root.0).unwrap_err().exit_code(), 75);

    let directory = Directory::new(&host.root.0, SECOND);
    directory.prepare().unwrap();
    let refused = host.refused();
    assert!(refused.exit_code() == 75 && refused.to_string().contains(SECOND), "{refused}");
}

#[test]
fn what_fails_half_way_leaves_nothing() {
    let host = Host::onboarded();
    fs::create_dir_all(host.ours("certs/of a person")).unwrap();
    let before = listing(&host.root.0).into_keys().collect::<Vec<_>>();
    let refused = host.refused();
    assert!(refused.to_string().contains("etc/opt/omsd/certs"), "{refused}");
    assert_eq!(listing(&host.root.0).into_keys().collect::<Vec<_>>(), before);
}

#[test]
fn what_was_changed_since_stays() {
    let host = Host::onboarded();
    host.look().unwrap().take().unwrap();
    fs::write(host.ours("omsd.conf"), "# changed").unwrap();
    fs::write(host.ours("proxy.conf"), "changed:1").unwrap();
    let renewed = generate();
    Directory::new(&host.root.0, FIRST).store_pair(&renewed, None).unwrap();
    let notes = give_back(&host.root.0).unwrap().join("\n");
    assert!(notes.contains("omsd.conf") && notes.contains("proxy.conf") && notes.contains("renewed"), "{notes}");
    assert_eq!(fs::read_to_string(host.ours("omsd.conf")).unwrap(), "# changed");
    assert!(identity::list(&host.root.0).is_empty());
}

#[test]
fn an_agent_that_was_onboarded_anew_stays() {
    let host = Host::onboarded();
    host.look().unwrap().take().unwrap();
    let directory = Directory::new(&host.root.0, FIRST);
    let conf = AdminConf { agent_guid: SECOND.to_owned(), ..directory.load().unwrap().conf };
    directory.store_conf(&conf).unwrap();
    assert!(give_back(&host.root.0).unwrap()[0].contains("onboarded anew"));
    assert!(directory.load().is_some());
}

#[test]
fn its_process_is_told_with_what_stops_it() {
    let host = Host::onboarded();
    let mut process = Command::new("sleep").arg0("omsagent").arg("60").spawn().unwrap();
    let file = host.root.0.join("var/opt/microsoft/omsagent").join(FIRST).join("run/omsagent.pid");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, process.id().to_string()).unwrap();
    // Until the child is sleep it has our name.
    let known = (0..1000).any(|_| {
        std::thread::yield_now();
        running(&host.root.0).is_some()
    });
    assert!(known);
    let notes = host.look().unwrap().notes.join("\n");
    assert!(notes.contains(&process.id().to_string()) && notes.contains("service_control stop"), "{notes}");
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(running(&host.root.0), None);
}

#[test]
fn a_key_that_anybody_may_read_is_told() {
    let host = Host::onboarded();
    let key = host.from.join(in_first("certs/oms.key"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let notes = host.look().unwrap().notes.join("\n");
    assert!(notes.contains("anybody may read"), "{notes}");
}
