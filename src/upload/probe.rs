//! A request without records: how far it comes, and what the service makes of who sends it.

use alloc::format;
use alloc::string::String;

use super::https::{Answer, HttpsError, Notes};
use super::{Outcome, Verdict};

/// How one went.
#[derive(Debug)]
pub struct Probe {
    /// What was seen on the way.
    pub notes: Notes,
    /// The service's answer, or why there is none.
    pub answer: Result<Answer, HttpsError>,
    /// Whether the service takes records from this agent, as far as such a request can tell: what it said, or why not.
    pub accepted: Result<String, String>,
}

/// What an answer to no records means for those to come. It proves certificate or key, clock and address; that the service
/// refuses the body (400) is about its being empty, which it says after it looked at the rest.
pub fn accepted(outcome: &Outcome) -> Result<String, String> {
    match outcome.verdict {
        Verdict::Sent => Ok(format!("a request of no records was taken ({})", outcome.status)),
        Verdict::Refused => Ok(format!("known; that no records came is all that was wrong ({})", outcome.status)),
        Verdict::Later => Err(outcome.reason.clone()),
    }
}
