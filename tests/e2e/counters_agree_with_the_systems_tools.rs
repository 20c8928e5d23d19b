//! An administrator compares omsd's counters with what vmstat, mpstat, iostat, pidstat, df, free, ps, who and ip say, on a host that works: a
//! script burns processor time in programs and in the kernel, another writes with a sync after each block and reads what it wrote.
//!
//! Two ways to compare, for other work goes on meanwhile:
//!
//! * What covers a time (processors, disks, pages, a process): omsd and the tools start together with the same interval. Their windows
//!   lie some milliseconds apart, of four seconds; how far values may be apart stands beside each row.
//! * What is of a moment (memory, space, processes): the tool is asked again and again until omsd is done. omsd's value must lie between the
//!   least and the most that the tool said, give or take what may come and go between two of its answers.
//!
//! Another window is looked at for rows that do not agree, up to [`WINDOWS`]: a machine that stands still for a moment between two
//! starts is no error of omsd's, while a wrong formula is wrong in each window. A row also wants to see the load: 0 agrees with
//! everything. What this kernel has not (a disk below the root, veth) is said and left out; a missing program is a failure.

use crate::harness::{command, omsd_bin, run, temp_dir, wait_until};
use omsd_standin::serde_json::{self, Value};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const INTERVAL_S: &str = "4";
const WINDOWS: usize = 6;

/// What one `omsd sample --json` said: by object, instance and counter.
struct Sample(BTreeMap<(String, String), BTreeMap<String, f64>>);

impl Sample {
    fn parse(lines: &str) -> Sample {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let instance = |line: &str| {
            let item: Value = serde_json::from_str(line).expect("an item");
            let pair = |pair: &Value| (text(&pair["CounterName"]), text(&pair["Value"]).parse().expect("a number"));
            let pairs = item["Collections"].as_array().expect("an array").iter().map(pair).collect();
            ((text(&item["ObjectName"]), text(&item["InstanceName"])), pairs)
        };
        Sample(lines.lines().map(instance).collect())
    }

    fn get(&self, object: &str, instance: &str, counter: &str) -> Option<f64> {
        self.0.get(&(object.into(), instance.into()))?.get(counter).copied()
    }

    fn instances(&self, object: &str) -> Vec<&str> {
        self.0.keys().filter(|(of, _)| of == object).map(|(_, instance)| instance.as_str()).collect()
    }

    /// That of the object which has one.
    fn only(&self, object: &str, counter: &str) -> Option<f64> {
        self.get(object, self.instances(object).first()?, counter)
    }
}

/// One comparison: omsd's value, and what it may be.
struct Row {
    name: String,
    ours: Option<f64>,
    low: f64,
    high: f64,
    /// The tool saw the load.
    is_exercised: bool,
}

impl Row {
    /// Apart by at most so much, and so much percent of what the tool says, which should be at least `least`.
    fn near(name: impl Into<String>, ours: Option<f64>, tool: f64, apart: f64, percent: f64, least: f64) -> Row {
        let apart = apart + tool * percent / 100.0;
        Row { name: name.into(), ours, low: tool - apart, high: tool + apart, is_exercised: tool >= least }
    }

    /// Between what the tool said at several moments, give or take.
    fn between(name: impl Into<String>, ours: Option<f64>, said: &[f64], apart: f64) -> Row {
        let low = said.iter().copied().fold(f64::INFINITY, f64::min) - apart;
        let high = said.iter().copied().fold(0.0, f64::max) + apart;
        Row { name: name.into(), ours, low, high, is_exercised: true }
    }

    fn agrees(&self) -> bool {
        self.is_exercised && self.ours.is_some_and(|ours| (self.low..=self.high).contains(&ours))
    }

    fn describe(&self) -> String {
        let Row { name, ours, low, high, is_exercised } = self;
        let load = if *is_exercised { "" } else { ", the tool sees no load" };
        format!("{name}: omsd {ours:?}, expected {low:.3} to {high:.3}{load}")
    }
}

