//! The program's arguments as other users see them.

use std::fs;

/// Overwrites each occurrence of `secret` in the arguments that `ps` shows with `*`, and says whether it did. It cannot on
/// kernels before 3.5, which do not say where the arguments are. Call it once, early, while there is one thread.
/// Source: proc_pid_stat(5), fields 48 and 49.
pub fn hide(secret: &str) -> bool {
    let Some((start, length)) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(place) else {
        return false;
    };
    // SAFETY: the kernel says that this process's argument strings are there: on its initial stack, mapped readable and
    // writable for its whole life. Nothing else refers to them: the standard library copies an argument when it is asked.
    let bytes = unsafe { core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(start), length) };
    overwrite(bytes, secret.as_bytes())
}

/// Address and length of the arguments, from the text of `/proc/self/stat`.
fn place(stat: &str) -> Option<(usize, usize)> {
    /// More than a command line of ours can have.
    const LENGTH_MAX: usize = 1024 * 1024;
    // The second field is the program's name in parentheses, and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(48 - 3);
    let start: usize = fields.next()?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    let length = end.checked_sub(start)?;
    (start != 0 && (1..=LENGTH_MAX).contains(&length)).then_some((start, length))
}

fn overwrite(bytes: &mut [u8], secret: &[u8]) -> bool {
    let mut found = false;
    let mut at = 0;
    while !secret.is_empty() && at + secret.len() <= bytes.len() {
        if bytes[at..].starts_with(secret) {
            super::wipe(&mut bytes[at..at + secret.len()]);
            bytes[at..at + secret.len()].fill(b'*');
            (at, found) = (at + secret.len(), true);
        } else {
            at += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn a_hidden_argument_is_gone_from_what_ps_reads() {
        // The end of the test program's own name serves as the secret.
        let name = std::env::args().next().unwrap();
        let secret = &name[name.len() - 8..];
        let shown = || String::from_utf8_lossy(&fs::read("/proc/self/cmdline").unwrap()).into_owned();
        assert!(shown().contains(secret));
        assert!(hide(secret));
        assert!(!shown().contains(secret) && shown().contains("********"), "{}", shown());
        assert!(!hide(secret));
    }

    #[test]
    fn only_the_secret_is_overwritten_wherever_it_stands() {
        let mut bytes = *b"omsd\0-sKEY\0--key=KEY\0KE\0";
        assert!(overwrite(&mut bytes, b"KEY"));
        assert_eq!(bytes, *b"omsd\0-s***\0--key=***\0KE\0");
        assert!(!overwrite(&mut bytes, b"KEY"));
        assert!(!overwrite(&mut bytes, b""));
    }

    #[test]
    fn a_kernel_that_does_not_say_where_is_believed() {
        let fields = |start, end| {
            let zeros = "0 ".repeat(44);
            place(&alloc::format!("1 (a) b) S {zeros}{start} {end} 0 0 0")).map(|(_, length)| length)
        };
        assert_eq!(fields(4096, 4106), Some(10));
        assert_eq!(fields(0, 0), None);
        assert_eq!(fields(4106, 4096), None);
        assert_eq!(fields(1, 10_000_000), None);
        assert_eq!(place("1 (a) S 0 0"), None);
        assert_eq!(place(""), None);
    }
}
