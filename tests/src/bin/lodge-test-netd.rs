//! netd alone, for the tests of networks: what `lodge netd` runs, without the rest of the program.

fn main() -> std::process::ExitCode {
    lodge_network::netd::run(std::env::args().skip(1))
}