/// Compares in one window after another, until each row has agreed.
#[track_caller]
fn check(look: impl Fn() -> Vec<Row>) {
    let mut history: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for window in 0..WINDOWS {
        let rows = look();
        for row in &rows {
            println!("{}", row.describe());
        }
        let agreed = |name: &String| rows.iter().any(|row| row.name == *name && row.agrees());
        if window == 0 {
            history = rows.iter().map(|row| (row.name.clone(), Vec::new())).collect();
        }
        history.retain(|name, _| !agreed(name));
        if history.is_empty() {
            return;
        }
        for row in &rows {
            history.entry(row.name.clone()).and_modify(|said| said.push(row.describe()));
        }
    }
    panic!("in none of {WINDOWS} windows did these agree: {history:#?}");
}

/// A tool's command, in English.
fn tool(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null());
    command
}

fn start(mut command: Command, package: &str) -> Child {
    let child = command.stdout(Stdio::piped()).spawn();
    child.unwrap_or_else(|error| panic!("{command:?}: {error}: install the package {package}"))
}

fn end(child: Child) -> String {
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn say(name: &str, package: &str, arguments: &[&str]) -> String {
    end(start(tool(name, arguments), package))
}

fn sample_command(arguments: &[&str]) -> Command {
    let mut command = command();
    command.args(["sample", "--json"]).args(arguments).stdin(Stdio::null());
    command
}

/// Takes a sample while the tool is asked again and again: what omsd says, and all that the tool says.
fn sample_amid<Said>(object: &str, ask: impl Fn() -> Said) -> (Sample, Vec<Said>) {
    let mut said = vec![ask()];
    let mut omsd = start(sample_command(&["--object", object]), "omsd");
    while omsd.try_wait().expect("our child").is_none() {
        said.push(ask());
    }
    said.push(ask());
    (Sample::parse(&end(omsd)), said)
}

/// A shell script that runs until this is dropped, as a program of its own name.
struct Load {
    shell: Child,
    dir: PathBuf,
}

impl Load {
    fn start(name: &str, script: &str, argument: &Path) -> Load {
        let dir = temp_dir();
        std::os::unix::fs::symlink("/bin/sh", dir.join(name)).expect("a link");
        let mut command = tool(dir.join(name).to_str().expect("UTF-8"), &["-c", script, name]);
        command.arg(argument).stderr(Stdio::null()).process_group(0);
        Load { shell: command.spawn().expect("a shell"), dir }
    }

    fn pid(&self) -> String {
        self.shell.id().to_string()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.pid())]).status();
        let _ = self.shell.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Holds 16 MB, and spends its time in itself and, opening files, in the kernel; a child of it stands back.
const BURN: &str = "held=$(head -c 16000000 /dev/zero | tr '\\0' x)\n\
                    nice -n 10 sh -c 'while :; do :; done' &\n\
                    while :; do : </dev/null; done";
/// Writes with a sync after each block, and reads past the kernel's cache.
const WRITE: &str = "while :; do dd if=/dev/zero of=\"$1\" bs=64k count=64 oflag=dsync conv=notrunc || exit\n\
                     dd if=\"$1\" of=/dev/null bs=64k iflag=direct || exit; done";

fn burn(name: &str) -> Load {
    let load = Load::start(name, BURN, Path::new(""));
    wait_until("the load holds its memory", || rss_kb(&load) > 16_000.0);
    load
}

fn rss_kb(load: &Load) -> f64 {
    say("ps", "procps", &["-o", "rss=", "-p", &load.pid()]).trim().parse().expect("a number")
}

/// The block device below a directory, as /proc/diskstats calls it, if it is there.
fn device_below(directory: &Path) -> Option<String> {
    let df = say("df", "coreutils", &["--output=source", directory.to_str().expect("UTF-8")]);
    let path = std::fs::canonicalize(df.lines().nth(1)?).ok()?;
    let name = path.strip_prefix("/dev").ok()?.to_str()?.to_owned();
    let diskstats = std::fs::read_to_string("/proc/diskstats").ok()?;
    diskstats.lines().any(|line| line.split_whitespace().nth(2) == Some(&name)).then_some(name)
}

