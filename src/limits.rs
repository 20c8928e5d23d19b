//! Every bound on memory, disk and time, on one page, with the assertions that tie them together.
//!
//! Units come last in a name: `_BYTES`, `_MS`, `_S`, `_US`; `_MAX` is inclusive.

/// Longest message kept whole, in bytes; the rest is cut, flagged and counted.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a record in front of its message: the kind of sender and its address.
pub const RECORD_HEADER_BYTES_MAX: usize = 1 + 16;
/// Bytes of a frame in front of its payload. Source: the format document in `ring/frame.rs`.
pub const FRAME_HEADER_BYTES: usize = 28;
/// Frames start at multiples of this many bytes in the ring file.
pub const FRAME_ALIGN_BYTES: usize = 8;
/// Largest payload of a frame.
pub const PAYLOAD_BYTES_MAX: usize = MESSAGE_BYTES_MAX + RECORD_HEADER_BYTES_MAX;
/// Largest frame in the ring file, padding included.
pub const FRAME_BYTES_MAX: usize = (FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX).next_multiple_of(FRAME_ALIGN_BYTES);

/// Streams (data types with a cursor, a retry schedule and counters of their own) that a ring holds.
pub const STREAMS_MAX: usize = 8;
/// Destinations that records are kept for at the same time: frames have a bit for each.
pub const DESTINATIONS_MAX: usize = 4;
/// Flows (a stream on its way to a destination) that ever held a record: what one page of the ring file has room for.
pub const FLOWS_MAX: usize = 16;
/// Default size of the ring file (`buffer_size`).
pub const RING_BYTES_DEFAULT: u64 = 10 * 1024 * 1024;
/// Smallest ring file: three largest frames beside its header and slots.
pub const RING_BYTES_MIN: u64 = 256 * 1024;
/// Largest ring file.
pub const RING_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Frames collected in memory before one write takes them to the file.
pub const APPEND_BUFFER_BYTES: usize = 256 * 1024;
/// Space freed at once when the ring is full, so that the cursor slot is not written per message.
pub const RECLAIM_BYTES: u64 = 64 * 1024;
/// Bytes of the ring file read at once; the memory is held only while reading.
pub const READ_WINDOW_BYTES: usize = FRAME_BYTES_MAX.next_multiple_of(4096);

/// Raw frames in one request: default of `buffer_chunk_limit`, and its bounds.
pub const CHUNK_BYTES_DEFAULT: usize = 1024 * 1024;
/// Smallest `buffer_chunk_limit`.
pub const CHUNK_BYTES_MIN: usize = 128 * 1024;
/// Largest `buffer_chunk_limit`. The original's 15 MiB is accepted and taken as this.
pub const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Records in one request until ten such in a row show a backlog: bounds the duplicates of a lost answer.
pub const CHUNK_RECORDS_LIGHT_MAX: u32 = 1000;

/// Largest request body before compression, in bytes: what the service documents as its bound for one post.
pub const BODY_BYTES_MAX: u64 = 30_000_000;
/// Largest request body on the wire, which the child holds in memory.
pub const BODY_WIRE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest body of rows before compression: below every published reading of the Logs Ingestion API's bound.
pub const ROWS_BYTES_MAX: usize = 1_000_000;
/// The same on the wire. Source: the error text of the service, which says 1,048,576.
pub const ROWS_WIRE_BYTES_MAX: usize = 1_048_576;
/// Bytes of one field of a row; the service cuts what is longer and says nothing.
pub const FIELD_BYTES_MAX: usize = 64 * 1024;
/// Rows of one request are received within this time of one another: some tables refuse 30 minutes and more.
pub const ROWS_RANGE_MS_MAX: u64 = 29 * 60 * 1000;
/// A chunk's further requests begin within this time of the chunk: the last must end before the child's time is up.
pub const ROWS_NEXT_MS_MAX: u64 = 5_000;
/// Time for one request with rows.
pub const ROWS_REQUEST_MS_MAX: u64 = 80_000;
/// Time to get a token, from whoever gives it.
pub const TOKEN_MS_MAX: u64 = 30_000;
/// Time for one question to a metadata service, which is on this host or next to it.
pub const METADATA_MS_MAX: u64 = 5_000;
/// Longest token that is used: it has to fit a request's header.
pub const TOKEN_BYTES_MAX: usize = 6 * 1024;
/// A token is good for so long if nobody says for how long.
pub const TOKEN_S_DEFAULT: u64 = 600;
/// Longest life of a token that is believed.
pub const TOKEN_S_MAX: u64 = 24 * 60 * 60;
/// After a token was refused, nobody is asked again for so long.
pub const TOKEN_PAUSE_MS: u64 = 10_000;
/// Bytes of the file that a challenge of Azure Arc names. Source: the limit of Microsoft's own client libraries.
pub const CHALLENGE_BYTES_MAX: u64 = 4096;
/// Text of items gathered before it is compressed.
pub const BODY_GATHER_BYTES: usize = 32 * 1024;

