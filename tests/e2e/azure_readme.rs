//! The ten steps of `conf/azure/README.md`, as they stand there, from nothing to the first row: against the stand-in, and with a program in place of
//! `az` that answers what Azure would. And the templates, against what is known of their schema.

use crate::harness::{Omsd, Site, Source, omsd_bin, wait_until};
use omsd_standin::Options;
use omsd_standin::serde_json::{self, Value};
use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const README: &str = include_str!("../../conf/azure/README.md");

/// Answers by what is asked for, and writes down what it was told to deploy.
const AZ: &str = r#"#!/bin/sh
echo "$*" >> "$AZ_LOG"
case "$*" in
    *"--query appId "*) echo "$AZ_APP" ;;
    *"--query tenantId "*) echo "$AZ_TENANT" ;;
    *"--query password "*) echo "$AZ_SECRET" ;;
    *"--query properties.outputs.dcrId.value "*) echo "$AZ_DCR" ;;
    *"--query properties.outputs.endpoint.value "*) echo "$AZ_ENDPOINT" ;;
    *"--query id "*) echo 00000000-0000-0000-0000-000000000001 ;;
esac
"#;

#[test]
fn the_ten_steps_lead_to_the_first_row() {
    let steps = steps();
    assert_eq!(steps.len(), 10);
    let site = Site::bare(Options::default());
    let bin = site.root.join("bin");
    std::fs::create_dir_all(&bin).expect("a directory");
    std::fs::write(bin.join("az"), AZ).expect("az");
    std::fs::set_permissions(bin.join("az"), std::fs::Permissions::from_mode(0o755)).expect("az runs");
    std::os::unix::fs::symlink(omsd_bin(), bin.join("omsd")).expect("omsd");
    site.write_ca(site.standin.ca_pem());

    // A port of this test's own, the stand-in's certificate and token endpoint, and no patience: all else is the README's.
    let port = Source::udp().port();
    let root = site.root.display();
    let ours = format!(
        "sed -i -e 's/port 25224/port {port}/' -e 's|</match>|  authority {}\\n  ca_file /etc/opt/omsd/ca.pem\\n  flush_interval 1s\\n</match>|' \
         '{root}/etc/opt/omsd/omsd.conf'\n",
        site.standin.url()
    );
    let before = steps[..7].concat().replace("ROOT=\n", &format!("ROOT='{root}'\n")) + &ours + &steps[7];
    let azure = site.standin.azure(|azure| azure.clone());
    let log = bin.join("log");
    let mut command = Command::new("sh");
    command.arg("-euc").arg(&before).current_dir(env!("CARGO_MANIFEST_DIR"));
    let path = std::env::var("PATH").unwrap_or_default();
    command.envs([
        ("PATH", format!("{}:{path}", bin.display())),
        ("AZ_LOG", log.to_string_lossy().into_owned()),
        ("AZ_APP", azure.client_id),
        ("AZ_TENANT", azure.tenant),
        ("AZ_SECRET", azure.secret),
        ("AZ_DCR", azure.rule_id),
        ("AZ_ENDPOINT", site.standin.url()),
    ]);
    let output = command.output().expect("sh runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("PASS net.auth       a token was given"), "{said}");
    site.standin.seen().complaints.clear(); // requests without rows, by which the check asks for each stream
    check_deployments(&std::fs::read_to_string(log).expect("az was asked"));

    let (run, logger) = steps[8].split_once('\n').expect("two lines");
    assert_eq!(run, "omsd run --root \"$ROOT/\" &");
    let omsd = Omsd::spawn(site.command("run"));
    omsd.wait_for_sources(&[Source::Udp(port)], Path::new(""));
    let status = Command::new("sh").arg("-euc").arg(logger.replace("25224", &port.to_string())).status();
    assert!(status.expect("sh runs").success());
    site.wait("the first row", |seen| seen.rows_of("Custom-HostSyslog").next().is_some());
    let seen = site.standin.seen();
    let row = seen.rows_of("Custom-HostSyslog").next().expect("a row");
    assert_eq!((row.text("ProcessName"), row.text("SeverityLevel")), ("sshd", "warning"));
    assert_eq!(seen.complaints, [""; 0]);
    drop(seen);
    assert!(steps[9].starts_with("omsd status --root \"$ROOT/\"\n"), "{}", steps[9]);
    wait_until("the status tells of it", || site.status()["upload"]["requests"].as_u64() > Some(0));
}

/// What stands between the fences of each numbered step.
fn steps() -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    let mut inside = false;
    for line in README.lines() {
        let number = line.split_once(". ").and_then(|(number, _)| number.parse::<usize>().ok());
        if number == Some(steps.len() + 1) {
            steps.push(String::new());
        }
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            let step = steps.last_mut().expect("a step");
            *step += line.trim_start();
            step.push('\n');
        }
    }
    steps
}

/// Every template that is deployed is there, and has the parameters that it is given and needs no other.
fn check_deployments(log: &str) {
    let mut deployed = 0;
    for line in log.lines().filter(|line| line.starts_with("deployment group create")) {
        let (file, parameters) =
            line.split_once("--template-file ").and_then(|(_, rest)| rest.split_once(" --parameters ")).expect(line);
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file);
        let template: Value = serde_json::from_str(&text).expect(file);
        let known = template["parameters"].as_object().expect("parameters");
        let given: HashSet<&str> = parameters.split(' ').filter_map(|pair| pair.split('=').next()).collect();
        assert!(given.iter().all(|name| known.contains_key(*name)), "{line}");
        let needed = known.iter().filter(|(_, parameter)| parameter.get("defaultValue").is_none());
        needed.for_each(|(name, _)| assert!(given.contains(name.as_str()), "{name} in {line}"));
        deployed += 1;
    }
    assert_eq!(deployed, 2, "{log}");
}

