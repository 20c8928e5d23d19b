//! `<PRI>`: facility and severity.

use super::{after, digits};

/// Facility times eight plus severity, 0 to 191. Source: RFC 5424 section 6.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pri(u8);

impl Pri {
    /// Facility user, severity notice: what a message without a PRI is taken for. Source: RFC 3164 section 4.3.3.
    pub const DEFAULT: Pri = Pri(13);

    /// The facility's name.
    pub fn facility(self) -> &'static str {
        FACILITIES[usize::from(self.0 >> 3)]
    }

    /// The severity's name.
    pub fn severity(self) -> &'static str {
        SEVERITIES[usize::from(self.0 & 7)]
    }
}

/// Facilities as they stand in a record and in a tag, in the order of their numbers. Source: the original's names; those of 12 to
/// 15 are not the usual ones.
pub static FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "at", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
/// Severities, likewise: the most severe first.
pub static SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];

/// Splits `<PRI>` off the front. `None`: there is none, or it is malformed or above 191.
pub fn split(bytes: &[u8]) -> Option<(Pri, &[u8])> {
    let (value, rest) = digits(after(b'<', bytes)?, 1, 3)?;
    let rest = after(b'>', rest)?;
    let value = u8::try_from(value).ok().filter(|&value| value <= 191)?;
    Some((Pri(value), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pri_up_to_191_has_its_names() {
        for value in 0..=191 {
            let line = std::format!("<{value}>x");
            let (pri, rest) = split(line.as_bytes()).unwrap();
            assert_eq!((pri, rest), (Pri(value), &b"x"[..]));
            assert!(!pri.facility().is_empty() && !pri.severity().is_empty());
        }
        assert_eq!((Pri(0).facility(), Pri(0).severity()), ("kern", "emerg"));
        assert_eq!((Pri(104).facility(), Pri(191).facility(), Pri(191).severity()), ("audit", "local7", "debug"));
    }

    #[test]
    fn what_is_no_pri_is_left_alone() {
        for bytes in ["", "<", "<>x", "<192>x", "<999>x", "<0013>x", "<-1>x", "<1", "<1 >x", " <1>x", "<a>x", "1>x"] {
            assert_eq!(split(bytes.as_bytes()), None, "{bytes}");
        }
        assert_eq!(Pri::DEFAULT.facility(), "user");
        assert_eq!(Pri::DEFAULT.severity(), "notice");
    }
}
