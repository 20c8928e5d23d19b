//! Bytes of one syslog message to its parts, without allocation.