/// Columns of `Syslog` that a row may have. Source: the table's reference.
const SYSLOG: [&str; 12] = [
    "TimeGenerated",
    "EventTime",
    "Computer",
    "HostName",
    "HostIP",
    "CollectorHostName",
    "Facility",
    "SeverityLevel",
    "ProcessName",
    "ProcessID",
    "SyslogMessage",
    "SourceSystem",
];

#[test]
fn the_templates_are_what_azure_takes() {
    for (name, streams) in [("host", 4), ("syslog", 3), ("security", 3)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("conf/azure/{name}.json"));
        let template: Value = serde_json::from_str(&std::fs::read_to_string(path).expect(name)).expect(name);
        assert!(template["$schema"].as_str().is_some_and(|schema| schema.ends_with("/deploymentTemplate.json#")));
        let resources = template["resources"].as_array().expect("resources");
        let of_type = |kind: &str| resources.iter().filter(|it| it["type"] == kind).collect::<Vec<_>>();
        let rules = of_type("Microsoft.Insights/dataCollectionRules");
        let [rule] = rules[..] else { panic!("{name} has not one rule") };
        assert_eq!(rule["kind"], "Direct", "without it the rule has no endpoint of its own");
        let declared = rule["properties"]["streamDeclarations"].as_object().expect("streams");
        let flows = rule["properties"]["dataFlows"].as_array().expect("flows");
        assert_eq!((declared.len(), flows.len()), (streams, streams));
        let tables = of_type("Microsoft.OperationalInsights/workspaces/tables");
        for (stream, declaration) in declared {
            assert!(stream.starts_with("Custom-"), "{stream}");
            let columns = columns(declaration);
            check_columns(stream, &columns);
            let flow = flows.iter().find(|flow| flow["streams"][0] == stream.as_str()).expect("a flow for each stream");
            let output = flow["outputStream"].as_str().expect("an output");
            match output.strip_prefix("Custom-") {
                Some(table) => {
                    let found =
                        tables.iter().find(|it| it["properties"]["schema"]["name"] == table).expect("its table");
                    assert_eq!(self::columns(&found["properties"]["schema"]), columns, "{table}");
                    assert!(table.ends_with("_CL") && flow["transformKql"] == "source");
                }
                None if output == "Microsoft-Syslog" => {
                    assert!(columns.iter().all(|(column, _)| SYSLOG.contains(&column.as_str())), "{columns:?}");
                }
                None => assert_eq!(output, "Microsoft-CommonSecurityLog"),
            }
        }
        let role = &of_type("Microsoft.Authorization/roleAssignments")[0]["properties"]["roleDefinitionId"];
        assert!(role.as_str().is_some_and(|role| role.contains("3913510d-42f4-4e42-8a64-420c390055eb")), "{role}");
        for output in ["dcrId", "endpoint"] {
            assert!(template["outputs"][output]["value"].is_string(), "{output}");
        }
    }
}

fn columns(declaration: &Value) -> Vec<(String, String)> {
    let text = |column: &Value, key: &str| column[key].as_str().expect("name and type").to_owned();
    declaration["columns"].as_array().expect("columns").iter().map(|it| (text(it, "name"), text(it, "type"))).collect()
}

/// Source: "Logs Ingestion API in Azure Monitor" and "Structure of a data collection rule".
fn check_columns(stream: &str, columns: &[(String, String)]) {
    const RESERVED: [&str; 7] = ["_ResourceId", "id", "_SubscriptionId", "TenantId", "Type", "UniqueId", "Title"];
    const TYPES: [&str; 7] = ["string", "int", "long", "real", "boolean", "dynamic", "datetime"];
    assert!(columns.contains(&("TimeGenerated".to_owned(), "datetime".to_owned())), "{stream}");
    for (index, (name, kind)) in columns.iter().enumerate() {
        let fine = name.len() <= 45 && name.starts_with(|it: char| it.is_ascii_alphabetic());
        assert!(fine && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{name} of {stream}");
        assert!(!RESERVED.contains(&name.as_str()) && TYPES.contains(&kind.as_str()), "{name}: {kind} of {stream}");
        assert!(!columns[..index].iter().any(|(other, _)| other == name), "{name} is there twice in {stream}");
    }
}

/// The functions present what the templates' tables hold, under names that do not hide a table.
#[test]
fn the_functions_are_about_the_templates_tables() {
    let template: Value = serde_json::from_str(include_str!("../../conf/azure/functions.json")).expect("JSON");
    let host = include_str!("../../conf/azure/host.json");
    for function in template["resources"].as_array().expect("resources") {
        let (alias, query) =
            (function["properties"]["functionAlias"].as_str(), function["properties"]["query"].as_str());
        let (alias, query) = (alias.expect("an alias"), query.expect("a query"));
        assert!(
            host.contains(&format!("\"{alias}_CL\"")) && query.contains(&format!("({alias}_CL | extend")),
            "{query}"
        );
        assert!(query.starts_with(&format!("union isfuzzy=true {}, ", alias.trim_start_matches("Host"))), "{query}");
        assert_eq!(query.matches('(').count(), query.matches(')').count(), "{query}");
    }
}
