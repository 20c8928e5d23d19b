//! Of the FIPS build alone: which module is in it, that there is no second one, and that a module that fails its own checks sends nothing. `tests/run
//! e2e-fips` runs these; they want `OMSD_BIN` to be what `cross/build --fips x86_64` made, its list of symbols beside it.

use crate::harness::{Numbered, Omsd, Site, Source, children_of, command, omsd_bin, run, send_over_tcp, wait_until};
use omsd_standin::{Answer, Manner, Route};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

const SIGABRT: i32 = 6;

/// What the program says, what is in its file, and what `Cargo.lock` pins are the same.
#[test]
#[ignore = "of the FIPS build: tests/run e2e-fips"]
fn the_module_is_the_pinned_one() {
    let version = run(command().arg("version"));
    assert_eq!(version.code(), 0, "{version:?}");
    for line in ["module: AWS-LC FIPS 3.6.0, answers: FIPS", "TLS configuration answers: FIPS"] {
        assert!(version.stdout.lines().any(|said| said == line), "{line} in {}", version.stdout);
    }
    assert!(version.stdout.contains("\ncertificate: CMVP #5314 covers the static module 3.1.0; this build carries"));

    let program = std::fs::read(omsd_bin()).expect("the program can be read");
    let versions: BTreeSet<&[u8]> = program
        .windows(b"AWS-LC FIPS 3.6.0\0".len())
        .filter(|bytes| bytes.starts_with(b"AWS-LC FIPS ") && bytes[12].is_ascii_digit())
        .collect();
    assert_eq!(Vec::from_iter(versions), [b"AWS-LC FIPS 3.6.0\0"]);

    let lock = include_str!("../../Cargo.lock");
    let version_of = |name: &str| {
        let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("\nname = \"{name}\"\n")));
        entry.and_then(|entry| entry.split('"').nth(3)).unwrap_or_else(|| panic!("{name} in Cargo.lock")).to_owned()
    };
    assert_eq!(version_of("aws-lc-fips-sys"), "0.13.17");
    assert!(version_of("aws-lc-rs").starts_with("1.17."));
}

/// Every crate that has code in the program. One that is new here wants a look: has it a digest, a cipher or random numbers of its own that anything
/// relies on for security? None of these has, but for aws_lc_rs, which asks the module.
const CRATES: [&str; 33] = [
    "__rustc",
    "alloc",
    "aws_lc_rs",
    "base64",
    "bytes",
    "compiler_builtins",
    "core",
    "crc32fast",
    "getopts",
    "hashbrown",
    "http",
    "httparse",
    "itoa",
    "libc",
    "log",
    "memchr",
    "miniserde",
    "omsd",
    "once_cell",
    "percent_encoding",
    "rustls",
    "rustls_pki_types",
    "std",
    "std_detect",
    "subtle",
    "untrusted",
    "ureq",
    "ureq_proto",
    "utf8_zero",
    "webpki",
    "zeroize",
    "zlib_rs",
    "zmij",
];

/// Digests, ciphers, signatures and random numbers are the module's. All of its library's functions have its version in front of their names, so that those
/// of another copy, or of another library, would stand out.
#[test]
#[ignore = "of the FIPS build: tests/run e2e-fips"]
fn there_is_no_second_implementation() {
    let symbols = std::fs::read_to_string(omsd_bin().with_extension("symbols")).expect("cross/build --fips leaves it");
    let names: BTreeSet<&str> = symbols.lines().filter_map(|line| line.get(19..)).collect();
    for name in ["SHA256_Update", "HMAC_Update", "RAND_bytes", "EVP_DigestInit_ex", "RSA_sign", "ECDSA_sign"] {
        assert!(!names.contains(name), "{name} of another library");
    }
    assert!(names.contains("aws_lc_fips_0_13_17_SHA256_Update") && names.contains("aws_lc_fips_0_13_17_RAND_bytes"));
    for prefix in ["aws_lc_0_", "ring_core_", "SSL_", "mbedtls_", "gnutls_"] {
        assert!(!names.iter().any(|name| name.starts_with(prefix)), "{prefix}");
    }

    let crates: BTreeSet<&str> = names.iter().filter_map(|name| crate_of(name)).collect();
    assert!(crates.contains("omsd") && crates.contains("aws_lc_rs"), "{crates:?}");

    let strangers: Vec<&str> = crates.into_iter().filter(|name| !CRATES.contains(name)).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

/// The crate in front of a demangled name: `core` of `<core::fmt::Arguments as ...>::fmt`.
fn crate_of(name: &str) -> Option<&str> {
    let path = name.trim_start_matches(['<', '&', '[', '(', '*', ' ']);
    let path = ["mut ", "const ", "dyn "].into_iter().find_map(|word| path.strip_prefix(word)).unwrap_or(path);
    let (first, _) = path.split_once("::")?;
    first.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()).then_some(first)
}