#[test]
fn rates_agree_with_vmstat_mpstat_iostat_and_pidstat() {
    // On the disk that the build is on: /tmp may be memory.
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("omsd-e2e-write-{}", std::process::id()));
    let burner = burn("omsd-burn");
    let writer = Load::start("omsd-write", WRITE, &file);
    let device = device_below(file.parent().expect("a directory"));
    if device.is_none() {
        eprintln!("not compared with iostat: {} is on no device of /proc/diskstats", file.display());
    }
    check(|| rates(&burner, device.as_deref()));
    drop(writer);
    let _ = std::fs::remove_file(&file);
}

fn rates(burner: &Load, device: Option<&str>) -> Vec<Row> {
    let once = [INTERVAL_S, "1"];
    let mpstat = start(tool("mpstat", &[&["-P", "ALL", "-o", "JSON"], &once[..]].concat()), "sysstat");
    let iostat = start(tool("iostat", &[&["-d", "-x", "-y", "-o", "JSON"], &once[..]].concat()), "sysstat");
    let pidstat = start(tool("pidstat", &[&["-h", "-u", "-p", &burner.pid()], &once[..]].concat()), "sysstat");
    let omsd = start(sample_command(&["--interval", INTERVAL_S]), "omsd");
    let vmstat = start(tool("vmstat", &["-n", INTERVAL_S, "2"]), "procps");
    let sample = Sample::parse(&end(omsd));
    let mut rows = of_mpstat(&sample, &statistics(&end(mpstat))["cpu-load"]);
    rows.extend(of_vmstat(&sample, &end(vmstat), device.is_some()));
    rows.extend(of_pidstat(&sample, &end(pidstat)));
    let disks = statistics(&end(iostat));
    let disk = device
        .and_then(|device| disks["disk"].as_array().into_iter().flatten().find(|disk| disk["disk_device"] == device));
    rows.extend(disk.into_iter().flat_map(|disk| of_iostat(&sample, disk)));
    rows
}

/// The one report of a sysstat tool.
fn statistics(json: &str) -> Value {
    let json: Value = serde_json::from_str(json).expect("JSON");
    json["sysstat"]["hosts"][0]["statistics"][0].clone()
}

/// Percent of the time. Windows of 4 s whose ends lie up to 0.1 s apart differ by 2.5 % of the time at each end, if all changes there.
const PERCENT_APART: f64 = 5.0;

/// The two count the same ticks, save that time stolen is no `% Processor Time` there, and time of guests is apart.
fn of_mpstat(sample: &Sample, processors: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    for processor in processors.as_array().expect("processors") {
        let name = processor["cpu"].as_str().expect("a name");
        let instance = if name == "all" { "_Total" } else { name };
        let mut row = |counter: &str, fields: &[&str], least: f64| {
            let told: f64 = fields.iter().map(|field| processor[*field].as_f64().expect("a number")).sum();
            let ours = sample.get("Processor", instance, counter);
            let least = if name == "all" { least } else { 0.0 };
            rows.push(Row::near(format!("mpstat {name} {counter}"), ours, told, PERCENT_APART, 0.0, least));
        };
        row("% User Time", &["usr", "guest"], 1.0);
        row("% Nice Time", &["nice", "gnice"], 1.0);
        row("% Privileged Time", &["sys"], 1.0);
        row("% Idle Time", &["idle"], 0.0);
        row("% IO Wait Time", &["iowait"], 0.0);
        row("% Interrupt Time", &["irq"], 0.0);
        row("% DPC Time", &["soft"], 0.0);
        row("% Processor Time", &["usr", "guest", "nice", "gnice", "sys", "irq", "soft", "steal"], 10.0);
    }
    rows
}

