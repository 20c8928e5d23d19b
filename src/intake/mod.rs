//! Where syslog bytes arrive.
