//! Text to a tree of sections and entries, each with its place: the grammar of the original's `omsagent.conf`.
//!
//! ```text
//! # comment, at the start of a line or after a blank
//! @include omsagent.d/*.conf         files spliced in here: relative to this file, sorted by name
//! <match oms.** docker.**>           a section, its argument, to its </match>; sections nest
//!   key value to the end of the line
//!   key "quoted \"text\""            \" \' \\ \r \n \t \f \b \0; then 'only \' and \\'
//!   key [1, {"a": 2}]                JSON may go on over lines
//! </match>
//! ```
//!
//! `%CONF_DIR_WS%` and the other names that the original's installer fills in are filled in here ([`table::TOKENS`]).
//! What is in double quotes may not contain `#{...}`, which the original would run as a program.
//!
//! After an error the rest of its line is skipped and reading goes on, so that one run finds all errors.

use super::diagnostic::{Place, Report};
use super::pattern::{is_pattern, takes_name};
use super::table;
use crate::limits::{CONFIG_BYTES_MAX, CONFIG_DEPTH_MAX, CONFIG_FILES_MAX, CONFIG_NAMES_MAX, CONFIG_PATTERN_BYTES_MAX};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// Where the text of a configuration comes from; the grammar itself opens nothing.
pub trait Files {
    /// The bytes of a file; `None` if there is none of this name. Reads no more than `bytes_max` + 1 bytes, by which a file
    /// that is too long is known. An error is a sentence for the administrator.
    fn read(&mut self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, String>;

    /// The names in a directory, in any order, no more than `names_max` + 1 of them; none if there is no such directory.
    fn list(&mut self, directory: &str, names_max: usize) -> Result<Vec<String>, String>;

    /// The directory that an absolute path in an `@include` starts from.
    fn root(&self) -> String {
        String::from("/")
    }
}

/// `key value`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The key as written.
    pub key: String,
    /// Where the key begins.
    pub key_place: Place,
    /// The value, without quotes and comment, names filled in; empty if there is none.
    pub value: String,
    /// Where the value begins, or the line ends.
    pub value_place: Place,
    /// Where its first character stands, if it stands there as it is: nothing escaped, no name filled in, on one line.
    pub text_place: Option<Place>,
}

impl Entry {
    /// Where a character of the value stands, as near as that is known.
    pub fn place_of(&self, character: usize) -> Place {
        let column = |place: Place| place.column.saturating_add(u32::try_from(character).unwrap_or(u32::MAX));
        self.text_place.map_or(self.value_place, |place| Place { column: column(place), ..place })
    }
}

/// `<name argument>` with what is in it, or a whole configuration (without name).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Section {
    /// `source`, `match`, ...
    pub name: String,
    /// What follows the name, names filled in.
    pub argument: String,
    /// Where the `<` is.
    pub place: Place,
    /// Where the argument begins.
    pub argument_place: Place,
    /// Its entries in order, duplicates too.
    pub entries: Vec<Entry>,
    /// The sections in it, in order.
    pub sections: Vec<Section>,
}

/// Reads a file and all that it includes. What is wrong goes into the report; the rest is returned all the same.
pub fn read(files: &mut dyn Files, path: &str, report: &mut Report) -> Section {
    let mut root = Section::default();
    let mut reader = Reader { files, report, bytes_left: CONFIG_BYTES_MAX };
    let place = Place { file: 0, line: 1, column: 1 };
    match reader.fetch(path) {
        Ok(Some(bytes)) => reader.file(path, &bytes, 0, &mut root),
        Ok(None) => reader.report_unopened(path, place, "no such file"),
        Err(reason) => reader.report_unopened(path, place, &reason),
    }
    root
}

/// Why a line cannot be read, and where.
type Problem = (Place, String);

struct Reader<'a> {
    files: &'a mut dyn Files,
    report: &'a mut Report,
    bytes_left: usize,
}