/// Percentages there are whole: half a percent more. `bi` and `bo` are KiB; what one block of the load, 4 MB, more or less is in
/// the window is 1,024 a second.
fn of_vmstat(sample: &Sample, report: &str, has_disk: bool) -> Vec<Row> {
    let lines: Vec<Vec<&str>> = report.lines().map(|line| line.split_whitespace().collect()).collect();
    let told = |name: &str| -> f64 {
        let column = lines[1].iter().position(|head| *head == name);
        column.map_or(0.0, |column| lines.last().expect("a line")[column].parse().expect("a number"))
    };
    let of_all = |counters: &[&str]| counters.iter().map(|counter| sample.get("Processor", "_Total", counter)).sum();
    let mut rows = vec![
        Row::near(
            "vmstat us",
            of_all(&["% User Time", "% Nice Time"]),
            told("us") + told("gu"),
            PERCENT_APART + 0.5,
            0.0,
            5.0,
        ),
        Row::near(
            "vmstat sy",
            of_all(&["% Privileged Time", "% Interrupt Time", "% DPC Time"]),
            told("sy"),
            PERCENT_APART + 0.5,
            0.0,
            1.0,
        ),
        Row::near("vmstat id", of_all(&["% Idle Time"]), told("id"), PERCENT_APART + 0.5, 0.0, 0.0),
        Row::near("vmstat wa", of_all(&["% IO Wait Time"]), told("wa"), PERCENT_APART + 0.5, 0.0, 0.0),
    ];
    if has_disk {
        let pages = |counter: &str| sample.get("Memory", "Memory", counter);
        rows.push(Row::near("vmstat bi", pages("Page Reads/sec"), told("bi"), 1100.0, 10.0, 0.0));
        rows.push(Row::near("vmstat bo", pages("Page Writes/sec"), told("bo"), 1100.0, 10.0, 100.0));
        rows.push(Row::near("vmstat bi + bo", pages("Pages/sec"), told("bi") + told("bo"), 2200.0, 10.0, 100.0));
    }
    rows
}

/// Percent of one processor, which on a host of two is half as much of the time: twice as far apart.
fn of_pidstat(sample: &Sample, report: &str) -> Vec<Row> {
    let line = |start: &str| report.lines().find(|line| line.starts_with(start));
    let heads: Vec<&str> = line("#").expect("a heading").split_whitespace().skip(1).collect();
    let values: Vec<&str> = report.lines().last().expect("a line").split_whitespace().collect();
    let told = |name: &str| -> f64 {
        let column = heads.iter().position(|head| *head == name).expect("a column");
        values[column].parse().expect("a number")
    };
    let ours = |counter: &str| sample.get("Process", "omsd-burn", counter);
    vec![
        Row::near("pidstat %usr", ours("Pct User Time"), told("%usr"), 2.0 * PERCENT_APART, 0.0, 1.0),
        Row::near("pidstat %system", ours("Pct Privileged Time"), told("%system"), 2.0 * PERCENT_APART, 0.0, 1.0),
    ]
}

/// A sync of another program that is in one window only: some requests and half a megabyte a second more or less. Times are means of
/// requests that take from a tenth of a millisecond to many.
fn of_iostat(sample: &Sample, disk: &Value) -> Vec<Row> {
    let name = disk["disk_device"].as_str().expect("a name");
    let told = |field: &str| disk[field].as_f64().expect("a number");
    let logical = volume_on(sample, name);
    let physical = |counter: &str| sample.get("Physical Disk", name, counter);
    let bytes = |kb: f64| kb * 1024.0;
    let all_kb = told("rkB/s") + told("wkB/s");
    let mut rows = Vec::new();
    if let Some(volume) = &logical {
        let ours = |counter: &str| sample.get("Logical Disk", volume, counter);
        rows.push(Row::near("iostat w/s", ours("Disk Writes/sec"), told("w/s"), 30.0, 10.0, 10.0));
        rows.push(Row::near("iostat r/s", ours("Disk Reads/sec"), told("r/s"), 30.0, 10.0, 0.0));
        rows.push(Row::near(
            "iostat r/s + w/s",
            ours("Disk Transfers/sec"),
            told("r/s") + told("w/s"),
            60.0,
            10.0,
            10.0,
        ));
        rows.push(Row::near("iostat wkB/s", ours("Disk Write Bytes/sec"), bytes(told("wkB/s")), 1.1e6, 10.0, 1e5));
        rows.push(Row::near("iostat rkB/s", ours("Disk Read Bytes/sec"), bytes(told("rkB/s")), 1.1e6, 10.0, 0.0));
        rows.push(Row::near("iostat kB/s", ours("Logical Disk Bytes/sec"), bytes(all_kb), 2.2e6, 10.0, 1e5));
    }
    if physical("Physical Disk Bytes/sec").is_some() {
        rows.push(Row::near("iostat disk", physical("Physical Disk Bytes/sec"), bytes(all_kb), 2.2e6, 10.0, 1e5));
        let ms = |counter: &str| physical(counter).map(|seconds| seconds * 1000.0);
        rows.push(Row::near("iostat w_await", ms("Avg. Disk sec/Write"), told("w_await"), 0.2, 25.0, 0.0));
        rows.push(Row::near("iostat r_await", ms("Avg. Disk sec/Read"), told("r_await"), 0.2, 25.0, 0.0));
    }
    if rows.is_empty() {
        eprintln!("not compared with iostat: omsd lists nothing that is mounted from {name}");
    }
    rows
}

