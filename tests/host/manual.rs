//! The manual page and the program say the same: every command and every word behind one has `-h`, which ends with 0; each of its options is in
//! the page's section, and the page has no other.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// What every command has; the page tells it once.
const OF_ALL: [&str; 3] = ["-h", "--help", "--root"];

/// What a command with these words and `-h` prints.
#[track_caller]
fn help(words: &[&str]) -> String {
    let program = std::env::var_os("OMSD_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_omsd")), PathBuf::from);
    let output = Command::new(program).args(words).arg("-h").output().expect("omsd runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?} -h: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The page without its fonts.
fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/man/omsd.8");
    let text = std::fs::read_to_string(path).expect("the manual page");
    ["\\fB", "\\fI", "\\fR"].iter().fold(text, |text, font| text.replace(font, "")).replace("\\-", "-")
}

fn commands() -> Vec<String> {
    let names =
        help(&[]).lines().filter_map(|line| line.strip_prefix("    ")?.split(' ').next().map(str::to_owned)).collect();
    assert!(Vec::len(&names) > 8, "{names:?}");
    names
}

/// The options of a text of `-h`, each with all its names.
fn told(help: &str) -> Vec<Vec<&str>> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    lines.map(|line| names_in(line.split("  ").next().unwrap_or("")).collect()).collect()
}

/// The words of a text that are options.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|character: char| character.is_whitespace() || "\",[]|.".contains(character));
    words.filter(|word| {
        word.len() > 1 && word.starts_with('-') && word.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphabetic())
    })
}

/// The options that the page's section on a command has in the first line of a paragraph.
fn written<'a>(page: &'a str, command: &str) -> BTreeSet<&'a str> {
    let is_its = |line: &&str| {
        let title = line.strip_prefix(".SS ").map(|title| title.trim_matches('"'));
        title.and_then(|title| title.split([' ', ':', ',']).next()) == Some(command)
    };
    let sections = page.lines().collect::<Vec<_>>();
    let starts = sections.iter().enumerate().filter(|(_, line)| is_its(line)).map(|(at, _)| at);
    let mut found = BTreeSet::new();
    for start in starts {
        let section = sections[start + 1..].iter().take_while(|line| !line.starts_with(".S")).collect::<Vec<_>>();
        let titles = section.windows(2).filter(|pair| pair[0].starts_with(".TP")).map(|pair| pair[1]);
        found.extend(titles.flat_map(|title| names_in(title)));
    }
    found
}

#[test]
fn every_option_is_in_the_manual_and_the_manual_has_no_other() {
    let page = page();
    for command in commands() {
        let text = help(&[&command]);
        let (told, written) = (told(&text), written(&page, &command));
        for names in told.iter().filter(|names| !OF_ALL.contains(&names[0])) {
            assert!(names.iter().any(|name| written.contains(name)), "{command} {names:?} is not in omsd(8)");
        }
        let known: BTreeSet<&str> = told.iter().flatten().copied().collect();
        let unknown: Vec<&&str> = written.iter().filter(|name| !known.contains(**name)).collect();
        assert!(unknown.is_empty(), "omsd(8) has {unknown:?} of {command}, which does not know them");
    }
}

#[test]
fn every_command_is_in_the_synopsis_with_options_that_it_has() {
    let page = page();
    let synopsis = page.split(".SH ").find(|part| part.starts_with("SYNOPSIS")).expect("a synopsis");
    // A line that goes on begins with blanks.
    let synopsis = synopsis.replace("\n.BR \"             \"", "");
    let lines: Vec<Vec<&str>> =
        synopsis.lines().map(|line| line.split([' ', '"']).filter(|word| !word.is_empty()).collect()).collect();
    for command in commands() {
        let text = help(&[&command]);
        let known: BTreeSet<&str> = told(&text).into_iter().flatten().collect();
        let mut of_command = lines
            .iter()
            .filter(|words| words.get(1) == Some(&"omsd") && words.get(2) == Some(&command.as_str()))
            .peekable();
        assert!(of_command.peek().is_some(), "{command} is not in the synopsis");
        for words in of_command {
            let unknown: Vec<&str> =
                words.iter().flat_map(|word| names_in(word)).filter(|name| !known.contains(name)).collect();
            assert!(unknown.is_empty(), "the synopsis has {unknown:?} of {command}, which does not know them");
        }
    }
}

#[test]
fn help_is_given_behind_every_word_of_a_command() {
    for words in [
        &["ring", "list"][..],
        &["ring", "dump"],
        &["ring", "verify"],
        &["onboard", "list"],
        &["onboard", "remove"],
        &["check", "cfg.parse"],
    ] {
        assert!(help(words).starts_with("Usage: omsd "), "{words:?}");
    }
    for command in commands() {
        assert!(help(&[&command]).starts_with(&format!("Usage: omsd {command}")), "{command}");
    }
}
