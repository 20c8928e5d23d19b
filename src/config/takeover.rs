//! A configuration of the original, written down as one of ours: what has an effect here, and nothing else.

use super::diagnostic::{Diagnostic, Place, Report};
use super::grammar::{Files, Section};
use super::table::{self, Effect, Home, Kind};
use super::{check, grammar};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// What a configuration of the original comes to.
#[derive(Debug)]
pub struct Takeover {
    /// The text of an `omsd.conf`. It may still have errors: [`super::parse`] says so.
    pub text: String,
    /// What was found in the original's files, in the order of their lines. A section with an error is not in the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads `path` with all that it includes. Records for the service go to the one workspace of the host if `workspaces` has one,
/// else to each that it names.
pub fn take_over(files: &mut dyn Files, path: &str, workspaces: &[&str]) -> Takeover {
    let mut report = Report::default();
    let root = grammar::read(files, path, &mut report);
    let _ = check::config(&root, &mut report);
    let wrong: Vec<Place> = report.errors().filter(|&place| !is_of_unknown_key(&root, place)).collect();
    let mut writer = Writer { text: String::new(), workspaces };
    for section in &root.sections {
        if !wrong.iter().any(|&place| is_last_before(section, &root, place)) {
            writer.section(section);
        }
    }
    Takeover { text: writer.text, diagnostics: report.into_diagnostics() }
}

/// A key that nobody knows is left out by itself; its section works without.
fn is_of_unknown_key(root: &Section, place: Place) -> bool {
    root.sections.iter().any(|section| {
        let known = |key: &str| home_of(section).is_none_or(|home| table::find(home, check::bare(key)).is_some());
        section.entries.iter().any(|entry| entry.key_place == place && !known(&entry.key))
    })
}

/// Whether a place is in this section or behind it, before any other begins: where sections end is not kept.
fn is_last_before(section: &Section, root: &Section, place: Place) -> bool {
    let begins_before = |one: &&Section| one.place.file == place.file && one.place.line <= place.line;
    let last = root.sections.iter().filter(begins_before).max_by_key(|one| one.place);
    last.is_some_and(|last| last.place == section.place)
}

fn home_of(section: &Section) -> Option<Home> {
    if section.name == "system" {
        return Some(Home::System);
    }
    match table::find_plugin(&section.name, &check::last_entry(section, "type")?.value)?.effect {
        Effect::Works(home) => Some(home),
        Effect::Nothing => None,
    }
}

struct Writer<'a> {
    text: String,
    workspaces: &'a [&'a str],
}

impl Writer<'_> {
    fn section(&mut self, section: &Section) {
        let Some(home) = home_of(section) else { return };
        let separator = if section.argument.is_empty() { "" } else { " " };
        self.text.push_str(&format!("\n<{}{separator}{}>\n", section.name, section.argument));
        if home == Home::Copy || self.is_for_several(section) {
            self.text.push_str("  type copy\n");
            let own = core::slice::from_ref(section);
            let stores = if home == Home::Copy { &section.sections[..] } else { own };
            stores.iter().for_each(|store| self.store(store));
        } else {
            self.entries(section, home, "  ");
        }
        self.text.push_str(&format!("</{}>\n", section.name));
    }

    /// A `<store>`, or one for each workspace.
    fn store(&mut self, section: &Section) {
        let Some(home) = home_of(section) else { return };
        let several = self.is_for_several(section);
        let workspaces = self.workspaces;
        let workspaces = if several { workspaces } else { &[""] };
        for workspace in workspaces {
            self.text.push_str("  <store>\n");
            self.entries(section, home, "    ");
            if several {
                self.text.push_str(&format!("    workspace_id {workspace}\n"));
            }
            self.text.push_str("  </store>\n");
        }
    }

    fn is_for_several(&self, section: &Section) -> bool {
        self.workspaces.len() > 1 && is_oms(section)
    }

    /// The keys that have an effect, each once, with the value that counts. The identity, the proxy's file and the ring are ours.
    fn entries(&mut self, section: &Section, home: Home, indent: &str) {
        let mut written: Vec<&str> = Vec::new();
        for entry in &section.entries {
            let name = check::bare(&entry.key);
            let is_ours = table::IDENTITY_KEYS.contains(&name) || ["proxy_conf_path", "buffer_path"].contains(&name);
            let works = match table::find(home, name) {
                Some(key) => key.kind != Kind::Nothing && !(is_ours && is_oms(section)),
                None => home != Home::System && table::COMMON_KEYS.contains(&name),
            };
            if let Some(entry) = check::last_entry(section, name).filter(|_| works && !written.contains(&name)) {
                let mark = if name == "id" { "@" } else { "" };
                let line = format!("{indent}{mark}{name} {}", as_value(&entry.value));
                self.text.push_str(line.trim_end());
                self.text.push('\n');
                written.push(name);
            }
        }
    }
}

fn is_oms(section: &Section) -> bool {
    check::last_entry(section, "type").is_some_and(|kind| kind.value == "out_oms")
}