impl Reader<'_> {
    fn fetch(&mut self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(bytes) = self.files.read(path, self.bytes_left)? else {
            return Ok(None);
        };
        if bytes.len() > self.bytes_left {
            return Err(format!("too long: a configuration has at most {CONFIG_BYTES_MAX} bytes, all files together"));
        }
        self.bytes_left -= bytes.len();
        Ok(Some(bytes))
    }

    fn report_unopened(&mut self, path: &str, place: Place, reason: &str) {
        self.report.add_file(path);
        self.report.error(place, reason);
    }

    fn file(&mut self, path: &str, bytes: &[u8], depth: usize, root: &mut Section) {
        let mut text = Text::new(bytes, self.report.add_file(path));
        let mut open: Vec<Section> = Vec::new();
        while text.skip_to_content() {
            let line = match (text.peek(0), text.peek(1)) {
                (Some(b'<'), Some(b'/')) => self.close(&mut text, &mut open, root),
                (Some(b'<'), _) => self.open(&mut text, &mut open),
                _ => self.parameter(&mut text, path, depth, open.last_mut().unwrap_or(&mut *root)),
            };
            if let Err((place, reason)) = line {
                self.report.error(place, reason);
                text.skip_line();
            }
        }
        self.close_forgotten(open, root);
    }

    fn open(&mut self, text: &mut Text<'_>, open: &mut Vec<Section>) -> Result<(), Problem> {
        let place = text.place();
        text.advance(1);
        let name = text.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        text.skip_blanks();
        let argument_place = text.place();
        let argument = text.take_while(|byte| byte != b'>' && byte != b'\n');
        if name.is_empty() || !text.eat(b'>') {
            return Err((place, String::from("expected `<name>` or `<name argument>` on one line")));
        }
        if argument.len() > CONFIG_PATTERN_BYTES_MAX {
            return Err((argument_place, format!("longer than {CONFIG_PATTERN_BYTES_MAX} bytes")));
        }
        if open.len() >= CONFIG_DEPTH_MAX {
            return Err((place, format!("sections nested more than {CONFIG_DEPTH_MAX} deep")));
        }
        let argument = fill_in(utf8(argument, argument_place)?.trim());
        let name = utf8(name, place)?.to_string();
        open.push(Section { name, argument, place, argument_place, ..Section::default() });
        text.expect_line_end()
    }

    fn close(&mut self, text: &mut Text<'_>, open: &mut Vec<Section>, root: &mut Section) -> Result<(), Problem> {
        let place = text.place();
        text.advance(2);
        let name = utf8(text.take_while(|byte| byte != b'>' && byte != b'\n'), place)?.trim();
        if !text.eat(b'>') {
            return Err((place, String::from("expected `</name>` on one line")));
        }
        let Some(section) = open.pop_if(|section| section.name == name) else {
            return Err((place, self.unexpected_close(name, place, open, root)));
        };
        open.last_mut().unwrap_or(root).sections.push(section);
        text.expect_line_end()
    }

    /// Says what was expected; where an outer section is meant, the inner ones end with it.
    fn unexpected_close(&self, name: &str, place: Place, open: &mut Vec<Section>, root: &mut Section) -> String {
        let Some(inner) = open.last() else {
            return format!("`</{name}>` without `<{name}>` before it in this file");
        };
        let line = self.report.refer(place, inner.place);
        let reason = format!("expected `</{}>`, for the section that begins on {line}", inner.name);
        if open.iter().any(|section| section.name == name) {
            while let Some(section) = open.pop() {
                let done = section.name == name;
                open.last_mut().unwrap_or(&mut *root).sections.push(section);
                if done {
                    break;
                }
            }
        }
        reason
    }

    fn close_forgotten(&mut self, mut open: Vec<Section>, root: &mut Section) {
        while let Some(section) = open.pop() {
            self.report.error(section.place, format!("`<{0}>` has no `</{0}>` in this file", section.name));
            open.last_mut().unwrap_or(&mut *root).sections.push(section);
        }
    }

    fn parameter(
        &mut self,
        text: &mut Text<'_>,
        path: &str,
        depth: usize,
        section: &mut Section,
    ) -> Result<(), Problem> {
        let key_place = text.place();
        let key = utf8(text.take_while(|byte| !byte.is_ascii_whitespace()), key_place)?.to_string();
        text.skip_blanks();
        let value_place = text.place();
        let start = text.at;
        let value = text.value()?;
        let text_place = text_place(&text.bytes[start..text.at], &value, value_place);
        text.expect_line_end()?;
        let legacy = key == "include" && section.name.is_empty();
        if legacy {
            self.report.warn(key_place, "`include` is the old spelling of `@include`");
        }
        if legacy || key == "@include" {
            return self.include(&value, value_place, path, depth, section);
        }
        section.entries.push(Entry { key, key_place, value, value_place, text_place });
        Ok(())
    }

    fn include(
        &mut self,
        pattern: &str,
        place: Place,
        including: &str,
        depth: usize,
        into: &mut Section,
    ) -> Result<(), Problem> {
        if depth >= CONFIG_DEPTH_MAX {
            return Err((place, format!("files included more than {CONFIG_DEPTH_MAX} deep: does one include itself?")));
        }
        let mut paths = self.named_by(pattern, including).map_err(|reason| (place, reason))?;
        paths.sort_unstable();
        for path in paths {
            if self.report.file_count() >= CONFIG_FILES_MAX {
                return Err((place, format!("more than {CONFIG_FILES_MAX} files")));
            }
            match self.fetch(&path) {
                Ok(Some(bytes)) => self.file(&path, &bytes, depth + 1, into),
                Ok(None) if pattern.split('/').any(is_pattern) => {}
                Ok(None) => self.report.warn(place, format!("no such file: {path}")),
                Err(reason) => return Err((place, format!("{path}: {reason}"))),
            }
        }
        Ok(())
    }

    /// The paths that the argument of an `@include` stands for.
    fn named_by(&mut self, pattern: &str, including: &str) -> Result<Vec<String>, String> {
        if pattern.is_empty() || pattern.contains("://") || pattern.len() > CONFIG_PATTERN_BYTES_MAX {
            return Err(String::from("expected the path of a file, in which `*`, `?`, `[a-z]` and `{a,b}` may stand"));
        }
        let start = if pattern.starts_with('/') { self.files.root() } else { directory_of(including) };
        let mut paths = vec![start];
        for component in pattern.split('/').filter(|component| !component.is_empty()) {
            paths = self.one_level_down(paths, component)?;
        }
        Ok(paths)
    }

    fn one_level_down(&mut self, directories: Vec<String>, component: &str) -> Result<Vec<String>, String> {
        if !is_pattern(component) {
            return Ok(directories.iter().map(|directory| joined(directory, component)).collect());
        }
        if component == "**" {
            return Err(String::from("`**` is not searched for: name the directories"));
        }
        let mut paths = Vec::new();
        for directory in directories {
            let names = self.files.list(&directory, CONFIG_NAMES_MAX)?;
            if names.len() > CONFIG_NAMES_MAX {
                return Err(format!("more than {CONFIG_NAMES_MAX} files in {directory}"));
            }
            paths.extend(names.iter().filter(|name| takes_name(component, name)).map(|name| joined(&directory, name)));
            if paths.len() > CONFIG_FILES_MAX {
                return Err(format!("names more than {CONFIG_FILES_MAX} files"));
            }
        }
        Ok(paths)
    }
}

