//! A fresh host is onboarded: key, certificate and omsadmin.conf are written with the modes and the contents of the original, the links without the
//! workspace id lead to them, `onboard list` shows the workspace, and the daemon can upload with it at once. The service has checked the request.

use crate::harness::{Site, Source, mode, run};
use omsd_standin::Options;
use std::net::{Ipv4Addr, UdpSocket};

#[test]
fn files_modes_links_and_the_first_upload() {
    let site = Site::bare(Options::default());
    let workspace = &site.standin.options().workspace_id;
    let output = run(&mut site.onboard_command());
    assert_eq!(output.code(), 0, "{output:?}");
    assert_eq!(site.standin.seen().refusals, [""; 0]);

    let at = |path: &str| site.etc(&format!("{workspace}/{path}"));
    assert_eq!(mode(&at("conf")), 0o750);
    assert_eq!(mode(&at("certs")), 0o700);
    assert_eq!(mode(&at("certs/oms.crt")), 0o640);
    assert_eq!(mode(&at("certs/oms.key")), 0o600);
    for link in ["conf", "certs"] {
        let target = std::fs::read_link(site.etc(link)).expect("a link");
        assert!(target.is_relative() && target.starts_with(workspace), "{link} leads to {}", target.display());
        assert!(site.etc(link).is_dir(), "{link} leads nowhere");
    }
    check_admin_conf(&site, &std::fs::read_to_string(at("conf/omsadmin.conf")).expect("omsadmin.conf"));
    let certificate = std::fs::read_to_string(at("certs/oms.crt")).expect("oms.crt");
    let key = std::fs::read_to_string(at("certs/oms.key")).expect("oms.key");
    assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"), "{certificate}");
    assert!(key.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "not the original's form of key");

    let list = run(site.command("onboard").arg("list"));
    assert!(list.status.success() && list.stdout.contains(workspace.as_str()), "{list:?}");
    expect_upload(&site);
}

/// The ten lines of the original, in its order.
#[track_caller]
fn check_admin_conf(site: &Site, text: &str) {
    let keys: Vec<&str> = text.lines().map(|line| line.split_once('=').map_or(line, |(key, _)| key)).collect();
    let expected = [
        "WORKSPACE_ID",
        "AGENT_GUID",
        "LOG_FACILITY",
        "CERTIFICATE_UPDATE_ENDPOINT",
        "URL_TLD",
        "DSC_ENDPOINT",
        "OMS_ENDPOINT",
        "AZURE_RESOURCE_ID",
        "OMSCLOUD_ID",
        "UUID",
    ];
    assert_eq!(keys, expected);
    let agent = &site.standin.seen().agents[0];
    let url = site.standin.url();
    for line in [
        format!("WORKSPACE_ID={}", agent.workspace_id),
        format!("AGENT_GUID={}", agent.agent_guid),
        "LOG_FACILITY=local0".to_owned(),
        format!("CERTIFICATE_UPDATE_ENDPOINT={url}/ConfigurationService.Svc/RenewCertificate"),
        format!("OMS_ENDPOINT={url}/OperationalData.svc/PostJsonDataItems"),
        format!(
            "DSC_ENDPOINT=https://dsc.example.net/Accounts/{}/Nodes\\(AgentId='{}'\\)",
            agent.workspace_id, agent.agent_guid
        ),
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
    }
}

fn expect_upload(site: &Site) {
    let source = Source::udp();
    site.write_ca(site.standin.ca_pem());
    site.configure(&[source], "");
    let _omsd = site.start();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let to = (Ipv4Addr::LOCALHOST, source.port());
    socket.send_to(b"<13>Nov 22 20:00:00 web01 app: first", to).expect("it is sent");
    site.wait("the first message", |seen| seen.messages().any(|message| message == "first"));
    assert_eq!(site.standin.seen().complaints, [""; 0]);
}

#[test]
fn onboarding_again_keeps_the_agent() {
    let site = Site::bare(Options::default());
    for _ in 0..2 {
        let output = run(&mut site.onboard_command());
        assert_eq!(output.code(), 0, "{output:?}");
    }
    let seen = site.standin.seen();
    assert_eq!(seen.requests.len(), 2);
    assert_eq!(seen.agents.len(), 1, "the second time it is the same agent");
}
