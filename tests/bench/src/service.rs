//! What the programs deliver to: for omsd the stand-in for Azure Monitor, for the peers a service that does the same work.

use crate::messages::MARKER;
use crate::sink::Sink;
use omsd_standin::{Options, Standin};
use std::io;

/// A service that counts.
pub enum Service {
    /// Checks what the real one checks.
    Standin(Standin),
    /// Takes JSON in any POST.
    Sink(Sink),
}

/// Sums since the service started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    /// Messages that arrived, each number once.
    pub unique: u64,
    /// Messages that arrived again.
    pub duplicates: u64,
    /// Bytes of request bodies as they travelled.
    pub wire_bytes: u64,
}

impl Service {
    /// The stand-in, counting.
    pub fn standin() -> io::Result<Self> {
        let options = Options { keep_items: false, marker: MARKER.to_owned(), ..Options::default() };
        Standin::start(options).map(Self::Standin)
    }

    /// The service of the peers.
    pub fn sink() -> io::Result<Self> {
        Sink::start().map(Self::Sink)
    }

    /// Its port on the loopback address.
    pub fn port(&self) -> u16 {
        match self {
            Self::Standin(standin) => standin.address().port(),
            Self::Sink(sink) => sink.address.port(),
        }
    }

    /// The certificate that clients must trust, PEM.
    pub fn ca_pem(&self) -> &str {
        match self {
            Self::Standin(standin) => standin.ca_pem(),
            Self::Sink(sink) => &sink.ca_pem,
        }
    }

    /// What has arrived so far.
    pub fn totals(&self) -> Totals {
        match self {
            Self::Standin(standin) => {
                let seen = standin.seen();
                Totals {
                    unique: seen.numbers.unique(),
                    duplicates: seen.numbers.duplicates(),
                    wire_bytes: seen.counts.wire_bytes,
                }
            }
            Self::Sink(sink) => {
                let seen = sink.seen();
                Totals {
                    unique: seen.numbers.unique(),
                    duplicates: seen.numbers.duplicates(),
                    wire_bytes: seen.wire_bytes,
                }
            }
        }
    }

    /// The first thing that was wrong with a request, if any was.
    pub fn complaint(&self) -> Option<String> {
        match self {
            Self::Standin(standin) => standin.seen().complaints.first().cloned(),
            Self::Sink(sink) => sink.seen().complaints.first().cloned(),
        }
    }
}
