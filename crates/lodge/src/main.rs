//! One program for a Linux host's virtual machines: the command line and the daemon.
fn main() {}