/// Listening sources in one configuration.
pub const SOURCES_MAX: usize = 16;
/// Accepted stream connections, all sources together.
pub const CONNECTIONS_MAX: usize = 256;
/// Datagrams taken by one `recvmmsg`.
pub const DATAGRAM_BATCH: usize = 32;
/// Bytes read from one connection in one turn of the loop, so that a flood on one starves none.
pub const TURN_BYTES_MAX: usize = 256 * 1024;
/// A partial frame on a stream is taken as it is after this long without another byte.
pub const PARTIAL_IDLE_MS: u64 = 60_000;
/// Gathering of reads under light load: default of `gather`, in milliseconds.
pub const GATHER_MS_DEFAULT: u64 = 20;
/// Largest `gather`.
pub const GATHER_MS_MAX: u64 = 1000;
/// Receive buffer asked for on UDP sockets, in bytes.
pub const UDP_RECEIVE_BUFFER_BYTES: usize = 32 * 1024 * 1024;

/// Default of `flush_interval`.
pub const FLUSH_MS_DEFAULT: u64 = 20_000;
/// `flush_interval` of `run --demo`: a person waits.
pub const FLUSH_MS_DEMO: u64 = 500;
/// Default of `sync_interval`: what a power cut may cost at most.
pub const SYNC_MS_DEFAULT: u64 = 1_000;
/// First wait after a failed upload (`retry_wait`).
pub const RETRY_MS_FIRST: u64 = 30_000;
/// Longest wait between uploads, `Retry-After` included (`max_retry_wait`).
pub const RETRY_MS_MAX: u64 = 16 * 60 * 1000;
/// Shortest wait that a `Retry-After` can ask for: one that says 0 each time must not make a flood of requests.
pub const RETRY_AFTER_MS_MIN: u64 = 1_000;
/// Time the upload child has for one chunk, from the first byte fed to the answer.
pub const UPLOAD_MS_MAX: u64 = 120_000;
/// An upload child without a chunk stays for so long after the last one that filled before its flush interval: at 1,000 messages a second
/// a chunk fills every four seconds, and a child and a handshake for each cost more than a tenth of all processor time.
pub const LINGER_MS: u64 = 10_000;
/// Time to open a connection, TLS included.
pub const CONNECT_MS_MAX: u64 = 30_000;
/// Time that one of several addresses has to take a connection before the next is tried: a lost first packet is sent again within it.
pub const CONNECT_TRY_MS: u64 = 3_000;
/// Time to find the addresses of a name, all name servers and search domains together.
pub const LOOKUP_MS_MAX: u64 = 15_000;
/// Time that a name server has before the next one is asked, too.
pub const LOOKUP_STEP_MS: u64 = 2_000;
/// Bytes of `/etc/hosts` that are looked at.
pub const HOSTS_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of `/etc/resolv.conf` that are looked at.
pub const RESOLV_CONF_BYTES_MAX: u64 = 16 * 1024;
/// Search domains of it that are tried.
pub const SEARCH_MAX: usize = 16;
/// Time that a proxy has to speak TLS before it is taken for one without.
pub const PROXY_TLS_MS_MAX: u64 = 5_000;
/// Time to wait for an answer once the request is sent.
pub const ANSWER_MS_MAX: u64 = 60_000;
/// Time from SIGTERM to exit.
pub const STOP_MS_MAX: u64 = 2_000;
/// A full ring holds stream senders back for this long without one successful upload. Then the newest data counts more than
/// the oldest, and programs that block on their log socket go on.
pub const HOLD_MS_MAX: u64 = 4 * 60 * 60 * 1000;
/// While uploads moved within this time, a full ring lets datagrams wait in their sockets until these fill, too.
pub const MOVING_MS: u64 = 1_000;
/// What waits in the sockets of an agent that stops is read for so long at most: a flood has no end.
pub const DRAIN_MS_MAX: u64 = 300;
/// An address that this agent had is tried again for so long when another configuration is taken over: its last copy may be a child's.
pub const RELEASE_MS_MAX: u64 = 500;
/// A disk that failed is tried again after this long.
pub const DISK_RETRY_MS: u64 = 1_000;
/// The status file is written at least this often.
pub const STATUS_MS: u64 = 30_000;
/// Time to wait for the whole body of an answer once its headers are here.
pub const ANSWER_BODY_MS_MAX: u64 = 10_000;
/// Time for one request, from its first byte to the end of its answer: the child must live to report it.
pub const REQUEST_MS_MAX: u64 = 110_000;
/// Bytes of an answer in front of its body; a proxy's answer to CONNECT as well.
pub const ANSWER_HEADER_BYTES_MAX: usize = 8 * 1024 - 1;
/// Buffer of the HTTP library in each direction: holds the largest header.
pub const HTTP_BUFFER_BYTES: usize = 8 * 1024;
/// Bytes of one file of trusted certificates; the largest system bundles have a quarter of it.
pub const CA_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of each small file that the agent is known by: certificate, key, `omsadmin.conf`, `proxy.conf`.
pub const IDENTITY_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of what another program prints that are looked at.
pub const COMMAND_OUTPUT_BYTES_MAX: u64 = 256 * 1024;
/// Time that another program of the host has: a service manager may wait for 90 s by itself.
pub const COMMAND_S_MAX: u32 = 120;
/// Time that a service has to come up or to end.
pub const SERVICE_MS_MAX: u64 = 10_000;
/// Bytes of the list of what was installed.
pub const MANIFEST_BYTES_MAX: u64 = 256 * 1024;
/// Characters of a workspace key as it is written; real ones have 88.
pub const SHARED_KEY_TEXT_BYTES_MAX: u64 = 1023;
/// Interval of topology heartbeats until the service says another: default of `run_interval`.
pub const TOPOLOGY_MS_DEFAULT: u64 = 20 * 60 * 1000;
/// Time for a topology heartbeat with all that may follow it: at most four requests and a new key. Killed, it goes on the next time.
pub const VISIT_MS_MAX: u64 = 300_000;
/// Time that `omsd onboard --renew` waits for the agent's own visit to end.
pub const LOCK_MS_MAX: u64 = 10_000;
/// There is no second attempt at a new certificate before this, however often the service asks.
pub const RENEWAL_MS_MIN: u64 = 60 * 60 * 1000;
/// Bytes of the lock file, which always has this length.
pub const LOCK_BYTES: usize = 256;
/// A lock that somebody has is tried again for so long: those who only look have it for a moment.
pub const LOCK_TRY_MS: u64 = 500;
/// How often a lock that is waited for is tried.
pub const LOCK_STEP_MS: u64 = 20;
/// Time that `run --daemon` waits for the agent to say that it runs; making a large ring file takes a while.
pub const START_MS_MAX: u64 = 120_000;
/// Time that `omsd stop` and a hand-over wait for the holder of the lock to end.
pub const HAND_OVER_MS_MAX: u64 = 20_000;
/// Time that a killed process has to be gone.
pub const KILL_MS_MAX: u64 = 5_000;
/// Time that `omsd reload` waits for the agent to say whether it took the configuration.
pub const RELOAD_MS_MAX: u64 = 10_000;
/// Bytes of the log file of a detached agent; as much again stands in the one before it.
pub const LOG_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of a status file that are looked at; one with every destination and stream has a tenth of it.
pub const STATUS_BYTES_MAX: u64 = 256 * 1024;
/// A status older than this is no longer a sign of health: two of its writes are missing.
pub const STATUS_FRESH_MS: u64 = 90_000;
/// A status older than this is that of an agent that hangs.
pub const STATUS_STALE_MS: u64 = 300_000;
/// An agent that hangs is replaced when it was found so twice, so far apart at least: by two minutes of cron, not by two calls at once.
pub const STALE_AGAIN_MS: u64 = 30_000;
/// Time that an agent that hangs has to end by SIGTERM before it is killed.
pub const STALE_TERM_MS: u64 = 10_000;
/// An agent that lived for less crashed.
pub const LIFE_MS_SHORT: u64 = 60_000;
/// After a life of so long, earlier crashes count no more.
pub const LIFE_MS_LONG: u64 = 600_000;
/// So many crashes in a row have `--ensure` start it less often; as many more, seldom.
pub const CRASHES_MAX: u32 = 5;
/// Time between starts then: every fifth minute of cron's, which is not always on the second.
pub const RESTART_MS_SLOW: u64 = 5 * 60_000 - 15_000;
/// The same after twice as many: every fifteenth minute.
pub const RESTART_MS_SELDOM: u64 = 15 * 60_000 - 15_000;
/// The same failure is told on standard error at most this often.
pub const TELL_MS: u64 = 60 * 60_000;
/// Failures whose last telling is remembered.
pub const TOLD_MAX: usize = 16;
/// Bytes of the files in which `--ensure` and `--once` remember things.
pub const MEMORY_BYTES_MAX: u64 = 64 * 1024;
/// Seconds that `run --once` may take: default of `--budget`, and its bounds.
pub const ONCE_BUDGET_S_DEFAULT: u32 = 50;
/// Shortest `--budget`.
pub const ONCE_BUDGET_S_MIN: u32 = 5;
/// Longest `--budget`.
pub const ONCE_BUDGET_S_MAX: u32 = 3600;
/// Seconds over its budget after which a run is ended by the kernel, whatever it hangs in.
pub const ONCE_OVER_S: u32 = 5;
/// Hosts upload spread over so long, but never over more than a third of the budget.
pub const ONCE_SPREAD_MS_MAX: u64 = 20_000;
/// Time from run to run that a wait is counted in, for a wall clock that was set back: cron's shortest.
pub const ONCE_RUN_MS: u64 = 60_000;
/// Runs in a row whose backlog may stay as large as it was.
pub const ONCE_STUCK_RUNS: u32 = 3;
/// Rates are not made over more time than this between two runs.
pub const SAMPLE_GAP_MS_MAX: u64 = 60 * 60_000;
/// Losses are told upstream at most this often.
pub const REPORT_MS: u64 = 60_000;
/// Bytes of the file of refused records; as much again stands in the one before it.
pub const REJECTED_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes of an error answer's body that are looked at.
pub const ANSWER_BODY_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a reason that travel from the child to the parent and into the log.
pub const REASON_BYTES_MAX: usize = 256;

