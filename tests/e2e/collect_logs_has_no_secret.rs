//! `omsd check`, `status` and `collect-logs` on an installation that is full of secrets: a workspace key in a file and left in a comment of the
//! configuration, a proxy's password, a client's secret, the agent's private key, and messages in the ring. None of it is in what is printed, nor in
//! any file of the archive, unpacked by tar. The archive's files were listed before.

use crate::harness::{Site, Source, mode, run, wait_until};
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const WORKSPACE_KEY: &str = "Q0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQVJZQ0FOQQ==";
const PROXY_PASSWORD: &str = "canary-of-the-proxy";
const CLIENT_SECRET: &str = "canary~of~the~client";
const MESSAGE: &str = "canary in a message";

#[test]
fn nothing_secret_is_printed_or_packed() {
    let (site, source) = (Site::new(), Source::udp());
    site.configure(&[source], "");
    let text = fs::read_to_string(site.conf()).expect("omsd.conf");
    let store = "  <store>\n  type out_azure_ingestion\n  endpoint https://127.0.0.1:9\n  dcr_id dcr-00000000000000000000000000000001\n  \
                 identity secret\n  tenant_id 5f3a1c0e-7b64-4d0e-9c1f-2a6b8d9e4f10\n  client_id 5f3a1c0e-7b64-4d0e-9c1f-2a6b8d9e4f11\n  </store>\n  \
                 <store>\n  type out_data_collector\n  workspace_id 5f3a1c0e-7b64-4d0e-9c1f-2a6b8d9e4f10\n  </store>\n";
    let (sources, output) = text.split_once("<match oms.**>").expect("the match");
    let output = output.replace("</match>", "</store>");
    let text =
        format!("# key: {WORKSPACE_KEY}\n{sources}<match oms.**>\n  type copy\n  <store>{output}{store}</match>\n");
    fs::write(site.conf(), text).expect("omsd.conf");
    for (name, secret) in [
        ("proxy.conf", format!("http://agent:{PROXY_PASSWORD}@127.0.0.1:9")),
        ("secret", CLIENT_SECRET.to_owned()),
        ("shared.key", WORKSPACE_KEY.to_owned()),
    ] {
        fs::write(site.etc(name), secret).expect("a secret");
        fs::set_permissions(site.etc(name), fs::Permissions::from_mode(0o600)).expect("and private");
    }
    let private_key = fs::read_to_string(site.etc("certs/oms.key")).expect("the key");
    let private_key = private_key.lines().nth(1).expect("its second line").to_owned();
    let _omsd = site.start();
    let message = format!("<13>Nov 22 20:00:00 web01 app: {MESSAGE}");
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    sender.send_to(message.as_bytes(), (Ipv4Addr::LOCALHOST, source.port())).expect("it is sent");
    wait_until("it is in the ring, and an upload failed", || {
        site.stream("syslog")["received"] == 1 && site.status()["upload"]["last_failure"] != ""
    });

    let archive = site.root.join("logs.tar.gz");
    let commands: [&[&str]; 5] =
        [&["check"], &["check", "--json"], &["status"], &["status", "--json"], &["collect-logs", "-o", "ARCHIVE"]];
    let mut shown = String::new();
    for words in commands {
        let mut command = site.command(words[0]);
        let archive = archive.to_str().expect("a path of ASCII");
        let output = run(command.args(words[1..].iter().map(|word| if *word == "ARCHIVE" { archive } else { word })));
        assert!(output.code() <= 2, "{output:?}");
        shown += &(output.stdout + &output.stderr);
    }
    assert!(shown.contains("PASS id.files") && shown.contains("written to "), "{shown}");

    assert_eq!(mode(&archive), 0o600);
    let unpacked = Command::new("tar").arg("-xvzf").arg(&archive).arg("-C").arg(&site.root).output().expect("tar runs");
    assert!(unpacked.status.success() && unpacked.stderr.is_empty(), "{unpacked:?}");
    let names: Vec<String> = String::from_utf8_lossy(&unpacked.stdout).lines().map(str::to_owned).collect();
    let mut packed = String::new();
    for name in &names {
        let bare = name.strip_prefix("omsd-logs/").expect("all in one directory");
        assert!(shown.contains(&format!("  {bare}\n")), "{bare} was not listed");
        packed += &fs::read_to_string(site.root.join(name)).expect("a text");
    }
    for part in [
        "proxy: http://***@127.0.0.1:9",
        "WORKSPACE_ID=",
        "\"id\":\"cfg.parse\"",
        "type out_azure_ingestion",
        "pending 1 records",
    ] {
        assert!(packed.contains(part), "{part} is not in {names:?}");
    }
    let secrets = [WORKSPACE_KEY, PROXY_PASSWORD, CLIENT_SECRET, MESSAGE, private_key.as_str(), "PRIVATE KEY"];
    for secret in secrets {
        let plain = &secret[..secret.len().min(12)];
        assert!(!shown.contains(plain), "{plain} was printed");
        for name in &names {
            let text = fs::read_to_string(site.root.join(name)).expect("a text");
            assert!(!text.contains(plain), "{plain} is in {name}:\n{text}");
        }
    }
}
