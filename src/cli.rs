//! argv to a command: options, usage text, exit codes.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command that the arguments (without the program's name) ask for.
pub fn main(_arguments: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::from(64)
}
