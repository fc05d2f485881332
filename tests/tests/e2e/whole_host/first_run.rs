//! The first `lodge run` on a host that has nothing yet: the network is made, or what is in the way is told at once.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use lodge_tests::{Host, Trace, finish, turn_alone};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(2);
/// Somebody's bridge, with an address in the subnet that would be taken first.
const SOMEBODYS: &str = "lgt-first";

/// Takes the bridge away whatever becomes of the test.
struct Bridge;

impl Bridge {
    fn make() -> Result<Self> {
        ip(&["link", "add", SOMEBODYS, "type", "bridge"])?;
        let bridge = Self;
        ip(&["address", "add", "192.168.122.77/24", "dev", SOMEBODYS])?;
        ip(&["link", "set", SOMEBODYS, "up"])?;
        Ok(bridge)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Err(error) = ip(&["link", "delete", SOMEBODYS]) {
            eprintln!("{SOMEBODYS} is left: {error:#}");
        }
    }
}

fn ip(args: &[&str]) -> Result<()> {
    finish(Command::new("ip").args(args), PATIENCE, "ip")?.ok()?;
    Ok(())
}

fn networks(host: &Host) -> Result<Vec<Value>> {
    Ok(host.json(&["net-list", "--all"])?.as_array().cloned().unwrap_or_default())
}

#[test]
fn a_first_run_makes_the_network_default_where_there_is_room() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let before = Trace::look(Path::new("/nonexistent"));
    let root;
    {
        let bridge = Bridge::make()?;
        let host = Host::start()?;
        root = host.root().to_owned();
        let image = host.root().join("tiny.qcow2");
        let image = image.to_string_lossy();
        finish(
            Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", &image, "1M"]),
            PATIENCE,
            "qemu-img",
        )?
        .ok()?;
        host.lodge(&["image", "import", "--format", "qcow2", "tiny", &image])?.ok()?;
        let run = |args: &[&str]| {
            host.lodge_for(PATIENCE, &[&["run", "--memory", "64M", "--no-wait"][..], args].concat())
        };

        // What cannot be run makes no network, and a network that is named is not made.
        run(&["no-such-image"])?.fails_saying(&["no-such-image"])?;
        run(&["tiny", "--name", "a", "--network", "nosuch"])?.fails_saying(&["no network `nosuch`"])?;
        ensure!(networks(&host)?.is_empty(), "{:?}", networks(&host)?);
        ensure!(host.json(&["list", "--all"])?.as_array().is_some_and(Vec::is_empty));

        run(&["tiny", "--name", "a"])?.ok()?;
        let made = networks(&host)?;
        ensure!(made.len() == 1 && made[0]["name"] == "default", "{made:?}");
        ensure!(made[0]["active"] == true && made[0]["autostart"] == true, "{made:?}");
        let document = host.lodge(&["net-dumpxml", "default"])?.ok()?.stdout;
        ensure!(
            !document.contains("192.168.122.") && document.contains("<ip address='192.168."),
            "{document}"
        );

        // One that is down is started; where it is named, its user is told.
        host.lodge(&["rm", "--force", "a"])?.ok()?;
        host.lodge(&["net-destroy", "default"])?.ok()?;
        run(&["tiny", "--name", "b", "--network", "default"])?
            .fails_saying(&["network 'default' is not active", "lodge net-start default"])?;
        run(&["tiny", "--name", "b"])?.ok()?;
        ensure!(networks(&host)?[0]["active"] == true, "{:?}", networks(&host)?);
        drop(bridge);
    }
    before.is_unchanged(&root)
}
