//! A newcomer runs `omsd run --demo` in any directory, without configuration: it says in one line on stderr how to send it a message, and prints each
//! message as JSON on standard output. The message is sent to the address that this line names.

use crate::harness::{Omsd, PATIENCE, temp_dir, wait_for, wait_until};
use omsd_standin::serde_json::{self, Value};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

#[test]
fn a_message_sent_to_the_address_it_names_is_printed() {
    let dir = temp_dir();
    let mut command = crate::harness::command();
    command.args(["run", "--demo"]).current_dir(&dir);
    let mut omsd = Omsd::spawn(command);
    wait_until("a line on stderr", || omsd.stderr().contains('\n') || !omsd.runs());
    let said = omsd.stderr();
    let address = address_in(&said).unwrap_or_else(|| panic!("no address in {said:?}"));
    wait_until("it listens there", || crate::harness::udp_bound(address.port()));

    let socket = UdpSocket::bind((address.ip(), 0)).expect("a socket");
    for text in ["first", "second \u{fc}\"\\"] {
        socket.send_to(format!("<34>Nov 22 20:00:00 web01 su[7]: {text}").as_bytes(), address).expect("it is sent");
    }
    // Far more than the half second that it takes, and less than what an agent that is no demo waits before it sends.
    wait_for(Duration::from_secs(12), "both records on standard output", || omsd.stdout().contains("second"));

    let stdout = omsd.stdout();
    let mut messages = Vec::new();
    for line in stdout.lines() {
        let body: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for item in body["DataItems"].as_array().unwrap_or_else(|| panic!("no DataItems: {line}")) {
            if body["DataType"] == "LINUX_SYSLOGS_BLOB" {
                assert_eq!(
                    (&item["ident"], &item["Facility"], &item["Severity"]),
                    (&"su".into(), &"auth".into(), &"crit".into())
                );
                messages.push(item["Message"].as_str().unwrap_or_default().to_owned());
            }
        }
    }
    assert_eq!(messages, ["first", "second \u{fc}\"\\"]);

    wait_until("samples of processors and memory", || {
        ["Processor", "Memory"].iter().all(|object| omsd.stdout().contains(&format!(r#""ObjectName":"{object}""#)))
    });
    let (status, took) = omsd.terminate();
    assert!(status.success() && took < PATIENCE / 10, "{status:?} after {took:?}");
    let ring = std::env::temp_dir().join(format!("omsd-demo-{}", omsd.pid()));
    assert!(!ring.exists(), "the demo's ring is gone with it: {}", ring.display());
    let left: Vec<_> = std::fs::read_dir(&dir).expect("the directory").collect();
    assert!(left.is_empty(), "a demo leaves nothing behind: {left:?}");
    let _ = std::fs::remove_dir(dir);
}

/// The first address with a port, `127.0.0.1:25224`, or the port of a command line that names one, `-P 25224`.
fn address_in(text: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || ",;()'`\"".contains(c)).collect();
    let direct = words.iter().find_map(|word| word.trim_end_matches('.').parse().ok());
    direct.or_else(|| {
        let port = words.windows(2).find(|pair| pair[0] == "-P").and_then(|pair| pair[1].parse::<u16>().ok())?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    })
}