/// A mount point that omsd lists and that is on this device.
fn volume_on(sample: &Sample, device: &str) -> Option<String> {
    let points = sample.instances("Logical Disk").into_iter().filter(|point| *point != "_Total");
    let mut on_it = points.filter(|point| device_below(Path::new(point)).as_deref() == Some(device));
    on_it.next().map(str::to_owned)
}

/// A table of numbers with names in front: a row of free(1).
fn free_row(report: &str, name: &str) -> Vec<f64> {
    let row = report.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}: {report}"));
    row.split_whitespace().map(|number| number.parse().expect("a number")).collect()
}

/// Other programs take and give back some megabytes between two answers of free(1); a wrong kind of memory is off by hundreds.
const MEMORY_APART_MB: f64 = 32.0;

#[test]
fn memory_agrees_with_free() {
    let _burner = burn("omsd-hold");
    let ask = || say("free", "procps", &["-b"]);
    check(|| {
        let (memory, said) = sample_amid("Memory", ask);
        let (system, said_later) = sample_amid("System", ask);
        let column = |said: &[String], row: &str, column: usize, unit: f64| -> Vec<f64> {
            said.iter().map(|report| free_row(report, row)[column] / unit).collect()
        };
        let mb = |row, index| column(&said, row, index, 1048576.0);
        let kb = |row, index| column(&said_later, row, index, 1024.0);
        let total = mb("Mem:", 0)[0];
        let of = |counter: &str| memory.get("Memory", "Memory", counter);
        let used: Vec<f64> = mb("Mem:", 5).iter().map(|available| total - available).collect();
        let percent = |megabytes: &[f64]| -> Vec<f64> { megabytes.iter().map(|part| part * 100.0 / total).collect() };
        let both: Vec<f64> = kb("Mem:", 5).iter().zip(kb("Swap:", 2)).map(|(free, swap)| free + swap).collect();
        let of_system = |counter: &str| system.only("System", counter);
        let (apart_pct, apart_kb) = (MEMORY_APART_MB * 100.0 / total, MEMORY_APART_MB * 1024.0);
        vec![
            Row::between("free available", of("Available MBytes Memory"), &mb("Mem:", 5), MEMORY_APART_MB),
            Row::between("free total - available", of("Used Memory MBytes"), &used, MEMORY_APART_MB),
            Row::between("free available %", of("% Available Memory"), &percent(&mb("Mem:", 5)), apart_pct),
            Row::between("free used %", of("% Used Memory"), &percent(&used), apart_pct),
            Row::between("free swap free", of("Available MBytes Swap"), &mb("Swap:", 2), MEMORY_APART_MB),
            Row::between("free swap used", of("Used MBytes Swap Space"), &mb("Swap:", 1), MEMORY_APART_MB),
            Row::between("free available kB", of_system("Free Physical Memory"), &kb("Mem:", 5), apart_kb),
            Row::between("free both kB", of_system("Free Virtual Memory"), &both, apart_kb),
            Row::between("free swap kB", of_system("Size Stored In Paging Files"), &kb("Swap:", 0), 0.0),
            Row::between("free swap free kB", of_system("Free Space in Paging Files"), &kb("Swap:", 2), apart_kb),
        ]
    });
}

