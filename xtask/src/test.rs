//! `cargo xtask test`: all that must hold before a change lands, in the order of what fails cheapest.

use std::{process::Command, time::Instant};

use anyhow::{Result, bail};

use crate::{
    apt,
    command::{cargo, output, run},
};

/// With a `filter`, only the tests whose names contain it; without, format and clippy too.
pub fn test(args: &[String]) -> Result<()> {
    let filter = match args {
        [] => None,
        [filter] => Some(filter.as_str()),
        _ => bail!("usage: cargo xtask test [FILTER]"),
    };
    let started = Instant::now();
    apt::install(apt::ALL)?;
    if filter.is_none() {
        step("format");
        run(cargo().args(["fmt", "--all", "--check"]))?;
        step("clippy");
        run(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    }
    step("build");
    // The whole-product tests drive the program itself, so it is built first, as a user would have it.
    run(cargo().args(["build", "--quiet", "-p", "lodge"]))?;
    step("tests");
    let before = Host::look();
    let mut units = cargo();
    units.args(["test", "--workspace", "--exclude", "lodge-tests", "--no-fail-fast"]).args(filter);
    let mut whole = cargo();
    whole.args(["test", "-p", "lodge-tests", "--no-fail-fast"]).args(filter);
    // One after another: each compares the host before and after, and a guest under TCG takes all processors.
    whole.args(["--", "--test-threads=1"]);
    let tested = run(&mut units).and(run(&mut whole));
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