/// The module reads itself when the program starts. One bit changed anywhere in it, and there is no `main`: no socket is opened, nothing is sent.
#[test]
#[ignore = "of the FIPS build: tests/run e2e-fips"]
fn a_flipped_bit_in_the_module_ends_the_program_before_it_begins() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    site.add_heartbeat();
    let whole = std::fs::read(omsd_bin()).expect("the program can be read");
    let [start, end] = ["BORINGSSL_bcm_text_start", "BORINGSSL_bcm_text_end"].map(offset_of);
    assert!(end > start + 100_000 && end < whole.len(), "{start} to {end}");
    let damaged = site.root.join("omsd");
    for eighth in 0..8 {
        let mut program = whole.clone();
        program[start + (end - start) * (2 * eighth + 1) / 16] ^= 1 << eighth;
        std::fs::write(&damaged, program).expect("a copy");
        assert!(Command::new("chmod").arg("755").arg(&damaged).status().expect("chmod runs").success());
        for name in ["run", "version"] {
            let output = run(Command::new(&damaged).arg(name).arg("--root").arg(&site.root));
            assert_eq!(output.status.signal(), Some(SIGABRT), "{eighth} {name}: {output:?}");
            assert!(output.stdout.is_empty() && output.stderr.contains("FIPS"), "{output:?}");
        }
        // What a shell, and so cron and an init script, sees of it.
        let shell = run(Command::new("sh").arg("-c").arg(format!("{} version; exit $?", damaged.display())));
        assert_eq!(shell.code(), 134, "{shell:?}");
    }
    assert_eq!(site.standin.seen().counts.connections, 0);
    assert!(!site.var("ring").exists() && site.status().is_null());
}

/// Where a symbol of the program is in its file: text is mapped from the file as it is, at a difference that the program headers give.
fn offset_of(name: &str) -> usize {
    let symbols = std::fs::read_to_string(omsd_bin().with_extension("symbols")).expect("cross/build --fips leaves it");
    let line = symbols.lines().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("no {name}"));
    let number = |text: &str| usize::from_str_radix(text.trim_start_matches("0x"), 16).expect("hexadecimal");
    let address = number(line.split(' ').next().expect("an address"));
    let headers = run(Command::new("readelf").arg("-lW").arg(omsd_bin())).stdout;
    let mut loads = headers.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    loads
        .find_map(|load| {
            let [offset, virtual_address, bytes] =
                ["LOAD"].contains(load.first()?).then(|| [1, 2, 4].map(|field| number(load[field])))?;
            (virtual_address..virtual_address + bytes).contains(&address).then(|| address - virtual_address + offset)
        })
        .expect("a segment")
}

/// The module ends a process in which it fails by SIGABRT. In the upload child, before any answer, that is no trouble of the network: the agent
/// keeps what it has and ends, so that somebody looks.
#[test]
#[ignore = "of the FIPS build: tests/run e2e-fips"]
fn a_module_that_fails_in_the_child_ends_the_agent() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    site.standin.answer_next(Route::Data, [Answer::manner(Manner::Silence { taken: false })]);
    let mut omsd = site.start();
    let messages = Numbered::new(100);
    let _stream = send_over_tcp(source, &messages.lines());
    abort_child(&site, &omsd);
    let ended = omsd.wait_for_end();
    assert_eq!(ended.code(), Some(70), "{}", omsd.stderr());
    assert!(omsd.stderr().contains("the FIPS module failed in the upload child"), "{}", omsd.stderr());
    let status = site.status();
    assert!(status["upload"]["last_reason"].as_str().is_some_and(|told| told.contains("FIPS module")), "{status}");

    let _omsd = site.start();
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
}

/// The same of the child that looks after the certificate.
#[test]
#[ignore = "of the FIPS build: tests/run e2e-fips"]
fn a_module_that_fails_at_the_topology_heartbeat_ends_the_agent() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    site.add_topology_heartbeat();
    site.standin.answer_next(Route::Heartbeat, [Answer::manner(Manner::Silence { taken: false })]);
    let mut omsd = site.start();
    abort_child(&site, &omsd);
    let ended = omsd.wait_for_end();
    assert_eq!(ended.code(), Some(70), "{}", omsd.stderr());
    assert!(omsd.stderr().contains("the FIPS module failed in the child"), "{}", omsd.stderr());
}

/// A child that has delivered with the module proves that it works: what ends it then is something else.
#[test]
#[ignore = "of the FIPS build: tests/run e2e-fips"]
fn a_child_that_has_delivered_may_be_aborted() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "buffer_chunk_limit 128k");
    site.standin.answer_next(Route::Data, [Answer::default(), Answer::manner(Manner::Silence { taken: false })]);
    let omsd = site.start();
    let messages = Numbered::new(4000);
    let _stream = send_over_tcp(source, &messages.lines());
    site.wait("the second request", |seen| seen.requests.len() > 1);
    abort_child(&site, &omsd);
    messages.expect_once_each(&site, |number, item| messages.rfc3164_fields(number, item));
    assert!(omsd.runs());
}

fn abort_child(site: &Site, omsd: &Omsd) {
    site.wait("a request that hangs", |seen| !seen.requests.is_empty());
    let child = *children_of(omsd.pid()).first().expect("the upload child runs");
    let aborted = Command::new("sh").args(["-c", &format!("kill -s ABRT {child}")]).status().expect("a shell");
    assert!(aborted.success());
    wait_until("the child is reaped", || !std::path::Path::new(&format!("/proc/{child}")).exists());
}