/// Each file system that omsd lists; the load and other programs write some megabytes between two answers of df(1), which rounds up.
#[test]
fn space_agrees_with_df() {
    const APART_MB: f64 = 16.0;
    const INODES_APART: f64 = 200.0;
    let listed = run(&mut sample_command(&["--object", "Logical Disk"]));
    let listed = Sample::parse(&listed.stdout);
    let points: Vec<&str> = listed.instances("Logical Disk").into_iter().filter(|point| *point != "_Total").collect();
    if points.is_empty() {
        eprintln!("not compared with df: no file system of this host is on a device");
        return;
    }
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("omsd-e2e-space-{}", std::process::id()));
    let writer = Load::start("omsd-write", WRITE, &file);
    check(|| {
        let arguments = [&["-B1", "--output=avail,used,iavail,iused"], &points[..]].concat();
        let (sample, said) = sample_amid("Logical Disk", || say("df", "coreutils", &arguments));
        let mut rows = Vec::new();
        for (index, point) in points.iter().enumerate() {
            let columns = |report: &String| -> Vec<f64> {
                let line = report.lines().nth(1 + index).expect("a line");
                line.split_whitespace().map(|number| number.parse().unwrap_or(0.0)).collect()
            };
            let said: Vec<Vec<f64>> = said.iter().map(columns).collect();
            let all_mb = (said[0][0] + said[0][1]) / 1048576.0;
            let mb: Vec<f64> = said.iter().map(|columns| columns[0] / 1048576.0).collect();
            let used: Vec<f64> = said.iter().map(|columns| columns[1] * 100.0 / (columns[0] + columns[1])).collect();
            let of = |counter: &str| sample.get("Logical Disk", point, counter);
            let apart_pct = APART_MB * 100.0 / all_mb;
            let free: Vec<f64> = used.iter().map(|used| 100.0 - used).collect();
            rows.push(Row::between(format!("df {point} avail"), of("Free Megabytes"), &mb, APART_MB));
            rows.push(Row::between(format!("df {point} used %"), of("% Used Space"), &used, apart_pct));
            rows.push(Row::between(format!("df {point} free %"), of("% Free Space"), &free, apart_pct));
            let inodes = said[0][2] + said[0][3];
            if inodes > 0.0 {
                let apart_pct = INODES_APART * 100.0 / inodes;
                let used: Vec<f64> = said.iter().map(|columns| columns[3] * 100.0 / inodes).collect();
                rows.push(Row::between(format!("df {point} iused %"), of("% Used Inodes"), &used, apart_pct));
                let free: Vec<f64> = used.iter().map(|used| 100.0 - used).collect();
                rows.push(Row::between(format!("df {point} ifree %"), of("% Free Inodes"), &free, apart_pct));
            }
        }
        rows
    });
    drop(writer);
    let _ = std::fs::remove_file(&file);
}

/// Processes come and go, ps(1) is one itself. What a process holds is counted by the kernel in lots of up to 64 pages a thread and
/// processor.
#[test]
fn processes_and_users_agree_with_ps_and_who() {
    const PROCESSES_APART: f64 = 30.0;
    const KB_APART: f64 = 1024.0;
    let burner = burn("omsd-procs");
    let lines = |text: String| text.lines().count() as f64;
    check(|| {
        let (system, said) = sample_amid("System", || {
            let uptime = std::fs::read_to_string("/proc/uptime").expect("uptime");
            let uptime_s: f64 = uptime.split(' ').next().expect("seconds").parse().expect("a number");
            (lines(say("ps", "procps", &["-e", "-o", "pid="])), lines(say("who", "coreutils", &[])), uptime_s)
        });
        let (process, rss) = sample_amid("Process", || rss_kb(&burner));
        let processes: Vec<f64> = said.iter().map(|(processes, ..)| *processes).collect();
        let users: Vec<f64> = said.iter().map(|(_, users, _)| *users).collect();
        let uptime_s: Vec<f64> = said.iter().map(|(.., uptime_s)| uptime_s.floor()).collect();
        let held = process.get("Process", "omsd-procs", "Used Memory kBytes");
        let mut rows = vec![
            Row::between("ps -e", system.only("System", "Processes"), &processes, PROCESSES_APART),
            Row::between("ps rss", held, &rss, KB_APART),
            Row::between("uptime", system.only("System", "Uptime"), &uptime_s, 0.0),
        ];
        // Without a utmp nobody knows.
        if Path::new("/var/run/utmp").exists() {
            rows.push(Row::between("who", system.only("System", "Users"), &users, 0.0));
        }
        rows
    });
}

