//! Regular expressions that choose instances and counters, as the original's language reads them: searched for anywhere in the
//! text, case-sensitive.
//!
//! ```text
//! alternatives  sequence | sequence ...
//! sequence      item item ...
//! item          atom, then any of  * + ? {n} {n,} {n,m} {,m}, each with an optional ? (the shortest; no difference here)
//! atom          character   .   [a-z]   [^a-z]   (alternatives)   (?:alternatives)   \d \w \s \h \D \W \S \H   \x for any other mark x
//!               ^ $ at the start and end of a line   \A \z \Z of the text   \b \B of a word   \t \n \r \f \v \a \e
//! ```
//!
//! What else that language has is an error that says so. An expression becomes a short program that is run for all the
//! ways it may match at once, so the time is bounded by its length times that of the text, whatever either is.

use crate::limits::{CONFIG_DEPTH_MAX, CONFIG_PATTERN_BYTES_MAX, REGEX_STEPS_MAX};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// A regular expression, ready to be searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regex {
    steps: Vec<Step>,
    /// The members of all classes, one class behind another.
    ranges: Vec<(char, char)>,
}

/// Why a text is no regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Characters of the text in front of what is wrong.
    pub at: usize,
    /// A sentence for the administrator.
    pub reason: String,
}

/// One step of the program. Jumps count from the step itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// This character.
    Char(char),
    /// Any character but a line feed.
    Any,
    /// A character in these of the ranges, or in none of them.
    Class { first: u16, count: u16, negated: bool },
    /// Nothing, where this holds.
    Hold(Assertion),
    /// The next step, and this one too.
    Fork(i16),
    /// Only this one.
    Jump(i16),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Assertion {
    LineStart,
    LineEnd,
    TextStart,
    TextEnd,
    /// The end of the text, or a line feed that ends it.
    TextEndOrLast,
    WordEdge,
    NoWordEdge,
}

const _: () = assert!(REGEX_STEPS_MAX <= i16::MAX as usize);

impl Regex {
    /// Reads an expression. Fails at the first thing that is wrong, unsupported or too large.
    pub fn new(text: &str) -> Result<Regex, Fault> {
        if text.len() > CONFIG_PATTERN_BYTES_MAX {
            return Err(Fault { at: 0, reason: format!("longer than {CONFIG_PATTERN_BYTES_MAX} bytes") });
        }
        let mut reader = Reader { text: text.chars().collect(), at: 0, steps: Vec::new(), ranges: Vec::new() };
        reader.alternatives(0)?;
        if reader.at < reader.text.len() {
            return Err(reader.fault("`)` without `(`"));
        }
        reader.steps.shrink_to_fit();
        Ok(Regex { steps: reader.steps, ranges: reader.ranges })
    }

    /// The one that is found in every text.
    pub fn any() -> Regex {
        Regex { steps: Vec::new(), ranges: Vec::new() }
    }

    /// Whether it is found anywhere in the text. Bytes that are not UTF-8 count as U+FFFD, which is what is sent for them.
    pub fn is_found_in(&self, text: &[u8]) -> bool {
        Search::new(self).run(text)
    }

    fn takes(&self, step: Step, character: char) -> bool {
        match step {
            Step::Char(wanted) => wanted == character,
            Step::Any => character != '\n',
            Step::Class { first, count, negated } => {
                let ranges = &self.ranges[usize::from(first)..][..usize::from(count)];
                ranges.iter().any(|&(low, high)| (low..=high).contains(&character)) != negated
            }
            Step::Hold(_) | Step::Fork(_) | Step::Jump(_) => false,
        }
    }
}

/// The ways of matching that are still open at one place of the text, as places in the program.
struct Search<'a> {
    regex: &'a Regex,
    /// Places that wait for the next character.
    waiting: Vec<usize>,
    /// Places to go on from.
    open: Vec<usize>,
    /// Which places were reached at this place of the text.
    reached: Vec<bool>,
}

impl<'a> Search<'a> {
    fn new(regex: &'a Regex) -> Self {
        Search { regex, waiting: Vec::new(), open: Vec::new(), reached: vec![false; regex.steps.len()] }
    }

