//! The worker alone, as `lodge disk-worker` is it: for the tests, and for a profiler.

use std::process::ExitCode;

fn main() -> ExitCode {
    lodge_disk::worker::main(std::env::args().nth(2).and_then(|number| number.parse().ok()))
}
