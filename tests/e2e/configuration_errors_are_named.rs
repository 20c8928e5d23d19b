//! A configuration with a mistake: `omsd check --config FILE` and `omsd run` both name file, line and what is wrong without
//! having started anything, and end with 2 and 78. `check` on a good one ends with 0.

use crate::harness::{Site, Source, command, run};

#[test]
fn check_and_run_name_the_line() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let good = run(command().arg("check").arg("--config").arg(site.conf()));
    assert_eq!(good.code(), 0, "{good:?}");

    let text = std::fs::read_to_string(site.conf()).expect("the configuration");
    let text = text.replace("protocol_type udp", "protocol_type carrier_pigeon");
    std::fs::write(site.conf(), &text).expect("it is written");
    let line = 1 + text.lines().position(|line| line.contains("carrier_pigeon")).expect("it is there");
    for (mut command, code) in [(command_check(&site), 2), (site.command("run"), 78)] {
        let output = run(&mut command);
        assert_eq!(output.code(), code, "{output:?}");
        let said = output.stdout + &output.stderr;
        assert!(said.contains("carrier_pigeon") && said.contains(&format!("omsd.conf:{line}")), "{said}");
    }
    assert!(!site.var("ring").exists(), "nothing was started");
}

fn command_check(site: &Site) -> std::process::Command {
    let mut command = command();
    command.arg("check").arg("--config").arg(site.conf());
    command
}