/// Time for all of `omsd check`.
pub const CHECK_MS_MAX: u64 = 58_000;
/// Time for one of its looks at this host.
pub const CHECK_LOOK_MS_MAX: u64 = 5_000;
/// Time for its way to all destinations.
pub const CHECK_WAY_MS_MAX: u64 = 30_000;
/// Time that its message has from the syslog daemon to the ring.
pub const CHECK_LOOP_MS_MAX: u64 = 10_000;
/// Time for one of its requests, ...
pub const CHECK_REQUEST_MS_MAX: u64 = 25_000;
/// ... until the connection stands, ...
pub const CHECK_CONNECT_MS_MAX: u64 = 10_000;
/// ... and until the answer is there.
pub const CHECK_ANSWER_MS_MAX: u64 = 10_000;
/// Bytes of one file of another program's configuration that are looked at.
pub const CHECK_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Such files, and processes and their descriptors, that are looked at.
pub const CHECK_NAMES_MAX: usize = 4096;

/// Bytes of the archive of `omsd collect-logs`, and of one text in it.
pub const ARCHIVE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// See `ARCHIVE_BYTES_MAX`.
pub const ARCHIVE_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Perf sources in one configuration.
pub const PERF_SOURCES_MAX: usize = 64;
/// Instances in one record of a sample; more go into another record. Bounds what a record grows to when it is rendered.
pub const PERF_INSTANCES_MAX: usize = 256;
/// Bytes of an instance's name that are kept: the longest path, in a mount table.
pub const PERF_NAME_BYTES_MAX: usize = 4096;
/// Sources due within this long of one another are sampled together.
pub const PERF_TOGETHER_MS: u64 = 20;
/// Sample interval of `run --demo`.
pub const PERF_MS_DEMO: u64 = 5_000;

