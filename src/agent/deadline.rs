//! When the loop wakes next, and for how long it may leave busy sources alone.

/// Bytes that one gathered read should find: enough to be worth waking up for, less than any socket buffer holds.
const GATHER_BYTES: u64 = 32 * 1024;

/// Milliseconds from `now_ms` to the earliest of these moments; `None` if there is none, 0 for one that has passed.
pub fn sleep_ms(now_ms: u64, moments: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    moments.into_iter().flatten().min().map(|moment| moment.saturating_sub(now_ms))
}

/// How long sources may be left alone after a read of `bytes`, `elapsed_ms` after the one before: what was configured
/// under light load, less the faster bytes come, so that no socket buffer fills while we look away.
pub fn gather_ms(configured_ms: u64, elapsed_ms: u64, bytes: usize) -> u64 {
    match bytes as u64 {
        0 => configured_ms,
        bytes => configured_ms.min(elapsed_ms.clamp(1, configured_ms.max(1)) * GATHER_BYTES / bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_moment_ends_the_sleep() {
        assert_eq!(sleep_ms(100, [None, Some(150), Some(120)]), Some(20));
        assert_eq!(sleep_ms(100, [Some(90), None]), Some(0));
        assert_eq!(sleep_ms(100, [None, None]), None);
    }

    #[test]
    fn light_load_is_gathered_and_a_flood_is_read_at_once() {
        assert_eq!(gather_ms(20, 20, 4_000), 20); // 1,000 messages of 200 bytes a second
        assert_eq!(gather_ms(20, 20, 65_536), 10);
        assert_eq!(gather_ms(20, 5, 262_144), 0);
        assert_eq!(gather_ms(20, 60_000, 300), 20); // after a long silence
        assert_eq!(gather_ms(0, 5, 100), 0);
    }
}
