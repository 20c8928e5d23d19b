//! Cron calls `omsd run --ensure` each minute. When all is well that is silent and changes nothing; when none runs, one is started, and never two; when
//! the program or its configuration was changed, the running one hands over.

use crate::harness::{Numbered, Site, Source, copy_program, omsd_bin, run, send_over_tcp, tcp_listens};
use crate::is_full_length;
use crate::watched::{Background, agents, ensure, holder, kill, noted, run_as, runs};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

#[test]
fn a_healthy_agent_is_left_alone_without_a_word_or_a_write() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let _background = Background(&site);
    ensure(&site);
    let (pid, before) = (holder(&site), files_of(&site.root));
    let trace = site.root.join("trace");
    let plain = site.command("run");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", "trace=%network,kill", "-o"]).arg(&trace).arg(plain.get_program());
    let output = run(traced.args(plain.get_args()).arg("--ensure"));
    assert_eq!((output.code(), output.stdout.as_str(), output.stderr.as_str()), (0, "", ""));
    assert_eq!(std::fs::read_to_string(&trace).expect("the trace"), "", "no network, no signal");
    std::fs::remove_file(trace).expect("the trace goes");
    let now = files_of(&site.root);
    let by_agent = |path: &Path| path.ends_with("status") || path.ends_with("log") || path.ends_with("ring");
    let changed: Vec<_> =
        now.iter().filter(|(path, time)| before.get(*path) != Some(time) && !by_agent(path)).collect();
    assert!(changed.is_empty() && now.len() == before.len(), "{changed:?}");
    assert_eq!(agents(&site), [pid]);
}

/// Every file and when it was written.
fn files_of(directory: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let (path, metadata) = (entry.path(), entry.path().symlink_metadata());
        let Ok(metadata) = metadata else { continue };
        if metadata.is_dir() {
            files.extend(files_of(&path));
        } else {
            files.insert(path, metadata.modified().expect("a time"));
        }
    }
    files
}

#[test]
fn of_many_that_are_called_at_once_one_starts_an_agent() {
    let (calls, rounds) = if is_full_length() { (200, 50) } else { (60, 3) };
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let _background = Background(&site);
    for round in 0..rounds {
        let spawn = |_| {
            let mut command = site.command("run");
            command.arg("--ensure").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("it starts")
        };
        let running: Vec<_> = (0..calls).map(spawn).collect();
        for child in running {
            let output = child.wait_with_output().expect("it ends");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && said.is_empty(), "round {round}: {:?} {said}", output.status);
        }
        assert_eq!(agents(&site), [holder(&site)], "round {round}");
        kill(holder(&site));
        // What was killed counts as a crash: it must not brake the next round.
        let _ = std::fs::remove_file(site.var("ensure"));
    }
}

#[test]
fn after_a_kill_the_next_call_starts_another_though_a_child_may_live() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let _background = Background(&site);
    // An answer that does not come keeps the upload child busy when its parent is killed.
    site.standin.answer_always(omsd_standin::Route::Data, "silence".parse().expect("an answer"));
    ensure(&site);
    let first = holder(&site);
    let _stream = send_over_tcp(source, &Numbered::new(3).lines());
    crate::harness::wait_until("a child uploads", || !crate::harness::children_of(first).is_empty());
    kill(first);
    ensure(&site);
    assert!(holder(&site) != first && runs(holder(&site)) && tcp_listens(source.port()));
}

#[test]
fn a_broken_configuration_is_told_once_and_harms_no_running_agent() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let _background = Background(&site);
    ensure(&site);
    let pid = holder(&site);
    let good = std::fs::read_to_string(site.conf()).expect("omsd.conf");
    std::fs::write(site.conf(), good.clone() + "nonsense\n").expect("omsd.conf is written");
    let told = run_as(&site, "--ensure");
    assert_eq!((told.code(), told.stderr.lines().count()), (78, 1), "{told:?}");
    let again = run_as(&site, "--ensure");
    assert_eq!((again.code(), again.stderr.as_str()), (78, ""), "it is told once an hour");
    assert_eq!(agents(&site), [pid]);
    std::fs::write(site.conf(), good).expect("omsd.conf is written");
    ensure(&site);
    assert_eq!(agents(&site), [pid], "the configuration is the old one again");
}

#[test]
fn a_changed_configuration_or_program_is_taken_over_without_a_loss() {
    let site = Site::new();
    let source = Source::tcp();
    site.configure(&[source], "");
    let _background = Background(&site);
    let program = site.root.join("omsd");
    let install = || {
        let new = site.root.join("omsd.new");
        copy_program(&omsd_bin(), &new);
        std::fs::rename(&new, &program).expect("in place of the old one");
    };
    let call = || {
        let output = run(Command::new(&program).args(["run", "--ensure", "--root"]).arg(&site.root).env("TZ", "UTC"));
        assert!(output.code() == 0 && output.stderr.is_empty(), "{output:?}");
        holder(&site)
    };
    install();
    // Nothing is taken until the end: what a first agent received, a third delivers.
    site.standin.answer_always(omsd_standin::Route::Data, "503".parse().expect("an answer"));
    let first = call();
    let messages = Numbered::new(300);
    let lines = messages.lines();
    let (one, rest) = lines.split_at(lines.match_indices('\n').nth(99).expect("a hundred lines").0 + 1);
    let (two, three) = rest.split_at(rest.match_indices('\n').nth(99).expect("a hundred lines").0 + 1);
    let send = |text| drop(send_over_tcp(source, text));
    send(one);
    assert_eq!(call(), first);
    install();
    let second = call();
    assert!(second != first && agents(&site) == [second]);
    assert_eq!(call(), second, "handed over once");
    send(two);
    site.configure(&[source], "flush_interval 2s");
    let third = call();
    assert!(third != second && agents(&site) == [third]);
    site.standin.behave();
    send(three);
    messages.expect_once_each(&site, |_, _| {});
    assert_eq!(noted(&site, "ensure", "start").split(' ').nth(2), Some("0"), "no crash was counted");
}

#[test]
fn what_crashes_again_and_again_is_not_started_each_minute() {
    let site = Site::new();
    site.configure(&[Source::udp()], "");
    let _background = Background(&site);
    for _ in 0..5 {
        ensure(&site);
        kill(holder(&site));
    }
    let braked = run_as(&site, "--ensure");
    assert_eq!(braked.code(), 75, "{braked:?}");
    assert!(braked.stderr.contains("5 times"), "{braked:?}");
    assert_eq!(run_as(&site, "--ensure").stderr, "");
    assert_eq!(agents(&site), [0; 0]);
    // By hand it is started all the same.
    assert_eq!(run_as(&site, "--daemon").code(), 0);
    assert_eq!(run(&mut site.command("stop")).code(), 0);
    ensure(&site);
}
