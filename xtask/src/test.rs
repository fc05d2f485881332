//! `cargo xtask test`: all that must hold before a change lands, in the order of what fails cheapest.

use std::{process::Command, time::Instant};

use anyhow::{Result, bail};

use crate::{
    apt,
    command::{cargo, output, run, words},
};

/// With a `filter`, only the tests whose names contain it; without, format and clippy too.
pub fn test(args: &[String]) -> Result<()> {
    let (_, names) = words(args, &[], 1)?;
    let filter = names.first();
    let started = Instant::now();
    apt::install(apt::ALL)?;
    if filter.is_none() {
        step("format");
        run(cargo().args(["fmt", "--all", "--check"]))?;
        step("clippy");
        run(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    }
    step("tests");
    let before = Host::look();
    // One cargo run for all: another choice of packages would have other features and build everything twice. The
    // program itself is built on the way, beside the tests that drive it.
    let mut tests = cargo();
    let tested = run(tests.args(["test", "--quiet", "--workspace", "--no-fail-fast"]).args(filter));
    let left = Host::look().beyond(&before);
    tested?;
    if !left.is_empty() {
        bail!("the tests left these behind:\n  {}", left.join("\n  "));
    }
    println!("all of it took {} s", started.elapsed().as_secs());
    Ok(())
}

fn step(name: &str) {
    println!("── {name}");
}

/// What tests might leave on the host.
struct Host {
    facts: Vec<String>,
}

impl Host {
    fn look() -> Self {
        let mut facts = Vec::new();
        let commands: [(&str, &[&str]); 4] = [
            ("ip", &["-o", "-br", "link"]),
            ("ip", &["netns", "list"]),
            ("nft", &["list", "tables"]),
            ("pgrep", &["-a", "-f", "qemu-system|lodge (daemon|netd)"]),
        ];
        for (program, args) in commands {
            let text = output(Command::new(program).args(args)).unwrap_or_default();
            // Of a link only its name: state and counters change by themselves.
            facts.extend(text.lines().map(|line| match program {
                "ip" => format!("{program}: {}", line.split_whitespace().next().unwrap_or_default()),
                _ => format!("{program}: {line}"),
            }));
        }
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        facts.extend(
            mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(|at| format!("mount: {at}")),
        );
        Self { facts }
    }

    fn beyond(self, before: &Self) -> Vec<String> {
        self.facts.into_iter().filter(|fact| !before.facts.contains(fact)).collect()
    }
}