/// In a network of its own, without sysfs, where omsd takes both ends of a pair of interfaces for hardware: what goes in at one comes
/// out at the other. Then omsd and ip(8) look, while all is quiet. 77: this kernel cannot make such a network.
const IN_A_QUIET_NETWORK: &str = "\
mount -t tmpfs none /sys || exit 77
echo 1 2>/dev/null >/proc/sys/net/ipv6/conf/default/disable_ipv6
ip link add name left0 type veth peer name right0 || exit 77
ip address add 192.0.2.1/24 dev left0 && ip link set left0 up && ip link set right0 up &&
ip neighbour replace 192.0.2.2 lladdr 02:00:00:00:00:01 dev left0 || exit
for number in {1..300}; do printf %0500d $number >/dev/udp/192.0.2.2/9; done
until awk '{ sub(\":\", \" \") } $1 == \"left0\" { sent = $11 } $1 == \"right0\" { came = $3 } END { exit came != sent }' /proc/net/dev
do ((SECONDS < 30)) || exit; done
\"$@\" && ip -s -j link";

#[test]
fn network_totals_are_those_of_ip() {
    // Only for the message about a missing program.
    say("ip", "iproute2", &["-V"]);
    let is_root = say("id", "coreutils", &["-u"]).trim() == "0";
    let own = if is_root { &["--net", "--mount"][..] } else { &["--user", "--map-root-user", "--net", "--mount"] };
    let mut command = tool("unshare", own);
    command.args(["bash", "-c", IN_A_QUIET_NETWORK, "bash"]).arg(omsd_bin());
    let output = run(command.args(["sample", "--json", "--object", "Network"]));
    if output.code() == 77 || output.stderr.contains("unshare: ") {
        eprintln!("not compared with ip: this kernel makes no network of its own here: {}", output.stderr);
        return;
    }
    assert!(output.status.success(), "{output:?}");
    let (items, links) = output.stdout.trim_end().rsplit_once('\n').expect("items, then a line of ip's");
    let sample = Sample::parse(items);
    let links: Value = serde_json::from_str(links).expect("JSON");
    let mut compared = 0;
    for link in links.as_array().expect("links").iter().filter(|link| link["ifname"] != "lo") {
        let name = link["ifname"].as_str().expect("a name");
        if !name.starts_with("left") && !name.starts_with("right") {
            continue; // what the kernel puts into each network, and nobody set up
        }
        let told = |way: &str, what: &str| link["stats64"][way][what].as_f64().expect("a number");
        let both = told("rx", "bytes") + told("tx", "bytes");
        for (counter, expected) in [
            ("Total Bytes Received", told("rx", "bytes")),
            ("Total Bytes Transmitted", told("tx", "bytes")),
            ("Total Bytes", both),
            ("Total Packets Received", told("rx", "packets")),
            ("Total Packets Transmitted", told("tx", "packets")),
            ("Total Rx Errors", told("rx", "errors")),
            ("Total Tx Errors", told("tx", "errors")),
            ("Total Collisions", told("tx", "collisions")),
        ] {
            assert_eq!(sample.get("Network", name, counter), Some(expected), "{name} {counter}");
        }
        assert!(both >= 300.0 * 500.0, "{name} saw the traffic: {link}");
        compared += 1;
    }
    assert_eq!(compared, 2);
}
