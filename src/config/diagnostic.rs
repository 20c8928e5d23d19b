//! What is wrong with a configuration, and where.

use crate::limits::CONFIG_DIAGNOSTICS_MAX;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// One finding about a configuration. Prints as `file:line:column: severity: text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, named as it was opened.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1; one past the last for something missing at the end of a line.
    pub column: u32,
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// A sentence for the administrator.
    pub text: String,
}

/// Whether a configuration can be used in spite of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It can; something is not done, or done in another way.
    Warning,
    /// It cannot.
    Error,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(out, "{}:{}:{}: {severity}: {}", self.file, self.line, self.column, self.text)
    }
}

/// A place in one of the files of a configuration; line and column from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Index of the file in the order of opening.
    pub file: usize,
    /// Line.
    pub line: u32,
    /// Column in characters.
    pub column: u32,
}

/// The findings so far, at most [`CONFIG_DIAGNOSTICS_MAX`] of them, and the names of the files they are about.
#[derive(Debug, Default)]
pub struct Report {
    files: Vec<String>,
    findings: Vec<(Place, Severity, String)>,
    left_out: usize,
    failed: bool,
}

impl Report {
    /// Adds a file; its index goes into the [`Place`]s.
    pub fn add_file(&mut self, name: &str) -> usize {
        self.files.push(String::from(name));
        self.files.len() - 1
    }

    /// How many files there are.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// The configuration cannot be used.
    pub fn error(&mut self, place: Place, text: impl Into<String>) {
        self.failed = true;
        self.add(place, Severity::Error, text.into());
    }

    /// The configuration can be used, but.
    pub fn warn(&mut self, place: Place, text: impl Into<String>) {
        self.add(place, Severity::Warning, text.into());
    }

    /// Whether there was an error.
    pub fn failed(&self) -> bool {
        self.failed
    }

    /// Where the errors are, in the order in which they were found.
    pub fn errors(&self) -> impl Iterator<Item = Place> {
        self.findings.iter().filter(|(_, severity, _)| *severity == Severity::Error).map(|(place, ..)| *place)
    }

    /// A place for a sentence about another place: `line 7` if both are in one file, else with the file's name.
    pub fn refer(&self, from: Place, to: Place) -> String {
        match self.files.get(to.file) {
            Some(name) if from.file != to.file => format!("line {} of {name}", to.line),
            _ => format!("line {}", to.line),
        }
    }

    /// All findings, file by file, from top to bottom.
    pub fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.findings.sort_by_key(|(place, ..)| *place);
        if self.left_out > 0
            && let Some((place, ..)) = self.findings.last()
        {
            let text = format!("{} more like these are not shown", self.left_out);
            self.findings.push((*place, Severity::Warning, text));
        }
        let name = |index: usize| self.files.get(index).cloned().unwrap_or_default();
        let finished = self.findings.iter().map(|(place, severity, text)| Diagnostic {
            file: name(place.file),
            line: place.line,
            column: place.column,
            severity: *severity,
            text: text.clone(),
        });
        finished.collect()
    }

    /// An error pushes out a warning when there is no room: the reason for a refusal is always shown.
    fn add(&mut self, place: Place, severity: Severity, text: String) {
        if self.findings.len() < CONFIG_DIAGNOSTICS_MAX {
            self.findings.push((place, severity, text));
            return;
        }
        self.left_out += 1;
        let warning = self.findings.iter().rposition(|(_, severity, _)| *severity == Severity::Warning);
        if let (Severity::Error, Some(index)) = (severity, warning) {
            self.findings[index] = (place, severity, text);
        }
    }
}