/// Bytes of one configuration file, and of all together.
pub const CONFIG_BYTES_MAX: usize = 1024 * 1024;
/// Files that one configuration may consist of.
pub const CONFIG_FILES_MAX: usize = 256;
/// Depth of `@include`, of nested sections, and of brackets in a value or a pattern.
pub const CONFIG_DEPTH_MAX: usize = 16;
/// Names looked at in one directory that an `@include` searches.
pub const CONFIG_NAMES_MAX: usize = 4096;
/// Bytes of the argument of a section or an `@include`: bounds the time of matching.
pub const CONFIG_PATTERN_BYTES_MAX: usize = 1024;
/// Steps of a regular expression's program: bounds the time of a search in one name to this times the name's length.
pub const REGEX_STEPS_MAX: usize = 1024;
/// Bytes of the tag of a source: bounds it likewise.
pub const CONFIG_TAG_BYTES_MAX: usize = 128;
/// Findings about one configuration that are kept; the rest is only counted.
pub const CONFIG_DIAGNOSTICS_MAX: usize = 250;
/// Longest time that a configuration may set for anything.
pub const CONFIG_TIME_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Shortest `flush_interval`, `retry_wait` and `max_retry_wait`.
pub const CONFIG_TIME_MS_MIN: u64 = 100;

