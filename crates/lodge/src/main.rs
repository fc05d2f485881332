//! One program for a Linux host's virtual machines: the command line and the daemon.
//!
//! ```text
//!  args (what was typed) ──▶ Verb ──▶ domain · network · instance · host   one file per group of verbs
//!                             │           all through lodge_client, the REST API and nothing else
//!                             └─────▶ daemon · netd · shell · manual
//! ```
//!
//! [`session`] holds what every verb shares: the connection, the way to print. [`failure`] is how all of them fail.

#![allow(clippy::format_push_string, reason = "short texts for people, built once per command")]
#![cfg_attr(test, allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them"))]

mod adopt;
mod args;
mod called;
mod changes;
mod daemon;
mod disk;
mod domain;
mod failure;
mod help;
mod host;
mod instance;
mod machine;
mod manual;
mod network;
mod network_filter;
mod output;
mod refusal;
mod sasl_user;
mod secret;
mod session;
mod shell;
mod snapshot;
mod ssh_helper;
mod storage;
mod terminal;
mod virsh;

fn main() -> std::process::ExitCode {
    if let Some(code) = daemon::kvm_probe(std::env::args_os()) {
        return code;
    }
    if let Some(code) = daemon::disk_edit(std::env::args_os()) {
        return code;
    }
    if let Some(code) = daemon::disk_worker(std::env::args_os()) {
        return code;
    }
    let words = match called::settle(std::env::args_os().collect()) {
        called::Called::Plain(words) => words,
        called::Called::Done(code) => return code,
    };
    match args::parse(words) {
        Ok(cli) => args::run(cli),
        Err(refusal) => refusal.tell(),
    }
}
