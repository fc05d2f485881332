//! netd alone, for the tests of networks: what `lodge netd` runs, without the rest of the program.

fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    lodge_network::netd::run(std::env::args().skip(1))
}
