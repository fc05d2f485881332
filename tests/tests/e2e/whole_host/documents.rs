//! The documents that Lodge was asked for with: a guest is defined, seeded, booted and asked by them as written.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Trace, host::finish, turn_alone};

use super::super::guest::{BOOT, host_with_image, ssh, ssh_key};

#[test]
fn the_documents_lodge_was_asked_for_with_run_as_written() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    if Path::new("/sys/class/net/virbr0").exists() {
        lodge_tests::skip("virbr0 is somebody's already");
        return Ok(());
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no checkout")?.join("examples");
    let example = |name: &str| examples.join(name).to_string_lossy().into_owned();
    let root;
    let before = Trace::look(Path::new("/nonexistent"));
    {
        let host = host_with_image()?;
        root = host.root().to_owned();
        let key = ssh_key(&host)?;
        host.lodge(&["net-define", &example("default.xml")])?.ok()?;
        host.lodge(&["net-start", "default"])?.ok()?;
        let clone = host.json(&["image", "clone", "debian-12", "rhel8.0"])?;
        let disk = clone["path"].as_str().context("the clone has no path")?;
        let document =
            std::fs::read_to_string(example("rhel8.0.xml"))?.replace("/var/lib/libvirt/images/rhel8", disk);
        let document = host.file("rhel8.0.xml", &document)?;
        host.lodge(&["define", &document])?.ok()?;
        let public = key.with_extension("pub").to_string_lossy().into_owned();
        let user_data = example("test-system.yaml");
        host.lodge(&["seed", "set", "rhel8.0", "--user-data", &user_data, "--ssh-key", &public])?.ok()?;
        host.lodge(&["start", "rhel8.0"])?.ok()?;
        host.lodge_for(BOOT, &["wait", "rhel8.0", "--for", "ready"])?.ok()?;

        let address = host.lodge(&["ip", "rhel8.0"])?.ok()?.lines().first().cloned().context("no address")?;
        ensure!(ssh(&host, &key, &address, "hostname")?.stdout.trim() == "test-system");
        let zone = ssh(&host, &key, &address, "timedatectl show -p Timezone --value")?;
        ensure!(zone.stdout.trim() == "Africa/Dar_es_Salaam", "{}", zone.stdout);
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "--max-time",
            "20",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &format!("http://{address}/"),
        ]);
        let answer = finish(&mut curl, Duration::from_mins(1), "curl")?.ok()?;
        ensure!(answer.stdout == "200", "nginx answered {}", answer.stdout);
        let mut dig = Command::new("dig");
        dig.args(["+short", "+timeout=5", "@192.168.122.1", "test-system"]);
        let name = finish(&mut dig, Duration::from_mins(1), "dig")?.ok()?;
        ensure!(
            name.stdout.trim() == address,
            "the guest's name gives {}, not {address}",
            name.stdout.trim()
        );
        let hardware = ssh(&host, &key, &address, "ls /sys/bus/pci/devices")?;
        for device in [
            "0000:00:02.0",
            "0000:00:02.6",
            "0000:01:00.0",
            "0000:02:00.0",
            "0000:03:00.0",
            "0000:04:00.0",
            "0000:05:00.0",
            "0000:06:00.0",
            "0000:00:1b.0",
            "0000:00:1f.2",
        ] {
            ensure!(
                hardware.stdout.contains(device),
                "the guest has no device at {device}:\n{}",
                hardware.stdout
            );
        }
    }
    before.is_unchanged(&root)
}
