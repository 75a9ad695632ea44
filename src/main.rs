//! argv in, exit code out; everything else is in the library.

fn main() -> std::process::ExitCode {
    gimg::cli::run(std::env::args_os().collect::<Vec<_>>().into_iter())
}
