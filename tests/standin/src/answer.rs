//! What the stand-in answers, well-behaved or not, and how a person writes that down.

use std::str::FromStr;
use std::time::Duration;

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status of a request that passed every check. With 200 a request that did not pass gets the status it earned.
    pub status: u16,
    /// `Retry-After`, verbatim.
    pub retry_after: Option<String>,
    /// Time between the last byte of the request and the first of the answer.
    pub delay: Duration,
    /// How the answer is put on the wire, if at all.
    pub manner: Manner,
    /// What the body is, whatever the status; `None`: what belongs to it.
    pub body: Option<String>,
}

/// How an answer is put on the wire. Each but the first is something a real service or proxy has done to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// As it should be: HTTP/1.1, `Content-Length`, connection kept.
    Plain,
    /// The connection ends as soon as the header of the request is in: the sender sees a reset.
    Reset,
    /// Answered as soon as the header of the request is in, then the connection ends with the body unread: the sender of a large
    /// one sees a reset.
    Early,
    /// The body is read to its end, then the connection ends. `taken`: the records count as delivered.
    Close {
        /// Whether the service kept the records before it fell silent.
        taken: bool,
    },
    /// Nothing is answered, the connection stays open until the sender leaves. `taken` as for [`Manner::Close`].
    Silence {
        /// Whether the service kept the records before it fell silent.
        taken: bool,
    },
    /// The plain answer, one byte a second.
    Trickle,
    /// A header that never ends.
    EndlessHeader,
    /// `100 Continue` first, then the plain answer.
    ContinueFirst,
    /// The body in chunks, with an extension and a trailer.
    Chunked,
    /// HTTP/1.0, no length, the end of the connection ends the body.
    Http10,
    /// Status and `Location`; 302 where the status is a success.
    Redirect(String),
    /// A body in gzip under a status of at least 400; 502 where the status is lower.
    Gzip,
    /// A body of so many bytes.
    Large(usize),
    /// Bytes that are not HTTP.
    Garbage,
}

impl Default for Answer {
    fn default() -> Self {
        Self { status: 200, retry_after: None, delay: Duration::ZERO, manner: Manner::Plain, body: None }
    }
}

impl Answer {
    /// The plain answer with this status.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A 200 in this manner.
    pub fn manner(manner: Manner) -> Self {
        Self { manner, ..Self::default() }
    }

    /// The same with this body.
    #[must_use]
    pub fn saying(self, body: impl Into<String>) -> Self {
        Self { body: Some(body.into()), ..self }
    }

    /// The same with a `Retry-After`.
    #[must_use]
    pub fn retry_after(self, value: impl ToString) -> Self {
        Self { retry_after: Some(value.to_string()), ..self }
    }

    /// The same, so much later.
    #[must_use]
    pub fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Whether the records of a good request count as delivered when this is the answer.
    pub fn takes(&self) -> bool {
        match self.manner {
            Manner::Reset
            | Manner::Early
            | Manner::EndlessHeader
            | Manner::Garbage
            | Manner::Redirect(_)
            | Manner::Gzip => false,
            Manner::Close { taken } | Manner::Silence { taken } => taken,
            _ => (200..300).contains(&self.status),
        }
    }
}

/// Words apart by spaces, in any order: a status, `retry-after=VALUE`, `delay=MILLISECONDS`, and a manner: `reset`, `early`, `close`, `close-taken`,
/// `silence`, `silence-taken`, `trickle`, `endless-header`, `continue`, `chunked`, `http10`, `redirect=URL`, `gzip`, `large=BYTES`, `garbage`.
impl FromStr for Answer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut answer = Self::default();
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let number = || value.parse::<u64>().map_err(|_| format!("{name}= wants a number, not {value:?}"));
            match name {
                "retry-after" => answer.retry_after = Some(value.replace('_', " ")),
                "delay" => answer.delay = Duration::from_millis(number()?),
                "reset" => answer.manner = Manner::Reset,
                "early" => answer.manner = Manner::Early,
                "close" => answer.manner = Manner::Close { taken: false },
                "close-taken" => answer.manner = Manner::Close { taken: true },
                "silence" => answer.manner = Manner::Silence { taken: false },
                "silence-taken" => answer.manner = Manner::Silence { taken: true },
                "trickle" => answer.manner = Manner::Trickle,
                "endless-header" => answer.manner = Manner::EndlessHeader,
                "continue" => answer.manner = Manner::ContinueFirst,
                "chunked" => answer.manner = Manner::Chunked,
                "http10" => answer.manner = Manner::Http10,
                "redirect" => answer.manner = Manner::Redirect(value.to_owned()),
                "gzip" => answer.manner = Manner::Gzip,
                "large" => answer.manner = Manner::Large(usize::try_from(number()?).map_err(|e| e.to_string())?),
                "garbage" => answer.manner = Manner::Garbage,
                status => {
                    answer.status =
                        status.parse().map_err(|_| format!("{status:?} is neither a status nor a manner"))?;
                }
            }
        }
        Ok(answer)
    }
}

/// When a request that is otherwise good is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What makes it so.
    pub when: RefuseWhen,
    /// The answer it gets instead of the next one in the sequence.
    pub answer: Answer,
}

/// What makes a request refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefuseWhen {
    /// The uncompressed body contains these bytes.
    Contains(Vec<u8>),
    /// The uncompressed body has more bytes than this.
    LargerThan(usize),
}

impl RefuseWhen {
    /// Whether this uncompressed body is refused.
    pub fn applies(&self, body: &[u8]) -> bool {
        match self {
            Self::Contains(text) => memchr::memmem::find(body, text).is_some(),
            Self::LargerThan(bytes) => body.len() > *bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_written_in_words() {
        let expected = Answer::status(503).retry_after(2).delayed(Duration::from_millis(50));
        assert_eq!("503 retry-after=2 delay=50".parse(), Ok(expected));
        assert_eq!("close-taken".parse(), Ok(Answer::manner(Manner::Close { taken: true })));
        assert_eq!("200".parse(), Ok(Answer::default()));
        assert!("nonsense".parse::<Answer>().is_err());
    }

    #[test]
    fn only_what_was_answered_well_or_kept_before_silence_is_taken() {
        for (text, takes) in
            [("200", true), ("204", true), ("503", false), ("close", false), ("close-taken", true), ("reset", false)]
        {
            assert_eq!(text.parse::<Answer>().map(|answer| answer.takes()), Ok(takes), "{text}");
        }
    }
}
