//! Any bytes are files of /proc: what two readings of them give is known and possible, or left out. A value is finite, not negative,
//! whole from 100,000 up, and at most 100 if it is in percent of a whole; names are unique where they are of disks and mount
//! points. Input: two bytes that say where the first reading ends, two of the time between them in ms, then both readings, each
//! taken for every file.

use crate::input::Input;
use crate::memory::peak_bytes;
use omsd::collect::diskstats::Disks;
use omsd::collect::logical_disk::{self, Space, Volume};
use omsd::collect::memory::{self, Meminfo, Paging};
use omsd::collect::mounts;
use omsd::collect::process::{self, Process};
use omsd::collect::processor::{self, Processors};
use omsd::collect::system::{self, System};
use omsd::collect::text::Name;
use omsd::collect::{Object, Options, Sink, network, physical_disk};

/// What files of /proc are made of.
pub const WORDS: &[&[u8]] = &[
    b"cpu  1000 20 500 8000 300 10 40 60 0 0\n",
    b"cpu0 600 10 300 4000 200 5 30 40 0 0\n",
    b"cpu1 4 3 2 1\n",
    b"cpu",
    b"intr 5\n",
    b"MemTotal:        8167848 kB\n",
    b"MemAvailable:    6021312 kB\n",
    b"MemFree: 513244 kB\n",
    b"SwapTotal: 2097148 kB\n",
    b"SwapFree: 1998844 kB\n",
    b"pgpgin 1000000\n",
    b"pgpgout 4294967295\n",
    b"   8       0 sda 1100 7 9000 600 2100 8 17000 4100 0 900 4700\n",
    b"   8       1 sda1 4294967290 7 4294967290 4294967290 5 8 4294967290 4294967290 0 900 4700 1 2 3 4\n",
    b" 253 0 dm-0 1 1 1 1 1 1 1 1 1 1 1\n",
    b"259 1 nvme0n1p1 9 9 9 9 9 9 9 9 9 9 9\n",
    b"1 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n",
    b"2 1 8:0 / /mnt/a\\040b\\134 rw - xfs /dev/sda rw\n",
    b"3 1 0:9 / /home rw - nfs4 server:/home rw\n",
    b"4 3 8:1 / /home/x rw - ext4 /dev/sda1 rw\n",
    b" - ",
    b"\\377",
    b"eth0: 305641 1606 2 0 0 0 0 0 132686 437 5 0 0 8 0 0\n",
    b"lo:1 2 3 4 5 6 7 8 9 10 11 12 13 14\n",
    b"350735.47 234388.90\n",
    b"1234 (my (odd) app) S 1 1 1 0 -1 0 0 0 0 0 4500 77 0 0 20 0 1 0 5 1 25000\n",
    b"9 (z) Z 1 1 1 0 -1 0 0 0 0 0 18446744073709551615 77 0 0 20 0 1 0 5 1 18446744073709551615\n",
    b"13000 25000 3200 5 0 90 0\n",
    b"NAME=\"Ubuntu\"\n",
    b"VERSION_ID='22.04'\n",
    b"Red Hat Enterprise Linux release 9.4 (Plow)\n",
    b"CentOS release 6.10 (Final)\n",
    b"18446744073709551615",
    b"4294967296",
    b"0 ",
];

/// See the head of this file.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (cut, elapsed_ms) = (input.short(), input.short() as u64);
    let (before, now) = input.rest().split_at(cut.min(input.rest().len()));
    for compat in [false, true] {
        check_both(before, now, elapsed_ms, Options { compat });
    }
}