/// A value as it is written, so that it is read back as the same.
fn as_value(value: &str) -> String {
    let plain = !value.starts_with(['"', '\'', '[', '{', '#']) && value.trim() == value && !value.contains('#');
    if value.contains(char::is_control) {
        let escaped = value.chars().map(|character| match character {
            '\n' => "\\n".to_string(),
            '\r' => "\\r".to_string(),
            '\0' => "\\0".to_string(),
            '"' | '\\' | '#' => format!("\\{character}"),
            other => other.to_string(),
        });
        format!("\"{}\"", escaped.collect::<String>())
    } else if plain {
        value.to_string()
    } else {
        format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MemoryFiles, ORIGINAL};
    use super::super::{Config, Destination, Severity, parse};
    use super::*;

    const FIRST: &str = "11111111-1111-1111-1111-111111111111";
    const SECOND: &str = "22222222-2222-2222-2222-222222222222";

    fn taken(text: &str) -> Takeover {
        take_over(&mut MemoryFiles::default().with("a", text), "a", &[FIRST])
    }

    /// What the text comes to, places of sections aside.
    fn read(text: &str) -> (Config, Vec<Diagnostic>) {
        let (mut config, warnings) = parse(&mut MemoryFiles::default().with("b", text), "b").expect("accepted");
        config.sources.iter_mut().for_each(|source| source.line = 0);
        config.perf.iter_mut().for_each(|source| source.line = 0);
        (config, warnings)
    }

    #[test]
    fn the_originals_configuration_comes_to_the_same_and_has_little_left_to_warn_of() {
        let files = || ORIGINAL.iter().fold(MemoryFiles::default(), |files, (path, text)| files.with(path, text));
        let (mut expected, warnings) = parse(&mut files(), "/x/omsagent.conf").expect("accepted");
        expected.sources.iter_mut().for_each(|source| source.line = 0);
        expected.perf.iter_mut().for_each(|source| source.line = 0);
        let taken = take_over(&mut files(), "/x/omsagent.conf", &[FIRST]);
        assert_eq!(taken.diagnostics, warnings);
        let (config, left) = read(&taken.text);
        assert_eq!(config, expected);
        let fine = |finding: &Diagnostic| finding.text.contains("taken as") || finding.text.contains("counts for both");
        assert!(left.iter().all(fine), "{left:#?}\n{}", taken.text);
    }

    #[test]
    fn each_workspace_has_a_store() {
        let files = ORIGINAL.iter().fold(MemoryFiles::default(), |files, (path, text)| files.with(path, text));
        let mut files = files;
        let (config, _) = read(&take_over(&mut files, "/x/omsagent.conf", &[FIRST, SECOND]).text);
        let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
        assert_eq!(names, [["out_oms ", FIRST].concat(), ["out_oms ", SECOND].concat()]);
        assert!(config.targets.iter().all(|target| matches!(target.destination, Destination::Oms(_))));
        assert_eq!((config.routes.syslog, config.routes.heartbeat), (0b11, 0b11));
    }

    #[test]
    fn a_section_with_an_error_is_left_out_whole_and_its_neighbours_are_not() {
        let heartbeat = "<source>\ntype oms_heartbeat\ninterval 30s\n</source>\n";
        let output = "<match **>\ntype out_oms\n</match>\n";
        for wrong in [
            "<source>\ntype syslog\nport 99999\n</source>\n",
            "<source>\ntype syslog\nport \"25224\n</source>\n",
            "<source>\ntype of_a_neighbour\nurl x\n</source>\n",
            "<source>\ntype oms_omi\nobject_name Memory\ncounter_name_regex \"(a\"\ninterval 9s\n</source>\n",
            "<label @x>\n<match **>\ntype out_oms\n</match>\n</label>\n",
        ] {
            let taken = taken(&[heartbeat, wrong, output].concat());
            let error = taken.diagnostics.iter().find(|finding| finding.severity == Severity::Error);
            assert!(error.is_some(), "{wrong}");
            let (config, warnings) = read(&taken.text);
            assert_eq!((config.heartbeat_ms, config.sources.len(), config.perf.len()), (Some(30_000), 0, 0), "{wrong}");
            assert_eq!(warnings, [], "{wrong}");
        }
    }

    #[test]
    fn a_key_that_nobody_knows_is_left_out_alone() {
        let text = "<source>\ntype syslog\nport 3\nwhat 1\n</source>\n<match **>\ntype out_oms\n</match>\n";
        let taken = taken(text);
        assert_eq!(taken.diagnostics.iter().filter(|it| it.severity == Severity::Error).count(), 1);
        assert_eq!(
            taken.text,
            "\n<source>\n  type syslog\n  port 3\n</source>\n\n<match **>\n  type out_oms\n</match>\n"
        );
    }

    #[test]
    fn the_identity_and_the_proxy_are_ours() {
        let text = "<source>\ntype oms_heartbeat\n</source>\n<match **>\n@type out_oms\n@id a\nomsadmin_conf_path /o/omsadmin.conf\ncert_path /o/oms.crt\n\
                    key_path /o/oms.key\nproxy_conf_path /o/proxy.conf\nbuffer_path /o/a*.buffer\nnum_threads 5\nretry_limit 6\nretry_limit 7\n</match>\n";
        let expected = "\n<match **>\n  type out_oms\n  @id a\n  retry_limit 7\n</match>\n";
        assert!(taken(text).text.ends_with(expected), "{}", taken(text).text);
    }

    #[test]
    fn every_value_is_read_back_as_it_is() {
        for value in [
            "a",
            "a b",
            "% Time|(x)",
            "a\"b",
            "'a'",
            "a\\b'c",
            " a ",
            "#a",
            "a #b",
            "a#{b}",
            "[1]",
            "{",
            "\"",
            "a\nb\t\\\"#{c}",
        ] {
            let text = format!("<x>\nkey {}\n</x>\n", as_value(value));
            let mut report = Report::default();
            let root = grammar::read(&mut MemoryFiles::default().with("a", &text), "a", &mut report);
            assert_eq!(report.into_diagnostics(), [], "{text}");
            assert_eq!(root.sections[0].entries[0].value, value, "{text}");
        }
    }
}