    fn run(&mut self, text: &[u8]) -> bool {
        let chunks = text.utf8_chunks();
        let mut characters = chunks.flat_map(|chunk| {
            let invalid = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
            chunk.valid().chars().chain(invalid)
        });
        let (mut before, mut next) = (None, characters.next());
        loop {
            let after = characters.next();
            if self.go_on(before, next, after.is_none()) {
                return true;
            }
            let Some(character) = next else { return false };
            let regex = self.regex;
            let took = |&place: &usize| regex.takes(regex.steps[place], character);
            self.open.extend(self.waiting.drain(..).filter(took).map(|place| place + 1));
            (before, next) = (next, after);
        }
    }

    /// Follows every way up to a step that wants a character. `true`: one of them is at its end. `last`: nothing follows `next`.
    fn go_on(&mut self, before: Option<char>, next: Option<char>, last: bool) -> bool {
        self.reached.fill(false);
        self.open.push(0);
        while let Some(place) = self.open.pop() {
            let Some(reached) = self.reached.get_mut(place) else { return true };
            if core::mem::replace(reached, true) {
                continue;
            }
            match self.regex.steps[place] {
                Step::Hold(assertion) if holds(assertion, before, next, last) => self.open.push(place + 1),
                Step::Hold(_) => {}
                Step::Fork(by) => self.open.extend([place + 1, place.wrapping_add_signed(by.into())]),
                Step::Jump(by) => self.open.push(place.wrapping_add_signed(by.into())),
                Step::Char(_) | Step::Any | Step::Class { .. } => self.waiting.push(place),
            }
        }
        false
    }
}

fn holds(assertion: Assertion, before: Option<char>, next: Option<char>, last: bool) -> bool {
    let edge = || before.is_some_and(is_word) != next.is_some_and(is_word);
    match assertion {
        Assertion::LineStart => before.is_none_or(|character| character == '\n'),
        Assertion::LineEnd => next.is_none_or(|character| character == '\n'),
        Assertion::TextStart => before.is_none(),
        Assertion::TextEnd => next.is_none(),
        Assertion::TextEndOrLast => next.is_none() || (next == Some('\n') && last),
        Assertion::WordEdge => edge(),
        Assertion::NoWordEdge => !edge(),
    }
}

/// Outside of ASCII, everything counts as part of a word.
fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || !character.is_ascii()
}

