//! What was lost, told upstream: one operation record a stream and interval, never one a message.

use super::heartbeat::add;
use crate::ring::{Counters, StreamState};
use crate::sys::host;
use crate::upload::Stream;
use crate::upload::text::Text;
use crate::upload::times::time_text;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The `OPERATION_BLOB` item that tells of a stream's losses since the last one. `now_us`: wall clock.
pub fn item(stream: Stream, losses: &Counters, state: &StreamState, now_us: u64) -> Vec<u8> {
    operation(now_us, "omsd lost records", &sentence(stream, losses, state))
}

/// An `OPERATION_BLOB` item that warns. Keys and their order are those of the original's operation items.
pub fn operation(now_us: u64, category: &str, detail: &str) -> Vec<u8> {
    let name = host::computer();
    let mut item = Text::default();
    item.put(b"{\"Timestamp\":\"");
    item.put(&time(now_us));
    item.put(b"\"");
    add(&mut item, "OperationStatus", "Warning");
    add(&mut item, "Computer", name.split('.').next().unwrap_or(&name));
    add(&mut item, "Detail", detail);
    add(&mut item, "Category", category);
    add(&mut item, "Solution", "Log Management");
    item.put(b"}");
    Vec::from(item.as_bytes())
}

/// How many, of what, why, and between which times.
pub fn sentence(stream: Stream, losses: &Counters, state: &StreamState) -> String {
    let kinds: Vec<String> = causes(losses).into_iter().map(|(count, cause)| format!("{count} {cause}")).collect();
    let (first, last) = (time(state.first_loss_us), time(state.last_loss_us));
    format!(
        "{}: {} between {} and {}",
        stream.name(),
        kinds.join(", "),
        String::from_utf8_lossy(&first),
        String::from_utf8_lossy(&last)
    )
}

/// Every kind of loss that happened, as an operator reads it.
pub fn causes(losses: &Counters) -> Vec<(u64, &'static str)> {
    let mut kinds = Vec::from([
        (losses.overwritten, "overwritten by newer ones in a full ring"),
        (losses.corrupt, "damaged on disk"),
        (losses.refused, "refused by the service, kept in the rejected file"),
        (losses.discarded, "given up at retry_limit"),
        (losses.dropped, "not kept: disk failure, or a full ring with buffer_queue_full_action exception"),
        (losses.cut, "cut at the length limit"),
        (losses.malformed, "came and were no message"),
    ]);
    kinds.retain(|(count, _)| *count > 0);
    kinds
}

fn time(unix_us: u64) -> [u8; 24] {
    time_text(i64::try_from(unix_us / 1000).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_with_number_kind_and_times() {
        let losses = Counters { overwritten: 1200, cut: 3, sent: 5, ..Counters::default() };
        let state = StreamState {
            first_loss_us: 1_700_000_000_000_000,
            last_loss_us: 1_700_000_060_000_000,
            ..StreamState::default()
        };
        assert_eq!(
            sentence(Stream::Syslog, &losses, &state),
            "syslog: 1200 overwritten by newer ones in a full ring, 3 cut at the length limit \
             between 2023-11-14T22:13:20.000Z and 2023-11-14T22:14:20.000Z"
        );
        let item = String::from_utf8(item(Stream::Syslog, &losses, &state, 1_700_000_100_000_000)).unwrap();
        assert!(miniserde::json::from_str::<miniserde::json::Object>(&item).is_ok(), "{item}");
    }
}