/// Bytes of a /proc file that are looked at, whole lines only.
pub const PROC_FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What tells the number of processes, or that nothing was mounted, without a look at all of them is held against one this often.
pub const PROC_TRUSTED_MS: u64 = 60_000;
/// Processors that are told apart: what a kernel can be built for.
pub const PROCESSORS_MAX: usize = 8192;
/// Mounted file systems that are looked at.
pub const MOUNTS_MAX: usize = 4096;
/// Block devices that are looked at.
pub const DISKS_MAX: usize = 8192;
/// Network interfaces that are looked at.
pub const INTERFACES_MAX: usize = 4096;
/// Processes that are measured; all are counted.
pub const PROCESSES_MAX: usize = 32 * 1024;
/// File systems that may hang and are asked for their space all the same: their answers fit a pipe.
pub const REMOTE_MAX: usize = 1024;
/// Time that they have for it, all together.
pub const REMOTE_MS_MAX: u64 = 5_000;
/// One that let this time pass is asked again after this long.
pub const REMOTE_RETRY_MS: u64 = 10 * 60 * 1000;
/// Which disks a logical volume is on is looked up this often; it may be moved while it is mounted.
pub const DISKS_MS: u64 = 60_000;
/// Volumes on volumes on disks.
pub const DISKS_DEPTH_MAX: u32 = 8;

const _: () = assert!(FRAME_BYTES_MAX <= CHUNK_BYTES_MIN); // a frame fits any chunk
const _: () = assert!(FRAME_BYTES_MAX <= APPEND_BUFFER_BYTES);
const _: () = assert!(6 * PAYLOAD_BYTES_MAX + 4096 <= BODY_WIRE_BYTES_MAX); // one record, all of it escaped, fits any body
const _: () = assert!(6 * PAYLOAD_BYTES_MAX + PERF_INSTANCES_MAX * 4096 <= BODY_WIRE_BYTES_MAX); // a record of counters too
const _: () = assert!(ROWS_NEXT_MS_MAX + TOKEN_MS_MAX + ROWS_REQUEST_MS_MAX < UPLOAD_MS_MAX);
const _: () = assert!(2 * METADATA_MS_MAX < TOKEN_MS_MAX);
const _: () = assert!(TOKEN_BYTES_MAX + 1024 < HTTP_BUFFER_BYTES);
const _: () = assert!(BODY_WIRE_BYTES_MAX as u64 <= BODY_BYTES_MAX);
const _: () = assert!(RING_BYTES_MIN >= 3 * FRAME_BYTES_MAX as u64 + 12 * 1024);
const _: () = assert!(RETRY_MS_FIRST <= RETRY_MS_MAX);
const _: () = assert!(RETRY_MS_MAX <= CONFIG_TIME_MS_MAX);
const _: () = assert!(STOP_MS_MAX < UPLOAD_MS_MAX);
const _: () = assert!(2 * STATUS_MS < STATUS_FRESH_MS && STATUS_FRESH_MS < STATUS_STALE_MS);
const _: () = assert!(STOP_MS_MAX < STALE_TERM_MS && STALE_TERM_MS < HAND_OVER_MS_MAX);
const _: () = assert!(DRAIN_MS_MAX + STOP_MS_MAX / 2 < STOP_MS_MAX); // reading, then waiting for an answer, then a sync
const _: () = assert!(REQUEST_MS_MAX < UPLOAD_MS_MAX);
const _: () = assert!(PROXY_TLS_MS_MAX < CONNECT_MS_MAX);
const _: () = assert!(6 * LOOKUP_STEP_MS < LOOKUP_MS_MAX); // three name servers, each asked twice
const _: () = assert!(CONNECT_MS_MAX + ANSWER_MS_MAX + ANSWER_BODY_MS_MAX < REQUEST_MS_MAX);
const _: () = assert!(CHECK_WAY_MS_MAX + CHECK_LOOP_MS_MAX + 3 * CHECK_LOOK_MS_MAX < CHECK_MS_MAX);
const _: () = assert!(CHECK_CONNECT_MS_MAX + CHECK_ANSWER_MS_MAX < CHECK_REQUEST_MS_MAX);
const _: () = assert!(CHECK_REQUEST_MS_MAX < CHECK_WAY_MS_MAX);
const _: () = assert!(REMOTE_MAX * 56 < 64 * 1024); // answers of seven numbers each
const _: () = assert!(ANSWER_HEADER_BYTES_MAX < HTTP_BUFFER_BYTES); // a full buffer is an error, not a stall