/// The text of an expression, how far it is read, and the program so far.
struct Reader {
    text: Vec<char>,
    at: usize,
    steps: Vec<Step>,
    ranges: Vec<(char, char)>,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, character: char) -> bool {
        let found = self.peek() == Some(character);
        self.at += usize::from(found);
        found
    }

    fn fault(&self, reason: impl ToString) -> Fault {
        Fault { at: self.at, reason: reason.to_string() }
    }

    fn push(&mut self, step: Step) -> Result<(), Fault> {
        self.insert(self.steps.len(), step)
    }

    fn insert(&mut self, place: usize, step: Step) -> Result<(), Fault> {
        self.room_for(1)?;
        self.steps.insert(place, step);
        Ok(())
    }

    fn room_for(&self, steps: usize) -> Result<(), Fault> {
        if self.steps.len().saturating_add(steps) > REGEX_STEPS_MAX {
            return Err(self.fault(format!("the expression is too large: above {REGEX_STEPS_MAX} steps")));
        }
        Ok(())
    }

    /// `a|b|c`: a fork in front of each but the last, a jump to the end behind it.
    fn alternatives(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > CONFIG_DEPTH_MAX {
            return Err(self.fault(format!("groups nested more than {CONFIG_DEPTH_MAX} deep")));
        }
        let mut jumps = Vec::new();
        let mut start = self.steps.len();
        self.sequence(depth)?;
        while self.eat('|') {
            let steps = self.steps.len() - start;
            self.insert(start, Step::Fork(distance(steps + 2)))?;
            jumps.push(self.steps.len());
            self.push(Step::Jump(0))?;
            start = self.steps.len();
            self.sequence(depth)?;
        }
        let end = self.steps.len();
        jumps.into_iter().for_each(|jump| self.steps[jump] = Step::Jump(distance(end - jump)));
        Ok(())
    }

    fn sequence(&mut self, depth: usize) -> Result<(), Fault> {
        while let Some(character) = self.peek().filter(|character| !matches!(character, '|' | ')')) {
            let start = self.steps.len();
            self.atom(character, depth)?;
            while self.repetition(start)? {}
        }
        Ok(())
    }

    fn atom(&mut self, character: char, depth: usize) -> Result<(), Fault> {
        match character {
            '*' | '+' | '?' => return Err(self.fault(format!("nothing for `{character}` to repeat"))),
            '(' => return self.group(depth),
            '[' => return self.class(),
            '\\' => return self.escape(),
            _ => {}
        }
        self.at += 1;
        self.push(match character {
            '.' => Step::Any,
            '^' => Step::Hold(Assertion::LineStart),
            '$' => Step::Hold(Assertion::LineEnd),
            other => Step::Char(other),
        })
    }

    fn group(&mut self, depth: usize) -> Result<(), Fault> {
        let open = self.at;
        self.at += 1;
        if self.eat('?') && !self.eat(':') {
            return Err(Fault {
                at: open,
                reason: String::from("of the groups that begin with `(?`, only `(?:` is supported"),
            });
        }
        self.alternatives(depth + 1)?;
        if !self.eat(')') {
            return Err(Fault { at: open, reason: String::from("`(` without `)`") });
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let Some(&letter) = self.text.get(self.at + 1) else {
            return Err(self.fault("`\\` with nothing behind it"));
        };
        let step = match letter {
            'A' => Step::Hold(Assertion::TextStart),
            'z' => Step::Hold(Assertion::TextEnd),
            'Z' => Step::Hold(Assertion::TextEndOrLast),
            'b' => Step::Hold(Assertion::WordEdge),
            'B' => Step::Hold(Assertion::NoWordEdge),
            letter => match set_of(letter) {
                Some((set, negated)) => self.add_class(&Vec::from(set), negated),
                None => Step::Char(escaped(letter).ok_or_else(|| self.fault(unsupported(letter)))?),
            },
        };
        self.at += 2;
        self.push(step)
    }

    /// `[a-z]`, `[^a-z]`. A `]` that comes first, and a `-` that comes first or last, are members.
    fn class(&mut self) -> Result<(), Fault> {
        let open = self.at;
        self.at += 1;
        let negated = self.eat('^');
        let mut members = Vec::new();
        while members.is_empty() || self.peek() != Some(']') {
            match self.peek() {
                None => return Err(Fault { at: open, reason: String::from("`[` without `]`") }),
                Some('[') => return Err(self.fault("`[` in `[...]` is not supported: write `\\[`")),
                Some('&') if self.text.get(self.at + 1) == Some(&'&') => {
                    return Err(self.fault("`&&` in `[...]` is not supported"));
                }
                Some(_) => self.member(&mut members)?,
            }
        }
        self.at += 1;
        let class = self.add_class(&members, negated);
        self.push(class)
    }

    /// A character, a range of them, or a set such as `\d`.
    fn member(&mut self, members: &mut Vec<(char, char)>) -> Result<(), Fault> {
        let start = self.at;
        if self.peek() == Some('\\')
            && let Some((set, negated)) = self.text.get(self.at + 1).and_then(|&letter| set_of(letter))
        {
            if negated {
                return Err(self.fault("a set in capitals in `[...]` is not supported"));
            }
            self.at += 2;
            members.extend_from_slice(set);
            return Ok(());
        }
        let low = self.class_character()?;
        let mut high = low;
        if self.peek() == Some('-') && self.text.get(self.at + 1).is_some_and(|&next| next != ']') {
            self.at += 1;
            high = self.class_character()?;
        }
        if low > high {
            return Err(Fault {
                at: start,
                reason: format!("`{low}-{high}` is no range: its end is before its start"),
            });
        }
        members.push((low, high));
        Ok(())
    }

    fn class_character(&mut self) -> Result<char, Fault> {
        let character = self.peek().unwrap_or_default();
        if character != '\\' {
            self.at += 1;
            return Ok(character);
        }
        let letter = self.text.get(self.at + 1).copied();
        let member = letter.and_then(|letter| if letter == 'b' { Some('\x08') } else { escaped(letter) });
        let member = member.ok_or_else(|| self.fault(unsupported(letter.unwrap_or(' '))))?;
        self.at += 2;
        Ok(member)
    }

    fn add_class(&mut self, members: &[(char, char)], negated: bool) -> Step {
        // Both fit: the longest expression has less than 4096 members in all.
        let first = u16::try_from(self.ranges.len()).unwrap_or(u16::MAX);
        self.ranges.extend_from_slice(members);
        Step::Class { first, count: u16::try_from(members.len()).unwrap_or(u16::MAX), negated }
    }

    /// Repeats what was added from `start` on as the text says; `false` if it says nothing of the kind.
    fn repetition(&mut self, start: usize) -> Result<bool, Fault> {
        let here = self.at;
        let (least, most) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => match self.counts() {
                Some(counts) => counts,
                None => return Ok(false),
            },
            _ => return Ok(false),
        };
        self.at += 1;
        let counted = self.text[here] == '{';
        if !counted && self.peek() == Some('+') {
            return Err(self.fault(format!("`{}+`, which never gives back, is not supported", self.text[here])));
        }
        // Behind `{n}`, a `?` is an item's own; elsewhere it asks for the shortest match.
        if !(counted && Some(least) == most) {
            self.eat('?');
        }
        if most.is_some_and(|most| most < least) {
            return Err(Fault {
                at: here,
                reason: format!("`{{{least},{}}}` ends before its start", most.unwrap_or(0)),
            });
        }
        self.repeat(start, least, most).map_err(|fault| Fault { at: here, ..fault })?;
        Ok(true)
    }

    /// The numbers of `{n}`, `{n,}`, `{n,m}` or `{,m}`; then the text is read up to the `}`. `None`: the brace is a character.
    fn counts(&mut self) -> Option<(usize, Option<usize>)> {
        let close = self.text[self.at..].iter().position(|&character| character == '}')? + self.at;
        let inside: String = self.text[self.at + 1..close].iter().collect();
        let number = |text: &str| match text {
            "" => Some(None),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(text.parse().unwrap_or(usize::MAX))),
            _ => None,
        };
        let (least, most) = match inside.split_once(',') {
            Some((least, most)) => (number(least)?, number(most)?),
            None => (number(&inside)?, number(&inside)?),
        };
        if (least, most) == (None, None) {
            return None;
        }
        self.at = close;
        Some((least.unwrap_or(0), most))
    }

    fn repeat(&mut self, start: usize, least: usize, most: Option<usize>) -> Result<(), Fault> {
        let times = most.unwrap_or(least.max(1));
        let body = self.steps.split_off(start);
        self.room_for((body.len() + 2).saturating_mul(times))?;
        for _ in 0..least {
            self.steps.extend_from_slice(&body);
        }
        match most {
            // The last one again, or from none on.
            None if least > 0 => self.push(Step::Fork(-distance(body.len()))),
            None => {
                self.push(Step::Fork(distance(body.len() + 2)))?;
                self.steps.extend_from_slice(&body);
                self.push(Step::Jump(-distance(body.len() + 1)))
            }
            Some(most) => {
                let more = most - least;
                for left in (1..=more).rev() {
                    self.push(Step::Fork(distance(left * (body.len() + 1))))?;
                    self.steps.extend_from_slice(&body);
                }
                Ok(())
            }
        }
    }
}

