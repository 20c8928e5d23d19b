//! kill -9, again and again: the agent, its upload child or both, at random moments and at chosen system calls, under load, while the service is well, down, or
//! takes what it is sent and does not say so. What it had read from its sockets is delivered, all of it, and at most one request is sent twice for each kill.

use crate::campaign::{Campaign, Round, Service, Start, Victim};
use crate::load::Pace;
use crate::random::{Random, from_environment};
use std::time::Duration;

const ROUNDS_DEFAULT: u64 = 200;
/// Light: 3,000 messages a second in all.
const LIGHT: Pace = Pace { burst: 10, pause: Duration::from_millis(10) };
/// What a busy machine gets.
const BUSY: Pace = Pace { burst: 100, pause: Duration::from_millis(10) };

#[test]
fn what_was_read_outlives_kill_9_at_any_moment() {
    let seed = from_environment("OMSD_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("OMSD_KILL_SEED={seed}");
    let mut random = Random::new(seed);
    let mut campaign = Campaign::new();
    for _ in 0..from_environment("OMSD_KILL_ROUNDS").unwrap_or(ROUNDS_DEFAULT) {
        campaign.round(&round(&mut random));
    }
    let outcome = campaign.finish();
    assert!(outcome.read > 1000 && outcome.duplicates > 0, "the loop did not try what it should: {outcome:?}");
}

fn round(random: &mut Random) -> Round {
    let service = match random.below(10) {
        0..4 => Service::Well,
        4 => Service::Down,
        5 => Service::Unavailable,
        6..8 => Service::TakesAndCloses,
        _ => Service::TakesAndWaits,
    };
    Round {
        start: Start::Plain,
        victim: [Victim::Parent, Victim::Both, Victim::Child][random.index(3)],
        service,
        pace: if random.one_in(4) { BUSY } else { LIGHT },
        kill_after: Duration::from_micros(random.below(300_000)),
    }
}

/// Calls at which the agent or its child is killed, and which of them: the first few, and later ones.
const CALLS: [(&str, &[u32]); 10] = [
    ("pwrite64", &[1, 2, 3, 4, 5, 6, 7, 8, 12, 20, 40, 80]),
    ("fdatasync", &[1, 2, 3]),
    ("write", &[1, 2, 3, 4, 5, 7]),
    ("/^(clone|fork)$", &[1, 2]),
    ("/^(rename|renameat)$", &[1, 2, 3]),
    ("recvmmsg", &[1, 2, 9, 40]),
    ("recvfrom", &[1, 4, 9]),
    ("read", &[9, 14, 20]),
    ("poll", &[1, 9, 30, 100]),
    ("sendto", &[1, 2, 3]),
];

#[test]
fn what_was_read_outlives_a_kill_at_chosen_system_calls() {
    let mut campaign = Campaign::new();
    for (call, numbers) in CALLS {
        for &number in numbers {
            let (start, pace) = (Start::KilledAt(call, number), LIGHT);
            let kill_after = Duration::from_millis(600);
            println!("-- {call} {number}");
            campaign.round(&Round { start, victim: Victim::Parent, service: Service::Well, pace, kill_after });
        }
    }
    let outcome = campaign.finish();
    println!("{outcome:?}");
    assert!(outcome.read > 1000 && outcome.struck > 20, "the loop did not try what it should: {outcome:?}");
}