/// Where a value's first character stands in what it was made of, if it is found there.
fn text_place(written: &[u8], value: &str, place: Place) -> Option<Place> {
    let quotes = u32::from(written.starts_with(b"\"") || written.starts_with(b"'"));
    let inside = written.get(quotes as usize..)?;
    let same = inside.starts_with(value.as_bytes()) && !value.contains('\n');
    same.then_some(Place { column: place.column + quotes, ..place })
}

/// The directory of a file, to put something behind: empty for a bare name.
fn directory_of(path: &str) -> String {
    path.rfind('/').map_or(String::new(), |slash| path[..=slash].to_string())
}

fn joined(directory: &str, name: &str) -> String {
    let separator = if directory.is_empty() || directory.ends_with('/') { "" } else { "/" };
    format!("{directory}{separator}{name}")
}

/// Puts in what the original's installer puts in.
fn fill_in(text: &str) -> String {
    let mut filled = text.to_string();
    for (token, value) in table::TOKENS {
        if filled.contains(token) {
            filled = filled.replace(token, value);
        }
    }
    filled
}

fn utf8(bytes: &[u8], place: Place) -> Result<&str, Problem> {
    core::str::from_utf8(bytes).map_err(|_| (place, String::from("not UTF-8")))
}

/// The bytes of one file and how far they are read.
#[derive(Clone)]
struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
    line_start: usize,
    file: usize,
}

