//! The project's own commands: `cargo xtask run`, `test`, `bench`, `compat`, `corpus`, `clients`, `lab`,
//! `fuzz`, `setup`, `codegen`.
//!
//! Kept to two small dependencies: on a bare machine this is compiled before anything else can happen.
//! Deliberately absent: anything the product itself should do. xtask calls the `lodge` program.

mod apt;
mod bench;
mod clients;
mod codegen;
mod command;
mod compat;
mod corpus;
mod fuzz;
mod lab;
mod run;
mod stop;
mod test;

use std::process::ExitCode;

use anyhow::{Result, bail};

/// A command: what is typed after `cargo xtask`, what it does, and what does it.
struct Verb {
    name: &'static str,
    /// Its arguments.
    usage: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const fn verb(
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
) -> Verb {
    Verb { name, usage, about, run }
}

const VERBS: &[Verb] = &[
    verb(
        "run",
        "[--stop] [--root DIR]",
        "from nothing to a running guest one can ssh into; with --stop that guest, its network and its daemon go",
        run::run,
    ),
    verb("test", "[FILTER]", "format, clippy, and every test, real guests included", test::test),
    verb(
        "bench",
        "[NAME…] [--peers]",
        "speed beside the bare floor and, with --peers, beside libvirtd and dnsmasq",
        bench::run,
    ),
    verb(
        "compat",
        "[SCRIPT…] [--accept] [--fresh] [--twice]",
        "the same client commands against libvirtd and against lodge, and what differs",
        compat::run,
    ),
    verb(
        "corpus",
        "[NAME…] [--fresh]",
        "ask a libvirtd of its own about the domains, networks and filters in crates/lodge-model/tests: NAME.out.xml of each \
         NAME.in.xml, NAME.refused.txt of each NAME.refused.xml; those that are missing, those named, or with --fresh all",
        corpus::run,
    ),
    verb(
        "clients",
        "[--accept] [--fresh] [--twice]",
        "install virt-install, virt-manager, cockpit, vagrant, virsh 9 and 12 and the like, and run their scripts",
        clients::run,
    ),
    verb(
        "lab",
        "[storage] [clones] [layouts]",
        "tests that take many minutes: LVM and NFS in a guest that serves as a host, ten booted clones, disks of all layouts",
        lab::lab,
    ),
    verb(
        "fuzz",
        "[TARGET…] [--seconds N]",
        "the parsers of foreign bytes under libFuzzer, each for N seconds (60); no nightly compiler is needed",
        fuzz::fuzz,
    ),
    verb("setup", "", "only install the Debian packages that run and test need", setup),
    verb("codegen", "", "write the generated files anew: docs/openapi.json, docs/libvirt.md", codegen::run),
];

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
    let Some((name, rest)) = args.split_first() else {
        print!("{}", help());
        return Ok(());
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        print!("{}", help());
        return Ok(());
    }
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        bail!("there is no command `{name}`\n\n{}", help());
    };
    // Asked for help, nothing is installed, built or run.
    if command::asks_help(rest) {
        print!("{}", verb.help());
        return Ok(());
    }
    (verb.run)(rest)
}

impl Verb {
    fn help(&self) -> String {
        format!(
            "Usage: {}\n\n  {}\n",
            format!("cargo xtask {} {}", self.name, self.usage).trim_end(),
            self.about
        )
    }
}

fn help() -> String {
    let about = |verb: &Verb| {
        format!("  {}\n      {}\n", format!("{} {}", verb.name, verb.usage).trim_end(), verb.about)
    };
    let verbs: String = VERBS.iter().map(about).collect();
    format!("Usage: cargo xtask COMMAND\n\n{verbs}")
}

fn setup(args: &[String]) -> Result<()> {
    command::words(args, &[], 0)?;
    apt::install(apt::ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_command() {
        for verb in VERBS {
            assert!(help().contains(verb.name) && verb.help().contains(verb.about), "{}", verb.name);
        }
    }
}
