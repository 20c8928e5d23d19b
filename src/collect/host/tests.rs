use super::*;
use crate::collect::testing::{COMPAT, Found, PLAIN, Tree};
use alloc::format;
use alloc::string::String;

/// The files of a host, in the form of testdata/.
struct Recorded {
    first: Vec<(&'static str, String)>,
    later: Vec<(&'static str, String)>,
    found: String,
}

fn recorded(text: &'static str) -> Recorded {
    let mut host = Recorded { first: Vec::new(), later: Vec::new(), found: String::new() };
    let mut is_later = false;
    for section in text.split("==> ").skip(1) {
        let (path, bytes) = section.split_once('\n').unwrap();
        match path {
            "later" => is_later = true,
            "found" => host.found = bytes.into(),
            _ if is_later => host.later.push((path, bytes.into())),
            _ => host.first.push((path, bytes.into())),
        }
    }
    host
}

/// Samples of all objects, each by a source of its own.
struct Sources(Vec<Window>);

impl Sources {
    fn new(options: Options) -> Sources {
        Sources(Object::ALL.map(|object| Window::new(object, options)).into())
    }

    /// What is found, but for the space of file systems, which is this machine's.
    fn sample(&mut self, host: &mut Host, now_ms: u64) -> String {
        let mut text = String::new();
        for window in &mut self.0 {
            let mut found = Found::default();
            host.sample(now_ms, window, &mut found).unwrap();
            for (instance, values) in found.0 {
                let values = if window.object == Object::LogicalDisk { &values[5..] } else { &values[..] };
                let values: Vec<String> = values.iter().map(|value| value.map_or("-".into(), six_digits)).collect();
                text += &format!("{} | {instance} | {}\n", window.object.name(), values.join(" "));
            }
        }
        text
    }
}

/// As the wire has fractions.
fn six_digits(value: f64) -> String {
    let rounded: f64 = format!("{value:.5e}").parse().unwrap();
    format!("{}", if value.fract() == 0.0 { value } else { rounded })
}

#[track_caller]
fn check_recorded(text: &'static str) {
    let recorded = recorded(text);
    let tree = Tree::new();
    recorded.first.iter().for_each(|(path, text)| tree.write(path, text));
    let mut host = Host::new(&tree.root());
    let mut sources = Sources::new(PLAIN);
    sources.sample(&mut host, 5_000);
    recorded.later.iter().for_each(|(path, text)| tree.write(path, text));
    assert_eq!(sources.sample(&mut host, 15_000), recorded.found);
}

#[test]
fn a_32_bit_kernel_2_6_32_is_understood() {
    check_recorded(include_str!("../testdata/rhel6.txt"));
}

#[test]
fn a_virtual_machine_with_kernel_3_10_is_understood() {
    check_recorded(include_str!("../testdata/rhel7.txt"));
}

#[test]
fn kernel_6_1_with_disks_that_come_and_go_is_understood() {
    check_recorded(include_str!("../testdata/debian12.txt"));
}

#[test]
fn a_container_is_understood() {
    check_recorded(include_str!("../testdata/container.txt"));
}

fn window(object: Object) -> Window {
    Window::new(object, PLAIN)
}

/// A sample of one object.
#[track_caller]
fn sample(host: &mut Host, window: &mut Window, now_ms: u64) -> Found {
    let mut found = Found::default();
    host.sample(now_ms, window, &mut found).unwrap();
    found
}

#[test]
fn each_source_has_rates_of_its_own_time() {
    let tree = Tree::new();
    tree.write("proc/meminfo", "MemTotal: 1024 kB\n");
    let mut host = Host::new(&tree.root());
    let (mut often, mut seldom) = (window(Object::Memory), window(Object::Memory));
    let mut reads = |now_ms: u64, window: &mut Window| {
        tree.write("proc/vmstat", format!("pgpgin {}\npgpgout 0\n", now_ms * now_ms / 1000));
        sample(&mut host, window, now_ms).values("Memory")[5]
    };
    assert_eq!(reads(0, &mut often), None);
    assert_eq!(reads(0, &mut seldom), None);
    assert_eq!(reads(10_000, &mut often), Some(10_000.0));
    assert_eq!(reads(20_000, &mut often), Some(30_000.0));
    assert_eq!(reads(20_000, &mut seldom), Some(20_000.0));
    assert_eq!(reads(30_003, &mut often), Some(500_180_000.0 / 10_003.0));
}

#[test]
fn a_file_that_is_missing_leaves_its_object_out_and_rates_go_on_over_the_gap() {
    let tree = Tree::new();
    let mut host = Host::new(&tree.root());
    let errors = Object::ALL.map(|object| host.sample(1, &mut window(object), &mut Found::default()).err());
    let files = ["stat", "meminfo", "self/mountinfo", "self/mountinfo", "net/dev"]
        .map(|file| format!("cannot read /proc/{file}"));
    let said = errors.map(|error| error.map_or(String::new(), |error| format!("{error}")));
    assert_eq!(said[..5], files);
    assert_eq!(said[5..], ["", "cannot read /proc"]);

    tree.write("proc/self/mountinfo", "");
    assert_eq!(
        host.sample(2, &mut window(Object::PhysicalDisk), &mut Found::default()),
        Err(Unreadable("proc/diskstats"))
    );
    tree.write("proc/meminfo", "MemTotal: 1024 kB\n");
    let mut window = window(Object::Memory);
    let mut reads = |now_ms: u64, vmstat: Option<&str>| {
        match vmstat {
            Some(vmstat) => tree.write("proc/vmstat", vmstat),
            None => tree.write("proc/vmstat", "nr_free_pages 5\n"),
        }
        sample(&mut host, &mut window, now_ms).values("Memory")[5]
    };
    assert_eq!(reads(10_000, Some("pgpgin 100\npgpgout 0\n")), None);
    assert_eq!(reads(20_000, None), None);
    assert_eq!(reads(30_000, Some("pgpgin 300\npgpgout 0\n")), Some(10.0));
}

#[test]
fn space_is_that_of_the_file_system_at_the_mount_point() {
    let tree = Tree::new();
    tree.write("mnt/my disk/x", "");
    tree.write("proc/diskstats", "");
    tree.write(
        "proc/self/mountinfo",
        "1 1 8:1 / /mnt/my\\040disk rw - ext4 /dev/sda1 rw\n2 1 8:2 / /gone rw - ext4 /dev/sda2 rw\n",
    );
    let mut host = Host::new(&tree.root());
    let found = sample(&mut host, &mut window(Object::LogicalDisk), 0);
    assert_eq!(found.names(), ["/mnt/my disk", "_Total"]); // nothing at all is known of /gone
    let [free, used] = [1, 2].map(|index| found.values("_Total")[index].unwrap());
    assert!((free + used - 100.0).abs() < 1e-9, "{free} and {used}");
    let path = alloc::ffi::CString::new(tree.root().into_os_string().into_encoded_bytes()).unwrap();
    let space = sys::filesystem::space(&path).unwrap();
    let megabytes = (space.available * space.block_bytes) as f64 / f64::from(1 << 20);
    let said = found.values("/mnt/my disk")[0].unwrap();
    assert!((said - megabytes).abs() < megabytes / 10.0 + 100.0, "{said}, {megabytes}"); // others write meanwhile
    assert_eq!(found.values("/mnt/my disk"), found.values("_Total"));
}

#[test]
fn a_file_system_that_may_hang_is_asked_elsewhere_and_answers_a_sample_later() {
    let tree = Tree::new();
    tree.write("mnt/x", "");
    tree.write("proc/self/mountinfo", "1 1 0:50 / /mnt rw - fuse.sshfs user@server:/home rw\n");
    let mut host = Host::new(&tree.root());
    let mut window = window(Object::LogicalDisk);
    assert_eq!(sample(&mut host, &mut window, 0).names(), [""; 0]);
    for now_ms in 1..1000 {
        std::thread::sleep(core::time::Duration::from_millis(10));
        if sample(&mut host, &mut window, now_ms).names() == ["/mnt", "_Total"] {
            return;
        }
    }
    panic!("no answer");
}

#[test]
fn interfaces_are_listed_from_when_they_are_up_until_they_are_gone() {
    let tree = Tree::new();
    let mut host = Host::new(&tree.root());
    let mut window = window(Object::Network);
    let mut now_ms = 0;
    let mut listed = |interfaces: &[(&str, &str)]| {
        let line = |(name, flags): &(&str, &str)| {
            tree.write(&format!("sys/class/net/{name}/flags"), format!("{flags}\n"));
            format!("{name}: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n")
        };
        tree.write("proc/net/dev", interfaces.iter().map(line).collect::<String>());
        now_ms += 1;
        sample(&mut host, &mut window, now_ms).names().join(" ")
    };
    assert_eq!(listed(&[("lo", "0x9"), ("eth1", "0x1003"), ("eth0", "0x1003"), ("eth2", "0x1002")]), "eth0 eth1");
    assert_eq!(listed(&[("eth0", "0x1002"), ("eth1", "0x1003"), ("eth2", "0x1003")]), "eth0 eth1 eth2");
    assert_eq!(listed(&[("eth2", "0x1003"), ("a0", "0x1003"), ("eth1", "0x1003")]), "eth1 eth2 a0");
    assert_eq!(listed(&[("eth0", "0x1002"), ("eth1", "0x1003"), ("eth2", "0x1003")]), "eth1 eth2");
    assert_eq!(listed(&[("a0", "0x1009"), ("eth1", "0x1003")]), "eth1"); // a loopback
    assert_eq!(listed(&[("a0", "0x1003"), ("eth1", "0x1003")]), "eth1"); // what it is is not asked again
    assert_eq!(listed(&[("eth1", "0x1003")]), "eth1");
    assert_eq!(listed(&[("a0", "0x1003"), ("eth1", "0x1003")]), "eth1 a0");
}

#[test]
fn hardware_that_is_virtual_or_unknown_is_not_listed() {
    let tree = Tree::new();
    tree.write("proc/net/dev", "docker0:1 2 3 4 5 6 7 8 9 10 11 12 13 14\nodd: 1 2 3 4 5 6 7 8 9 10 11 12 13 14\n");
    tree.write("sys/class/net/docker0/flags", "0x1003\n");
    tree.write("sys/devices/virtual/net/docker0/flags", "0x1003\n");
    let mut host = Host::new(&tree.root());
    assert_eq!(sample(&mut host, &mut window(Object::Network), 0).names(), [""; 0]);
    tree.remove("sys"); // as in a container
    let mut host = Host::new(&tree.root());
    assert_eq!(sample(&mut host, &mut window(Object::Network), 0).names(), ["docker0", "odd"]);
}

fn add_process(tree: &Tree, pid: u32, name: &[u8], ticks: u64) {
    let behind = format!(") S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 5 1 100 0\n");
    let stat = [format!("{pid} (").as_bytes(), name, behind.as_bytes()].concat();
    tree.write(&format!("proc/{pid}/stat"), stat);
    tree.write(&format!("proc/{pid}/statm"), "300 100 50 1 0 1 0\n");
}

#[test]
fn processes_come_by_number_with_any_name_and_go() {
    let tree = Tree::new();
    add_process(&tree, 1000, b"b\xff) \n(", 0);
    add_process(&tree, 9, b"a", 0);
    tree.write("proc/10/stat", "10 (ended) S 1\n");
    tree.write("proc/meminfo", "");
    let mut host = Host::new(&tree.root());
    let mut window = window(Object::Process);
    assert_eq!(sample(&mut host, &mut window, 0).names(), ["a", "b\u{fffd}) \n("]);
    add_process(&tree, 9, b"a", 250);
    tree.remove("proc/1000");
    add_process(&tree, 11, b"new", 77);
    let found = sample(&mut host, &mut window, 10_000);
    assert_eq!(found.names(), ["a", "new"]);
    assert_eq!((found.values("a")[1], found.values("new")[1]), (Some(25.0), None));
}

/// Here the links of a directory, where the file system counts them, are one for each process too, save what is no directory.
#[test]
fn processes_are_counted_between_listings_and_listed_now_and_again() {
    let tree = Tree::new();
    add_process(&tree, 1, b"a", 0);
    ["proc/sys/kernel/x", "proc/uptime"].into_iter().for_each(|path| tree.write(path, ""));
    let mut host = Host::new(&tree.root());
    let mut window = window(Object::System);
    let mut check = |now_ms: u64, expected: f64| {
        assert_eq!(sample(&mut host, &mut window, now_ms).0[0].1[1], Some(expected), "at {now_ms}");
    };
    check(0, 1.0);
    check(1, 1.0);
    (2..=9).for_each(|pid| add_process(&tree, pid, b"a", 0));
    check(2, 9.0);
    check(2, 9.0);
    tree.remove("proc/7");
    check(3, 8.0);
    tree.write("proc/sys/fs/x", "");
    check(4, 8.0);
    // What the links do not tell, a listing does, and from then on each sample lists.
    tree.write("proc/10", "");
    check(PROC_TRUSTED_MS, 9.0);
    tree.write("proc/11", "");
    check(PROC_TRUSTED_MS + 1, 10.0);
}

/// Those that are listed by samples of Process at the same moments are the same ones.
#[test]
fn processes_that_were_listed_are_not_listed_again_at_that_moment() {
    let tree = Tree::new();
    add_process(&tree, 1, b"a", 0);
    let mut processes = Processes::default();
    processes.list(5, &tree.root()).unwrap();
    add_process(&tree, 2, b"a", 0);
    assert_eq!(processes.count(5, &tree.root()).unwrap(), 1);
    assert_eq!(processes.count(6, &tree.root()).unwrap(), 2);
}

#[test]
fn there_may_be_twenty_thousand_processes_and_all_beyond_the_bound_are_still_counted() {
    let tree = Tree::new();
    add_process(&tree, 1, b"a", 0);
    let mut host = Host::new(&tree.root());
    let (mut processes, mut system) = (window(Object::Process), window(Object::System));
    let mut measured = |from: usize, to: usize, now_ms: u64| {
        (from..=to).for_each(|pid| tree.link("1", &format!("proc/{pid}")));
        assert_eq!(sample(&mut host, &mut system, now_ms).0[0].1[1], Some(to as f64), "counted");
        let found = sample(&mut host, &mut processes, now_ms).0;
        (found.len(), found.iter().filter(|(_, values)| values[1].is_some()).count())
    };
    assert_eq!(measured(2, 20_000, 0), (20_000, 0));
    assert_eq!(measured(20_001, PROCESSES_MAX, 10_000), (PROCESSES_MAX, 20_000));
    assert_eq!(measured(PROCESSES_MAX + 1, PROCESSES_MAX + 9, 20_000).0, PROCESSES_MAX);
}

#[test]
fn log_ins_are_those_in_utmp() {
    let tree = Tree::new();
    let mut utmp = Vec::from([0; 3 * system::LOGIN_BYTES]);
    utmp[system::LOGIN_BYTES] = 7;
    tree.write("var/run/utmp", utmp);
    let mut host = Host::new(&tree.root());
    let found = sample(&mut host, &mut window(Object::System), 0);
    assert_eq!(found.0[0].1[0], Some(1.0));
}

#[test]
fn a_thousand_mounts_and_processors_are_all_there() {
    let tree = Tree::new();
    let disks: String = (0..1000).map(|n| format!("8 {n} sd{n} {n} 0 0 0 0 0 0 0 0 0 0\n")).collect();
    tree.write("proc/diskstats", disks);
    let mounts: String = (0..1000).map(|n| format!("{n} 1 8:{n} / /m/{n} rw - ext4 /dev/sd{n} rw\n")).collect();
    tree.write("proc/self/mountinfo", mounts);
    let stat = |ticks: u64| (0..4096).map(|n| format!("cpu{n} {ticks} 0 0 {n}\n")).collect::<String>();
    tree.write("proc/stat", stat(0));
    let mut host = Host::new(&tree.root());
    let mut sources = [Object::LogicalDisk, Object::PhysicalDisk, Object::Processor].map(window);
    sources.iter_mut().for_each(|source| drop(sample(&mut host, source, 0)));
    tree.write("proc/stat", stat(4));
    let counts = sources.each_mut().map(|source| sample(&mut host, source, 1000).0.len());
    assert_eq!(counts, [1001, 1001, 4096]);
}

/// What this machine's own files say, where it does not depend on the moment.
#[test]
fn this_host_says_of_itself_what_its_files_say() {
    let mut host = Host::new(Path::new("/"));
    for options in [PLAIN, COMPAT] {
        let mut sources = Sources::new(options);
        sources.sample(&mut host, 0);
        std::thread::sleep(core::time::Duration::from_millis(50));
        let text = sources.sample(&mut host, 50);
        assert!(text.contains("Memory | Memory | ") && text.contains("Process | "), "{text}");
    }
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let total_kb: f64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    let memory = sample(&mut host, &mut window(Object::Memory), 60);
    let [free, used] = [0, 2].map(|index| memory.values("Memory")[index].unwrap());
    assert!((free + used - total_kb / 1024.0).abs() < 2.0, "{free} and {used} of {total_kb} kB");
    let system = sample(&mut host, &mut window(Object::System), 60);
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let processes =
        processes.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok())).count();
    let said = system.0[0].1[1].unwrap();
    assert!((said - processes as f64).abs() < 50.0, "{said}, {processes}"); // others start and end meanwhile
    let name = fs::read_to_string("/proc/self/comm").unwrap();
    assert!(sample(&mut host, &mut window(Object::Process), 60).names().contains(&name.trim_end()), "{name}");
}

/// df(1) rounds up, and others write meanwhile. Where the root is on no device of its own there is nothing to compare.
#[test]
fn the_root_is_as_full_as_df_says() {
    let mut host = Host::new(Path::new("/"));
    let found = sample(&mut host, &mut window(Object::LogicalDisk), 0);
    let Some((_, values)) = found.0.iter().find(|(name, _)| name == "/") else { return };
    let df = std::process::Command::new("df").args(["-P", "/"]).output().unwrap();
    let df = String::from_utf8(df.stdout).unwrap();
    let used: f64 =
        df.lines().nth(1).unwrap().split_whitespace().nth(4).unwrap().trim_end_matches('%').parse().unwrap();
    let said = values[2].unwrap();
    assert!((-0.1..1.1).contains(&(used - said)), "{said} % used, df says {used} %");
}