fn check_both(before: &[u8], now: &[u8], elapsed_ms: u64, options: Options) {
    let processors = [before, now].map(|stat| parsed(stat, Processors::parse));
    processor::sample(&processors[0], &processors[1], options, &mut checked(Object::Processor));

    let paging = Paging::parse(before).zip(Paging::parse(now)).map(|(before, now)| (before, now, elapsed_ms));
    let meminfo = Meminfo::parse(now);
    if let Some(meminfo) = meminfo {
        memory::sample(&meminfo, paging, options, &mut checked(Object::Memory));
    }
    let caption = system::caption(Some(before), Some(now), "x86_64");
    let system = System { users: Some(system::users(now)), processes: None, uptime_s: system::uptime_s(now) };
    system::sample(&caption, system, meminfo.as_ref(), &mut checked(Object::System));

    network::parse(now).for_each(|interface| network::sample(&interface, &mut checked(Object::Network)));
    check_disks(before, now, elapsed_ms, options);
    check_process(before, now, elapsed_ms, options);
}

fn check_disks(before: &[u8], now: &[u8], elapsed_ms: u64, options: Options) {
    let [earlier, disks] = [before, now].map(|diskstats| parsed(diskstats, Disks::parse));
    let (mounts, bytes) = peak_bytes(|| mounts::parse(now));
    assert!(bytes <= 64 * now.len() + 4096, "{bytes} bytes for a table of {}", now.len());
    let volumes = mounts.iter().map(|mount| Volume {
        point: &mount.point,
        first: mount.first,
        space: space(&mount.source),
        done: disks.since(&earlier, mount.device),
    });
    logical_disk::sample(volumes, elapsed_ms, options, &mut checked(Object::LogicalDisk));
    let of_mounts = mounts.iter().filter_map(|mount| {
        let name = disks.find(mount.device)?.name;
        let disk = physical_disk::disk_of(name.as_bytes(), |name| disks.named(name).is_some());
        assert!(name.as_bytes().starts_with(disk));
        Some((Name::new(disk), disks.since(&earlier, mount.device)?))
    });
    physical_disk::sample(of_mounts, elapsed_ms, options, &mut checked(Object::PhysicalDisk));
}

/// Room of any size, possible or not.
fn space(source: &[u8]) -> Option<Space> {
    let mut input = Input::new(source.strip_prefix(b"/")?);
    Some(Space {
        block_bytes: input.number(),
        blocks: input.number(),
        free: input.number(),
        available: input.number(),
        inodes: input.number(),
        inodes_free: input.number(),
    })
}

fn check_process(before: &[u8], now: &[u8], elapsed_ms: u64, options: Options) {
    for (stat, statm) in [(now, before), (now, b"1 2 3")] {
        let Some(process) = Process::parse(7, stat, statm) else { continue };
        let earlier = Process::parse(7, before, b"1 2 3").map(|process| process.spent);
        let earlier = earlier.as_ref().map(|spent| (spent, elapsed_ms));
        process::sample(&process, earlier, 4096, options, &mut checked(Object::Process));
    }
}

/// A reading in the place of another one, of which nothing must be left.
fn parsed<T: Default + std::fmt::Debug>(bytes: &[u8], parse: fn(&mut T, &[u8])) -> T {
    let mut fresh = T::default();
    parse(&mut fresh, bytes);
    let mut again = T::default();
    parse(&mut again, &WORDS.concat());
    parse(&mut again, bytes);
    assert_eq!(format!("{again:?}"), format!("{fresh:?}"));
    fresh
}

struct Checked {
    object: Object,
    names: Vec<Vec<u8>>,
}

fn checked(object: Object) -> Checked {
    Checked { object, names: Vec::new() }
}

impl Sink for Checked {
    fn instance(&mut self, name: &[u8], values: &[Option<f64>]) {
        let counters = self.object.counters();
        assert_eq!(values.len(), counters.len());
        assert!(values.iter().any(Option::is_some));
        for (counter, value) in counters.iter().zip(values).filter_map(|(counter, value)| Some((counter, (*value)?))) {
            assert!(value.is_finite() && value >= 0.0, "{counter} is {value}");
            assert!(value < 100_000.0 || value.fract() == 0.0, "{counter} is {value}");
            assert!(value <= 100.0 || !counter.starts_with('%'), "{counter} is {value}");
        }
        if self.object == Object::LogicalDisk && name != b"_Total" {
            assert!(!self.names.iter().any(|other| other == name), "{} twice", name.escape_ascii());
        }
        self.names.push(name.to_vec());
    }
}
