//! Patterns: which tags a `<match>` takes, which files an `@include` names.
//!
//! Both are matched by carrying the set of positions in the subject that the pattern read so far can end at, so the time
//! is bounded by pattern length times subject length, whatever the pattern.

use crate::limits::CONFIG_DEPTH_MAX;
use alloc::vec;
use alloc::vec::Vec;

/// Whether one pattern of a `<match>` takes a tag. Parts of a tag are separated by dots; `*` is one part or a piece of one,
/// `**` any number of parts (`a.**` takes `a` too), `{x,y}` either. Patterns in `{}` may nest, sixteen deep.
pub fn takes_tag(pattern: &str, tag: &str) -> bool {
    takes(pattern.as_bytes(), tag.as_bytes(), Dialect::Tag)
}

/// Whether a file name is named by one component of a path pattern: `*`, `?`, `[a-z]`, `[!a-z]`, `{x,y}`. A name that begins
/// with a dot is named only by a pattern that does.
pub fn takes_name(pattern: &str, name: &str) -> bool {
    (!name.starts_with('.') || pattern.starts_with('.')) && takes(pattern.as_bytes(), name.as_bytes(), Dialect::Name)
}

/// Whether a component of a path is a pattern at all.
pub fn is_pattern(component: &str) -> bool {
    component.contains(['*', '?', '[', '{'])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Tag,
    Name,
}

/// For each position 0 to the subject's length: whether the pattern so far can end there.
type Ends = Vec<bool>;

fn takes(pattern: &[u8], subject: &[u8], dialect: Dialect) -> bool {
    let mut ends = vec![false; subject.len() + 1];
    ends[0] = true;
    advance(pattern, subject, ends, dialect, 0)[subject.len()]
}

fn advance(mut pattern: &[u8], subject: &[u8], mut ends: Ends, dialect: Dialect, depth: usize) -> Ends {
    while let Some(&first) = pattern.first()
        && ends.contains(&true)
    {
        let (used, next) = match first {
            b'*' if dialect == Dialect::Tag && pattern.starts_with(b"**.") => (3, whole_parts(subject, &ends)),
            b'*' if dialect == Dialect::Tag && pattern.starts_with(b"**") => (2, spread(&ends, |_| true)),
            b'.' if dialect == Dialect::Tag && pattern.starts_with(b".**") => (1, at_part_end(subject, &ends)),
            b'*' => (1, spread(&ends, |at| dialect == Dialect::Name || subject[at] != b'.')),
            b'?' if dialect == Dialect::Name => (1, step(&ends, |_| true)),
            b'[' if dialect == Dialect::Name => set(pattern, subject, &ends),
            b'{' if depth < CONFIG_DEPTH_MAX => alternatives(pattern, subject, &ends, dialect, depth),
            b'\\' if pattern.len() > 1 => (2, step(&ends, |at| subject[at] == pattern[1])),
            byte => (1, step(&ends, |at| subject[at] == byte)),
        };
        pattern = &pattern[used..];
        ends = next;
    }
    ends
}

/// One byte on, where it is allowed.
fn step(ends: &Ends, allowed: impl Fn(usize) -> bool) -> Ends {
    let mut next = vec![false; ends.len()];
    for at in 0..ends.len() - 1 {
        next[at + 1] = ends[at] && allowed(at);
    }
    next
}

/// Any number of bytes on, as long as each is allowed.
fn spread(ends: &Ends, allowed: impl Fn(usize) -> bool) -> Ends {
    let mut next = ends.clone();
    for at in 0..ends.len() - 1 {
        next[at + 1] |= next[at] && allowed(at);
    }
    next
}

/// `**.`: nothing at the start of the tag, or anything up to and with a dot.
fn whole_parts(subject: &[u8], ends: &Ends) -> Ends {
    let mut next = vec![false; ends.len()];
    let mut begun = false;
    for at in 0..subject.len() {
        begun |= ends[at];
        next[at + 1] = begun && subject[at] == b'.';
    }
    next[0] = ends[0];
    next
}

/// The dot before `**`: not used up, but a part has to end here.
fn at_part_end(subject: &[u8], ends: &Ends) -> Ends {
    (0..ends.len()).map(|at| ends[at] && subject.get(at).is_none_or(|&byte| byte == b'.')).collect()
}

