//! The files an agent is known by, and how they come to be.

pub mod certificate;
pub(crate) mod der;
