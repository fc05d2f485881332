//! `cargo xtask run --stop`: the demonstration's guests, networks and daemon go; what they hold stays on disk.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    command::{output, run as run_command},
    run::{self, Demo},
};

/// How long a guest may take to power off before it is cut off. Under TCG a shutdown takes its time.
const POWER_OFF: Duration = Duration::from_mins(1);

/// Takes everything down. What is down already is fine.
pub fn stop(demo: &Demo) -> Result<()> {
    if !demo.root.join("var").is_dir() || !demo.built() {
        println!("nothing was ever started in {}", demo.root.display());
        return Ok(());
    }
    // Guests outlive their daemon: if it was killed, a new one finds them and can stop them.
    run::start_daemon(demo)?;
    for domain in names(demo, &["list", "--name"])? {
        println!("stopping {domain}");
        let asked = output(&mut demo.lodge(&["shutdown", &domain]));
        let deadline = Instant::now() + POWER_OFF;
        while asked.is_ok()
            && Instant::now() < deadline
            && names(demo, &["list", "--name"])?.contains(&domain)
        {
            std::thread::sleep(Duration::from_millis(200));
        }
        if names(demo, &["list", "--name"])?.contains(&domain) {
            run_command(&mut demo.lodge(&["destroy", &domain]))?;
        }
    }
    for network in names(demo, &["net-list", "--name"])? {
        run_command(&mut demo.lodge(&["net-destroy", &network]))?;
    }
    let pid = daemon_pid(demo)?;
    run_command(Command::new("kill").arg(pid.to_string()))?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::metadata(format!("/proc/{pid}")).is_ok() {
        if Instant::now() > deadline {
            bail!("the daemon (pid {pid}) is still there 20 s after it was asked to stop");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("all is down; {} keeps the image and the guest's disk", demo.root.display());
    Ok(())
}

fn names(demo: &Demo, args: &[&str]) -> Result<Vec<String>> {
    let text = output(&mut demo.lodge(args))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn daemon_pid(demo: &Demo) -> Result<u64> {
    demo.json(&["version"])?["pid"].as_u64().context("`lodge version` names no pid of the daemon")
}
