//! The files an agent is known by, and how they come to be.
