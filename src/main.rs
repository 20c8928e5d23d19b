//! `omsd`: see the library's first page for the map.

fn main() -> std::process::ExitCode {
    omsd::cli::main(std::env::args_os().skip(1))
}