/// As far as a jump may go: the program's length is bounded.
fn distance(steps: usize) -> i16 {
    i16::try_from(steps).unwrap_or(i16::MAX)
}

/// The members of `\d` and its like, which are ASCII; in capitals, everything else.
fn set_of(letter: char) -> Option<(&'static [(char, char)], bool)> {
    let set: &[(char, char)] = match letter.to_ascii_lowercase() {
        'd' => &[('0', '9')],
        'w' => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
        's' => &[('\t', '\r'), (' ', ' ')],
        'h' => &[('0', '9'), ('A', 'F'), ('a', 'f')],
        _ => return None,
    };
    Some((set, letter.is_ascii_uppercase()))
}

/// The character that a `\` and a letter stand for; a mark stands for itself.
fn escaped(letter: char) -> Option<char> {
    Some(match letter {
        't' => '\t',
        'n' => '\n',
        'r' => '\r',
        'f' => '\x0c',
        'v' => '\x0b',
        'a' => '\x07',
        'e' => '\x1b',
        letter if !letter.is_ascii_alphanumeric() => letter,
        _ => return None,
    })
}

fn unsupported(letter: char) -> String {
    format!("`\\{letter}` is not supported")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(text: &str) -> Regex {
        Regex::new(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
    }

    #[track_caller]
    fn check(text: &str, found_in: &[&str], not_in: &[&str]) {
        let regex = regex(text);
        for subject in found_in {
            assert!(regex.is_found_in(subject.as_bytes()), "{text} is in {subject:?}");
        }
        for subject in not_in {
            assert!(!regex.is_found_in(subject.as_bytes()), "{text} is not in {subject:?}");
        }
    }

    #[test]
    fn what_the_portal_writes_is_searched_for_and_not_anchored() {
        check(".*", &["", "a", "/", "\n"], &[]);
        check("/", &["/", "/boot"], &["_Total", ""]);
        check("_Total", &["_Total"], &["/", "total"]);
        check("(/|/var)", &["/", "/boot", "/var"], &["_Total"]);
        check("0", &["0", "10", "20"], &["1"]);
        check("(% Processor Time|% Idle Time)", &["% Processor Time"], &["% Processor", "% User Time"]);
        check("(Total Bytes)", &["Total Bytes", "Total Bytes Received"], &["total bytes"]);
        check("", &["", "a"], &[]);
        check("(|a)b", &["b", "ab"], &["a"]);
    }

    #[test]
    fn anchors_are_of_lines_and_of_the_text() {
        check("^a$", &["a", "x\na\ny"], &["ba", "ab"]);
        check("\\Aa\\z", &["a"], &["x\na", "a\n"]);
        check("a\\Z", &["a", "a\n"], &["a\n\n", "ab"]);
        check("^$", &["", "a\n", "\n"], &["a"]);
        check("\\bsd\\b", &["sd", "a sd", "sd-1"], &["sda", "_sd", "ésd"]);
        check("\\Bd", &["sd"], &["d", "s d"]);
    }

    #[test]
    fn classes_and_sets_choose_characters() {
        check("^[a-c-]x$", &["ax", "cx", "-x"], &["dx", "bbx"]);
        check("^[^0-9]$", &["a", "é", "\u{fffd}"], &["5", "ab"]);
        check("^[]a]$", &["]", "a"], &["b"]);
        check("^[\\d_\\]\\-]+$", &["1_]-"], &["a"]);
        check("^\\d\\D\\w\\W\\s\\S\\h\\H$", &["1a_- x0x"], &["1a_- x0f", "١a_- x0x"]);
        check("^[\\t\\b]$", &["\t", "\x08"], &["b"]);
        check("^.$", &["é", "\u{1f600}", "a"], &["", "\n", "ab"]);
        check("\\.\\/\\%\\é", &["./%é"], &["a/%é"]);
    }

    #[test]
    fn repetitions_are_counted() {
        check("^ab*c+d?$", &["ac", "abbccd"], &["a", "abd", "acdd"]);
        check("^a{2}$", &["aa"], &["a", "aaa"]);
        check("^a{2,}$", &["aa", "aaaa"], &["a"]);
        check("^a{1,3}$", &["a", "aaa"], &["", "aaaa"]);
        check("^a{,2}$", &["", "aa"], &["aaa"]);
        check("^(ab|c){2}$", &["abc", "cc", "abab"], &["ab", "abcc"]);
        check("^(a*)*$", &["", "aaa"], &["b"]);
        check("^(a|b*)+c$", &["c", "abbac"], &["ad"]);
        check("^a*?b??c{1,2}?$", &["aabc", "cc"], &["ccc"]);
        check("^a{2}?$", &["", "aa"], &["a"]);
        check("^a{2}{2}$", &["aaaa"], &["aa", "aaa"]);
        check("^a{0}$", &[""], &["a"]);
        check("^(){3}a$", &["a"], &["aa"]);
    }

    #[test]
    fn a_brace_without_numbers_is_a_character() {
        check("^a{$", &["a{"], &["a"]);
        check("^a{x}$", &["a{x}"], &["a"]);
        check("^{,}}$", &["{,}}"], &["a"]);
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_one_character_each_time() {
        assert!(regex("^a.b$").is_found_in(b"a\xffb"));
        assert!(regex("^a\u{fffd}b$").is_found_in(b"a\xf0\x9fb"));
        assert!(!regex("^a.b$").is_found_in(b"a\xff\xffb"));
    }

    #[track_caller]
    fn check_fault(text: &str, at: usize, reason: &str) {
        assert_eq!(Regex::new(text), Err(Fault { at, reason: String::from(reason) }), "{text}");
    }

    #[test]
    fn what_is_wrong_or_not_supported_is_named_with_its_place() {
        check_fault("*", 0, "nothing for `*` to repeat");
        check_fault("a|+", 2, "nothing for `+` to repeat");
        check_fault("(a", 0, "`(` without `)`");
        check_fault("a)b", 1, "`)` without `(`");
        check_fault("é[a", 1, "`[` without `]`");
        check_fault("[]", 0, "`[` without `]`");
        check_fault("[z-a]", 1, "`z-a` is no range: its end is before its start");
        check_fault("[[:alpha:]]", 1, "`[` in `[...]` is not supported: write `\\[`");
        check_fault("[a&&b]", 2, "`&&` in `[...]` is not supported");
        check_fault("[\\D]", 1, "a set in capitals in `[...]` is not supported");
        check_fault("a(?=b)", 1, "of the groups that begin with `(?`, only `(?:` is supported");
        check_fault("a(?i)b", 1, "of the groups that begin with `(?`, only `(?:` is supported");
        check_fault("(a)\\1", 3, "`\\1` is not supported");
        check_fault("\\p{Alpha}", 0, "`\\p` is not supported");
        check_fault("a\\", 1, "`\\` with nothing behind it");
        check_fault("a*+", 2, "`*+`, which never gives back, is not supported");
        check_fault("a{3,2}", 1, "`{3,2}` ends before its start");
        check_fault("ab{99999999999999999999}", 2, "the expression is too large: above 1024 steps");
        check_fault("(a{30}){40}", 7, "the expression is too large: above 1024 steps");
        check_fault(&"(".repeat(20), 17, "groups nested more than 16 deep");
        check_fault(&"a".repeat(1025), 0, "longer than 1024 bytes");
    }

    #[test]
    fn an_expression_made_to_be_slow_is_not() {
        let subject = "a".repeat(4000);
        check("(a*)*b", &[], &[&subject]);
        check("(a|a|aa)*$b", &[], &[&subject]);
        check(&("a?".repeat(300) + &"a".repeat(300) + "b"), &[], &[&subject]);
    }

    /// The plainest reading of the same grammar: all ends of a match, found by trying everything. Exponential.
    mod oracle {
        use super::super::{Vec, is_word};

        /// Whether the expression, made of `a b . ^ $ ( | ) * + ? \b`, is found in the text.
        pub fn is_found(expression: &str, text: &[char]) -> bool {
            (0..=text.len()).any(|start| !ends(expression, text, start).is_empty())
        }

        fn ends(expression: &str, text: &[char], start: usize) -> Vec<usize> {
            split_top(expression).into_iter().flat_map(|branch| sequence(branch, text, start)).collect()
        }

        fn split_top(expression: &str) -> Vec<&str> {
            let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
            for (at, byte) in expression.bytes().enumerate() {
                match byte {
                    b'(' => depth += 1,
                    b')' => depth -= 1,
                    b'|' if depth == 0 => {
                        parts.push(&expression[from..at]);
                        from = at + 1;
                    }
                    _ => {}
                }
            }
            parts.push(&expression[from..]);
            parts
        }

        fn sequence(branch: &str, text: &[char], start: usize) -> Vec<usize> {
            if branch.is_empty() {
                return Vec::from([start]);
            }
            let atom = atom_bytes(branch);
            let (repeated, used) = match branch.as_bytes().get(atom) {
                Some(&mark @ (b'*' | b'+' | b'?')) => (mark, atom + 1),
                _ => (b'1', atom),
            };
            let mut found: Vec<usize> = repeat(&branch[..atom], repeated, text, start);
            found.sort_unstable();
            found.dedup();
            found.into_iter().flat_map(|end| sequence(&branch[used..], text, end)).collect()
        }

        fn atom_bytes(branch: &str) -> usize {
            match branch.as_bytes()[0] {
                b'\\' => 2,
                b'(' => {
                    let mut depth = 0;
                    let close = branch.bytes().position(|byte| {
                        depth += i32::from(byte == b'(') - i32::from(byte == b')');
                        depth == 0
                    });
                    close.unwrap() + 1
                }
                _ => 1,
            }
        }

        fn repeat(atom: &str, mark: u8, text: &[char], start: usize) -> Vec<usize> {
            let once = one(atom, text, start);
            match mark {
                b'1' => once,
                b'?' => [Vec::from([start]), once].concat(),
                _ => {
                    // As often as something is used up.
                    let further = once.iter().filter(|&&end| end > start);
                    let more: Vec<usize> = further.flat_map(|&end| repeat(atom, b'*', text, end)).collect();
                    let none = if mark == b'*' { Vec::from([start]) } else { Vec::new() };
                    [none, once, more].concat()
                }
            }
        }

        fn one(atom: &str, text: &[char], start: usize) -> Vec<usize> {
            let before = start.checked_sub(1).map(|at| text[at]);
            let next = text.get(start).copied();
            let held = |held: bool| if held { Vec::from([start]) } else { Vec::new() };
            match atom {
                "." => {
                    if next.is_some_and(|it| it != '\n') {
                        Vec::from([start + 1])
                    } else {
                        Vec::new()
                    }
                }
                "^" => held(before.is_none_or(|it| it == '\n')),
                "$" => held(next.is_none_or(|it| it == '\n')),
                "\\b" => held(before.is_some_and(is_word) != next.is_some_and(is_word)),
                _ if atom.starts_with('(') => ends(&atom[1..atom.len() - 1], text, start),
                _ => {
                    if next == atom.chars().next() {
                        Vec::from([start + 1])
                    } else {
                        Vec::new()
                    }
                }
            }
        }
    }

    /// A small generator, so that a failure is repeated by its seed.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % bound
        }

        fn expression(&mut self, depth: usize) -> String {
            let mut text = String::new();
            for _ in 0..=self.below(3) {
                match self.below(if depth < 3 { 9 } else { 6 }) {
                    0 | 1 => text.push('a'),
                    2 => text.push('b'),
                    3 => text.push('.'),
                    4 => text.push_str(["^", "$", "\\b"][self.below(3)]),
                    5 => {}
                    6 => {
                        let left = self.expression(depth + 1);
                        let right = self.expression(depth + 1);
                        text += &format!("({left}|{right})");
                    }
                    _ => text += &format!("({})", self.expression(depth + 1)),
                }
                if text.ends_with(['a', 'b', '.', ')', '$', '^']) && self.below(3) == 0 {
                    text.push(['*', '+', '?'][self.below(3)]);
                }
            }
            text
        }
    }

    #[test]
    fn random_expressions_are_found_where_the_plainest_reading_finds_them() {
        let mut random = Random(7);
        let (mut found, rounds) = (0, 30_000);
        for _ in 0..rounds {
            let expression = random.expression(0);
            let subject: Vec<char> = (0..random.below(7)).map(|_| ['a', 'b', ' ', '\n'][random.below(4)]).collect();
            let text: String = subject.iter().collect();
            let expected = oracle::is_found(&expression, &subject);
            assert_eq!(regex(&expression).is_found_in(text.as_bytes()), expected, "{expression:?} in {text:?}");
            found += usize::from(expected);
        }
        assert!((rounds / 10..rounds * 9 / 10).contains(&found), "{found} found");
    }

    #[test]
    fn any_text_is_an_expression_or_a_fault_that_points_into_it() {
        const PIECES: &[&str] = &[
            "a", "é", "(", ")", "(?:", "(?", "[", "]", "[^", "-", "&&", "|", "*", "+", "?", "{", "}", "{2,3}",
            "{1000}", ",", "\\", "\\d", "\\W", "\\b", "\\1", "^", "$", ".", "\n", "9",
        ];
        let mut random = Random(11);
        let mut accepted = 0;
        for _ in 0..20_000 {
            let text: String = (0..random.below(12)).map(|_| PIECES[random.below(PIECES.len())]).collect();
            match Regex::new(&text) {
                Ok(regex) => {
                    accepted += 1;
                    assert!(regex.steps.len() <= REGEX_STEPS_MAX);
                    regex.is_found_in(text.as_bytes());
                    regex.is_found_in(b"\xff\xf0\x9f a9\n");
                }
                Err(fault) => assert!(fault.at <= text.chars().count() && !fault.reason.is_empty(), "{text:?}"),
            }
        }
        assert!(accepted > 2000, "{accepted} accepted");
    }
}