/// `{a,b}`, or a lone brace.
fn alternatives(pattern: &[u8], subject: &[u8], ends: &Ends, dialect: Dialect, depth: usize) -> (usize, Ends) {
    let mut next = vec![false; ends.len()];
    let (mut nesting, mut start) = (0, 1);
    for (at, &byte) in pattern.iter().enumerate() {
        match byte {
            b'{' => nesting += 1,
            b'}' => nesting -= 1,
            b',' if nesting == 1 => {}
            _ => continue,
        }
        if nesting == 0 || byte == b',' && nesting == 1 {
            let arm = advance(&pattern[start..at], subject, ends.clone(), dialect, depth + 1);
            next.iter_mut().zip(arm).for_each(|(end, reached)| *end |= reached);
            start = at + 1;
        }
        if nesting == 0 {
            return (at + 1, next);
        }
    }
    (1, step(ends, |at| subject[at] == b'{'))
}

/// `[a-z]`, `[!a-z]`, `[^a-z]`, or a lone bracket.
fn set(pattern: &[u8], subject: &[u8], ends: &Ends) -> (usize, Ends) {
    let Some(close) = pattern.iter().skip(2).position(|&byte| byte == b']').map(|at| at + 2) else {
        return (1, step(ends, |at| subject[at] == b'['));
    };
    let (negated, members) = match &pattern[1..close] {
        [b'!' | b'^', rest @ ..] if !rest.is_empty() => (true, rest),
        all => (false, all),
    };
    (close + 1, step(ends, |at| in_set(members, subject[at]) != negated))
}

fn in_set(mut members: &[u8], byte: u8) -> bool {
    while let Some((&first, rest)) = members.split_first() {
        let last = match rest {
            [b'-', last, ..] => *last,
            _ => first,
        };
        if (first..=last).contains(&byte) {
            return true;
        }
        members = if rest.len() >= 2 && rest[0] == b'-' { &rest[2..] } else { rest };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, takes: &[&str], leaves: &[&str]) {
        for tag in takes {
            assert!(takes_tag(pattern, tag), "{pattern} takes {tag}");
        }
        for tag in leaves {
            assert!(!takes_tag(pattern, tag), "{pattern} leaves {tag}");
        }
    }

    #[test]
    fn a_match_takes_the_tags_that_the_original_gives_it() {
        check("oms.**", &["oms", "oms.a", "oms.a.b.c"], &["omsx", "omsx.a", "diag.oms", "o"]);
        check("oms.*", &["oms.a"], &["oms", "oms.a.b"]);
        check("oms.*.err", &["oms.auth.err"], &["oms.err", "oms.a.b.err"]);
        check("**", &["a", "a.b", ""], &[]);
        check("**.c", &["c", "a.c", "a.b.c"], &["ac", "a.bc", "c.a"]);
        check("a.**.c", &["a.c", "a.b.c", "a.b.b.c"], &["ac", "a.bc", "c"]);
        check("{oms,diag}.a", &["oms.a", "diag.a"], &["a", "omsdiag.a"]);
        check("oms.{syslog.**,heartbeat}", &["oms.syslog", "oms.syslog.a.b", "oms.heartbeat"], &["oms.heartbeat.x"]);
        check("a{b{c,d},e}f", &["abcf", "abdf", "aef"], &["abf", "af"]);
        check("oms.api.Apache**", &["oms.api.Apache", "oms.api.ApacheX.b"], &["oms.api.Apach", "oms.api.x"]);
        check("o*.s*g", &["oms.syslog", "o.sg"], &["oms.a.sg"]);
        check("a\\*", &["a*"], &["ab"]);
        check("{", &["{"], &["", "a"]);
    }

    #[track_caller]
    fn check_name(pattern: &str, takes: &[&str], leaves: &[&str]) {
        for name in takes {
            assert!(takes_name(pattern, name), "{pattern} takes {name}");
        }
        for name in leaves {
            assert!(!takes_name(pattern, name), "{pattern} leaves {name}");
        }
    }

    #[test]
    fn an_include_names_the_files_that_a_shell_would() {
        check_name("*.conf", &["a.conf", "a.b.conf"], &[".a.conf", "a.conf.bak", "conf"]);
        check_name("a?c", &["abc"], &["ac", "abbc"]);
        check_name("[0-9a]x", &["0x", "9x", "ax"], &["bx", "x"]);
        check_name("[!0-9]x", &["ax"], &["0x"]);
        check_name("{a,b}.conf", &["a.conf", "b.conf"], &["c.conf"]);
        check_name("[", &["["], &["a"]);
        check_name("[]]", &["]"], &["[]]"]);
        check_name(".h*", &[".hidden"], &["hidden"]);
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = "{*,**}".repeat(150) + "x";
        assert!(!takes_tag(&pattern, &"a.".repeat(60)));
        assert!(!takes_tag(&"{".repeat(1000), &"{".repeat(999)));
    }
}