impl<'a> Text<'a> {
    fn new(bytes: &'a [u8], file: usize) -> Self {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        Text { bytes, at: 0, line: 1, line_start: 0, file }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn place(&self) -> Place {
        let before = &self.bytes[self.line_start..self.at];
        let characters = before.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        Place { file: self.file, line: self.line, column: u32::try_from(characters + 1).unwrap_or(u32::MAX) }
    }

    /// Goes on by bytes that are not line ends.
    fn advance(&mut self, count: usize) {
        self.at = (self.at + count).min(self.bytes.len());
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek(0) == Some(byte);
        if found {
            self.advance(1);
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        let taken = &rest[..rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn skip_blanks(&mut self) {
        self.take_while(is_blank);
    }

    fn newline(&mut self) {
        self.at += 1;
        self.line = self.line.saturating_add(1);
        self.line_start = self.at;
    }

    fn skip_line(&mut self) {
        self.take_while(|byte| byte != b'\n');
    }

    /// To the next byte that means something; false at the end.
    fn skip_to_content(&mut self) -> bool {
        loop {
            self.skip_blanks();
            match self.peek(0) {
                Some(b'\n') => self.newline(),
                Some(b'#') => self.skip_line(),
                other => return other.is_some(),
            }
        }
    }

    fn expect_line_end(&mut self) -> Result<(), Problem> {
        let blank = self.at == self.line_start || self.bytes.get(self.at - 1).copied().is_some_and(is_blank);
        let spaces = self.take_while(is_blank).len();
        match self.peek(0) {
            None | Some(b'\n') => Ok(()),
            Some(b'#') if blank || spaces > 0 => Ok(()),
            Some(_) => Err((self.place(), String::from("expected the end of the line"))),
        }
    }

    fn value(&mut self) -> Result<String, Problem> {
        match self.peek(0) {
            Some(b'"') => self.double_quoted(),
            Some(b'\'') => self.single_quoted(),
            Some(b'[' | b'{') => {
                let start = self.clone();
                let json = self.json();
                if json.is_err() && self.peek(0).is_none() {
                    *self = start; // what follows is more likely a forgotten bracket's victim than its content
                }
                json
            }
            _ => self.unquoted(),
        }
    }

    /// To the end of the line or a blank with `#` behind it.
    fn unquoted(&mut self) -> Result<String, Problem> {
        let place = self.place();
        let start = self.at;
        self.skip_line();
        let line = &self.bytes[start..self.at];
        let is_comment =
            |&at: &usize| line[at] == b'#' && at.checked_sub(1).is_none_or(|before| is_blank(line[before]));
        let end = (0..line.len()).find(is_comment).unwrap_or(line.len());
        self.at = start + end;
        Ok(fill_in(utf8(&line[..end], place)?.trim_end_matches([' ', '\t', '\r'])))
    }

    fn double_quoted(&mut self) -> Result<String, Problem> {
        let place = self.place();
        let mut value = Vec::new();
        self.advance(1);
        loop {
            match (self.peek(0), self.peek(1)) {
                (None | Some(b'\n'), _) => return Err((place, String::from("`\"` without a second one on its line"))),
                (Some(b'"'), _) => break,
                (Some(b'\\'), _) => value.push(self.escape()?),
                (Some(b'#'), Some(b'{')) => {
                    let reason = "`#{...}` is a Ruby program, which is not run here: write what it stands for";
                    return Err((self.place(), String::from(reason)));
                }
                (Some(byte), _) => {
                    value.push(byte);
                    self.advance(1);
                }
            }
        }
        self.advance(1);
        Ok(fill_in(utf8(&value, place)?))
    }

    /// What stands behind a backslash in double quotes: a control character, or a mark that stands for itself.
    fn escape(&mut self) -> Result<u8, Problem> {
        let byte = match self.peek(1) {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'f') => 0x0c,
            Some(b'b') => 0x08,
            Some(b'0') => 0,
            Some(mark) if mark.is_ascii_punctuation() || mark == b' ' => mark,
            _ => return Err((self.place(), String::from("expected one of \\\" \\' \\\\ \\r \\n \\t \\f \\b \\0"))),
        };
        self.advance(2);
        Ok(byte)
    }

    fn single_quoted(&mut self) -> Result<String, Problem> {
        let place = self.place();
        let mut value = Vec::new();
        self.advance(1);
        loop {
            match (self.peek(0), self.peek(1)) {
                (None | Some(b'\n'), _) => return Err((place, String::from("`'` without a second one on its line"))),
                (Some(b'\''), _) => break,
                (Some(b'\\'), Some(mark @ (b'\'' | b'\\'))) => {
                    value.push(mark);
                    self.advance(2);
                }
                (Some(byte), _) => {
                    value.push(byte);
                    self.advance(1);
                }
            }
        }
        self.advance(1);
        Ok(fill_in(utf8(&value, place)?))
    }

    /// An array or object, over as many lines as its brackets ask for, without comments. Only the brackets and the quotes
    /// are looked at: no key of ours takes JSON.
    fn json(&mut self) -> Result<String, Problem> {
        let place = self.place();
        let mut value = Vec::new();
        let mut closers = Vec::new();
        loop {
            let Some(byte) = self.peek(0) else {
                return Err((place, String::from("a bracket that is not closed before the end of the file")));
            };
            match byte {
                b'"' => self.json_string(&mut value)?,
                b'\n' => {
                    value.push(byte);
                    self.newline();
                }
                b'#' if value.last().is_none_or(|&before| before == b'\n' || is_blank(before)) => self.skip_line(),
                _ => {
                    self.json_bracket(byte, &mut closers)?;
                    value.push(byte);
                    self.advance(1);
                }
            }
            if closers.is_empty() {
                return Ok(fill_in(utf8(&value, place)?));
            }
        }
    }

    fn json_bracket(&self, byte: u8, closers: &mut Vec<u8>) -> Result<(), Problem> {
        match byte {
            b'[' => closers.push(b']'),
            b'{' => closers.push(b'}'),
            b']' | b'}' => match closers.pop() {
                Some(closer) if closer != byte => {
                    return Err((self.place(), format!("expected `{}`", char::from(closer))));
                }
                _ => {}
            },
            _ => {}
        }
        if closers.len() > CONFIG_DEPTH_MAX {
            return Err((self.place(), format!("brackets nested more than {CONFIG_DEPTH_MAX} deep")));
        }
        Ok(())
    }

    fn json_string(&mut self, value: &mut Vec<u8>) -> Result<(), Problem> {
        let place = self.place();
        let start = self.at;
        self.advance(1);
        loop {
            match self.peek(0) {
                None | Some(b'\n') => return Err((place, String::from("`\"` without a second one on its line"))),
                Some(b'"') => break,
                Some(b'\\') if self.peek(1) != Some(b'\n') => self.advance(2),
                Some(_) => self.advance(1),
            }
        }
        self.advance(1);
        value.extend_from_slice(&self.bytes[start..self.at]);
        Ok(())
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::super::tests::MemoryFiles;
    use super::*;

    /// A tree and the findings, as text.
    fn read_files(files: &mut MemoryFiles, path: &str) -> (String, Vec<String>) {
        let mut report = Report::default();
        let root = read(files, path, &mut report);
        let findings = report.into_diagnostics().iter().map(ToString::to_string).collect();
        (inside(&root).join(" "), findings)
    }

    fn inside(section: &Section) -> Vec<String> {
        let entries = section.entries.iter().map(|entry| format!("{}={:?}", entry.key, entry.value));
        let sections = section
            .sections
            .iter()
            .map(|section| format!("<{}|{}>{{{}}}", section.name, section.argument, inside(section).join(" ")));
        entries.chain(sections).collect()
    }

    #[track_caller]
    fn check(text: &str, tree: &str, findings: &[&str]) {
        let (found, said) = read_files(&mut MemoryFiles::default().with("a", text), "a");
        assert_eq!(found, tree, "{text}");
        assert_eq!(said, findings, "{text}");
    }

    #[track_caller]
    fn check_value(text: &str, value: &str) {
        check(&format!("k {text}\n"), &format!("k={value:?}"), &[]);
    }

    #[test]
    fn sections_nest_and_keep_their_arguments() {
        check("<a>\n  <b x y >\n k v\n</b> # end\n</a>", r#"<a|>{<b|x y>{k="v"}}"#, &[]);
        check("<match oms.** docker.**>\n</match>\r\n", "<match|oms.** docker.**>{}", &[]);
        check("", "", &[]);
        check("\u{feff}# only a comment", "", &[]);
    }

    #[test]
    fn a_value_ends_with_the_line_or_a_comment() {
        check_value("a b  c", "a b  c");
        check_value("a # b", "a");
        check_value("a\t#b", "a");
        check_value("a#b", "a#b");
        check_value("a \t\r", "a");
        check_value("", "");
        check_value("# nothing", "");
        check_value("/^a \\d$/", "/^a \\d$/");
        check_value("pâte", "pâte");
        check("k\n", r#"k="""#, &[]);
        check("  k v", r#"k="v""#, &[]);
    }

    #[test]
    fn quotes_keep_blanks_and_marks() {
        check_value(r#""a # b" # c"#, "a # b");
        check_value(r#""\"\'\\\r\n\t\f\b\0\#{x}""#, "\"'\\\r\n\t\u{c}\u{8}\0#{x}");
        check_value(r"'a \' \\ \n #{x}'", r"a ' \ \n #{x}");
        check_value(r#""""#, "");
        check_value(r#""% Processor Time""#, "% Processor Time");
    }

    #[test]
    fn json_goes_on_over_lines_without_its_comments() {
        check_value("[1,\n  2, # two\n# all\n  \"# no ]\"]", "[1,\n  2, \n\n  \"# no ]\"]");
        check_value(r#"{"a": [{"b": "\""}]} # end"#, r#"{"a": [{"b": "\""}]}"#);
        check_value("{a,b}", "{a,b}");
    }

    #[test]
    fn the_names_of_the_original_installer_are_filled_in() {
        check_value("%CONF_DIR_WS%/omsadmin.conf", "/etc/opt/omsd/conf/omsadmin.conf");
        check_value("\"%CERT_DIR_WS%/oms.crt\"", "/etc/opt/omsd/certs/oms.crt");
        check_value("'%STATE_DIR_WS%/a'", "/var/opt/omsd/a");
        check_value("%SYSLOG_PORT%", "25224");
        check_value("%WORKSPACE_ID% %Y%m%d", "%WORKSPACE_ID% %Y%m%d");
    }

    #[test]
    fn each_error_has_its_place_and_reading_goes_on() {
        check(
            "a \"x\nb \"#{1+1}\"\nc \"\\q\"\nd \"x\" y\ne 'x\nf ok\n",
            r#"f="ok""#,
            &[
                "a:1:3: error: `\"` without a second one on its line",
                "a:2:4: error: `#{...}` is a Ruby program, which is not run here: write what it stands for",
                "a:3:4: error: expected one of \\\" \\' \\\\ \\r \\n \\t \\f \\b \\0",
                "a:4:7: error: expected the end of the line",
                "a:5:3: error: `'` without a second one on its line",
            ],
        );
        check(
            "<a\n<a b> c\n</a>\n<>\n< a>\n<é>\n",
            "<a|b>{}",
            &[
                "a:1:1: error: expected `<name>` or `<name argument>` on one line",
                "a:2:7: error: expected the end of the line",
                "a:4:1: error: expected `<name>` or `<name argument>` on one line",
                "a:5:1: error: expected `<name>` or `<name argument>` on one line",
                "a:6:1: error: expected `<name>` or `<name argument>` on one line",
            ],
        );
        check("é [1,\nb [1}\nc ok", r#"c="ok""#, &["a:2:5: error: expected `]`"]);
        check("é [1,\nb ok", r#"b="ok""#, &["a:1:3: error: a bracket that is not closed before the end of the file"]);
    }

    #[test]
    fn a_section_that_ends_wrongly_ends_where_it_was_meant_to() {
        check(
            "<a>\n<b>\n</a>\nk v",
            r#"k="v" <a|>{<b|>{}}"#,
            &["a:3:1: error: expected `</b>`, for the section that begins on line 2"],
        );
        check("<a>\nk v\n", r#"<a|>{k="v"}"#, &["a:1:1: error: `<a>` has no `</a>` in this file"]);
        check("</a>\nk v\n", r#"k="v""#, &["a:1:1: error: `</a>` without `<a>` before it in this file"]);
        check("<a>\n</b>\n</a>\n", "<a|>{}", &["a:2:1: error: expected `</a>`, for the section that begins on line 1"]);
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error_only_outside_comments() {
        let mut report = Report::default();
        let mut text = Text::new(b"# gr\xfc\xdfe\nk \xfc\n", report.add_file("a"));
        assert!(text.skip_to_content());
        assert_eq!(text.take_while(|byte| byte != b' '), b"k");
        text.skip_blanks();
        assert_eq!(text.value(), Err((Place { file: 0, line: 2, column: 3 }, String::from("not UTF-8"))));
    }

    #[track_caller]
    fn check_files(files: MemoryFiles, path: &str, tree: &str, findings: &[&str]) {
        let (found, said) = read_files(&mut { files }, path);
        assert_eq!(found, tree);
        assert_eq!(said, findings);
    }

    #[test]
    fn included_files_come_in_place_sorted_and_relative_to_the_file() {
        let files = MemoryFiles::default()
            .with("/c/a.conf", "x 1\n@include d/*.conf\n<s>\n@include e.conf\n</s>\nx 2\n@include /c/e.conf # end")
            .with("/c/d/2.conf", "two 2")
            .with("/c/d/1.conf", "one 1\n@include sub/*")
            .with("/c/d/.0.conf", "hidden 0")
            .with("/c/d/3.conf.bak", "backup 3")
            .with("/c/d/sub/any", "sub 1")
            .with("/c/e.conf", "e 1");
        check_files(files, "/c/a.conf", r#"x="1" one="1" sub="1" two="2" x="2" e="1" <s|>{e="1"}"#, &[]);
    }

    #[test]
    fn includes_that_lead_nowhere_say_so_unless_they_are_patterns() {
        let files = MemoryFiles::default()
            .with("a", "@include b\n@include c/*.conf\ninclude d\n@include http://x/y\n@include **/z");
        let findings = [
            "a:1:10: warning: no such file: b",
            "a:3:1: warning: `include` is the old spelling of `@include`",
            "a:3:9: warning: no such file: d",
            "a:4:10: error: expected the path of a file, in which `*`, `?`, `[a-z]` and `{a,b}` may stand",
            "a:5:10: error: `**` is not searched for: name the directories",
        ];
        check_files(files, "a", "", &findings);
        check_files(MemoryFiles::default(), "a", "", &["a:1:1: error: no such file"]);
    }

    #[test]
    fn a_file_that_includes_itself_ends_at_the_depth_allowed() {
        let (tree, said) = read_files(&mut MemoryFiles::default().with("a", "k v\n@include a"), "a");
        assert_eq!(tree.matches('k').count(), CONFIG_DEPTH_MAX + 1);
        assert_eq!(said, ["a:2:10: error: files included more than 16 deep: does one include itself?"]);
    }

    #[test]
    fn a_file_that_includes_itself_twice_ends_at_the_number_of_files() {
        let (_, said) = read_files(&mut MemoryFiles::default().with("a", "@include a\n@include a"), "a");
        assert!(said.iter().any(|text| text.ends_with("error: more than 256 files")), "{said:?}");
    }

    #[test]
    fn bytes_and_depth_are_bounded() {
        let long = "#".repeat(CONFIG_BYTES_MAX + 1);
        check(&long, "", &["a:1:1: error: too long: a configuration has at most 1048576 bytes, all files together"]);
        let half = "#".repeat(CONFIG_BYTES_MAX / 2);
        let files = MemoryFiles::default().with("a", "@include b\n@include b").with("b", &half);
        let said = read_files(&mut { files }, "a").1;
        assert_eq!(said, ["a:2:10: error: b: too long: a configuration has at most 1048576 bytes, all files together"]);
        let (_, said) = read_files(&mut MemoryFiles::default().with("a", &"<a>\n".repeat(17)), "a");
        assert!(said.contains(&String::from("a:17:1: error: sections nested more than 16 deep")), "{said:?}");
        check(&format!("k {}", "[".repeat(17)), "", &["a:1:19: error: brackets nested more than 16 deep"]);
    }
}
