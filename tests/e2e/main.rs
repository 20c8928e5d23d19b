//! End to end: the real programs, the binary under test, and a service that checks what Azure checks. One scenario a file; its first comment tells it.
//!
//! Needs rsyslogd (package rsyslog), syslog-ng (package syslog-ng-core, or `OMSD_SYSLOG_NG` naming the program), logger (bsdutils), strace, openssl,
//! nginx, stunnel (stunnel4), squid (squid-openssl) and tinyproxy (tinyproxy-bin).
//! `OMSD_BIN` names the binary under test.

mod harness;

mod all_goes_through_the_proxy;
mod answers_from_hell;
mod azure_answers;
mod azure_identities;
mod azure_readme;
mod azure_rows_arrive;
mod certificate_is_renewed;
mod check_names_the_cause;
mod clouds_by_domain;
mod collect_logs_has_no_secret;
mod configuration_errors_are_named;
mod counters_agree_with_the_systems_tools;
mod demo_prints_records;
mod endpoint_answers_503_then_recovers;
mod endpoint_goes_away_and_returns;
mod entropy_is_waited_for_in_the_child;
mod fips_build;
mod fips_mode_host;
mod flood_on_one_source_starves_none;
mod full_ring;
mod full_ring_as_configured;
mod hostile_bytes_give_valid_bodies;
mod logger_sends;
mod no_thread_is_ever_started;
mod old_kernels_do_without;
mod onboard_hides_the_key;
mod onboard_refused_leaves_all_as_it_was;
mod onboard_writes_the_identity;
mod one_stream_never_holds_another;
mod perf_records_reach_the_service;
mod proxy_real;
mod refused_record_is_set_aside;
mod render_prints_the_item;
mod requests_are_as_large_as_configured;
mod restart_after_kill_9_loses_nothing;
mod retry_after_has_bounds;
mod retry_limit_discards_and_tells;
mod retry_schedule_is_kept;
mod root_becomes_the_owner;
mod rsyslog_forwards;
mod sample_prints_counters;
mod sandbox_holds;
mod second_agent_is_kept_out;
mod senders_on_ipv6_are_heard;
mod sighup_reloads_or_says_why;
mod sigterm_stops_within_two_seconds;
mod sigusr1_flushes_at_once;
mod status_tells_what_happened;
mod syslog_ng_forwards;
mod tls_hello;
mod tls_malformed;
mod tls_matrix;
mod two_destinations_from_one_ring;
mod two_destinations_of_two_kinds;
mod unix_socket_comes_and_goes;
mod upgrade_keeps_everything;
mod upload_child_is_killed;
mod uploads_by_name_and_uncompressed;
mod wrong_ca_is_refused_and_data_kept;
