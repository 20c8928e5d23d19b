//! `omsd render`: raw syslog lines to the items that would be uploaded, for "why does it look like this?".
