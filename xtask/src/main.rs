//! The project's own commands: `cargo xtask run`, `test`, `bench`, `compat`, `lab`, `setup`, `codegen`.
//!
//! Kept to two small dependencies: on a bare machine this is compiled before anything else can happen.
//! Deliberately absent: anything the product itself should do. xtask calls the `lodge` program.

mod apt;
mod bench;
mod clients;
mod codegen;
mod command;
mod compat;
mod lab;
mod run;
mod stop;
mod test;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Usage: cargo xtask COMMAND

  run [--root DIR]         from nothing to a running guest one can ssh into
  run --stop [--root DIR]  take that guest, its network and its daemon down again
  test [FILTER]            format, clippy, and every test, real guests included
  bench [NAME] [--peers]   speed beside the bare floor and, with --peers, beside libvirtd and dnsmasq
  compat [SCRIPT…]         the same client commands against libvirtd and against lodge, and what differs
  lab                      tests of LVM and NFS in a guest that serves as a host; some minutes
  clients                  install virt-install, virt-manager, virsh 9 and 12 and the like, and run their scripts
  setup                    only install the Debian packages that the above need
  codegen                  write the generated files (docs/openapi.json) anew
";

fn main() -> ExitCode {
    match run_command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_command() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    match args.first().map(String::as_str) {
        Some("run") => run::run(rest),
        Some("test") => test::test(rest),
        Some("bench") => bench::run(rest),
        Some("compat") => compat::run(rest),
        Some("lab") => lab::lab(rest),
        Some("clients") => clients::run(rest),
        Some("setup") => apt::install(apt::ALL),
        Some("codegen") => codegen::run(),
        None | Some("help" | "-h" | "--help") => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => bail!("there is no command `{other}`\n\n{HELP}"),
    }
}
