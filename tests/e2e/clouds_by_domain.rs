//! `omsd onboard -d` chooses the cloud: the public one without it, those of the US Government and of China, and any other domain. The names of both
//! endpoints are made of workspace and domain, onboarding shows where records will go, and they go there. nginx stands for all of them, with certificates
//! for these names; a proxy leads there, so that no name is looked up.

use crate::harness::authority::{AUTHORITY, Certificates, Kind, SERVER};
use crate::harness::{Proxy, Server, Site, at_the_same_time, run, wait_until};
use omsd_standin::Options;

#[test]
fn onboarding_and_uploads_reach_the_clouds_names() {
    let row = |name, arguments: &'static [&'static str], domain: &'static str| (name, (arguments, domain));
    at_the_same_time(
        vec![
            row("public", &[], "opinsights.azure.com"),
            row("US Government", &["-d", "opinsights.azure.us"], "opinsights.azure.us"),
            row("China", &["-d", "opinsights.azure.cn"], "opinsights.azure.cn"),
            row("another", &["-d", "logs.example.org"], "logs.example.org"),
        ],
        check,
    );
}

fn check((arguments, domain): (&[&str], &str)) {
    let made = Certificates::new();
    made.make("root", "root", &Kind { extensions: AUTHORITY, ..SERVER });
    let extensions = format!("subjectAltName=DNS:*.oms.{domain},DNS:*.ods.{domain}");
    made.make("server", "root", &Kind { extensions: &extensions, ..SERVER });
    let answer = "<LinuxAgentTopologyResponse queryInterval=\"PT1H\"/>";
    let server = Server::nginx(
        made.dir(),
        &format!(
            "ssl_certificate {{dir}}/server.crt; ssl_certificate_key {{dir}}/server.key;\n\
             location /AgentService.svc/ {{ return 200 '{answer}'; }}"
        ),
    );
    let proxy = Proxy::leading_to(server.port);
    let site = Site::bare(Options::default());
    site.write_ca(&made.bundle(&["root"]));
    let workspace = &site.standin.options().workspace_id;
    let mut command = site.command("onboard");
    command.args([
        "-w",
        workspace,
        "-s",
        &site.standin.options().shared_key,
        "-p",
        &format!("127.0.0.1:{}", proxy.port),
    ]);
    let output = run(command.args(arguments).arg("--ca-file").arg(site.etc("ca.pem")));
    assert_eq!(output.code(), 0, "{output:?}");
    let records = format!("Records will go to https://{workspace}.ods.{domain}/");
    assert!(output.stdout.contains(&records), "{output:?}");

    site.configure(&[], "");
    site.add_heartbeat();
    let omsd = site.start();
    wait_until("data is sent", || {
        site.stream("heartbeat")["sent"].as_u64() > Some(0) || omsd.stderr().contains("put off")
    });
    assert!(!omsd.stderr().contains("put off"), "{}", omsd.stderr());
    let asked = |host: &str| format!("CONNECT {workspace}.{host}.{domain}:443 HTTP/1.1");
    assert_eq!(proxy.asked()[..2], [asked("oms"), asked("ods")]);
}
