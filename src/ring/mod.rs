//! The ring: frames in one bounded file.
