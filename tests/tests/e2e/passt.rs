//! A guest on passt, by the command line: who serves it, which port leads to it, and what is left of it.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use lodge_tests::{Host, document::tiny_with, skip, turn};

/// The passt whose log is below `root`: its pid and the user it runs as.
fn passt(root: &Path) -> Result<Option<(u32, u32)>> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let is_below = fs::read_link(entry.path().join("fd/1")).is_ok_and(|output| output.starts_with(root));
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if is_below && name.starts_with("passt") {
            return Ok(Some((pid, entry.metadata()?.uid())));
        }
    }
    Ok(None)
}

#[test]
fn a_guests_passt_is_its_own_users_outlives_the_daemon_and_goes_with_the_guest() -> Result<()> {
    let Some(_turn) = turn() else { return Ok(()) };
    let leads_out = fs::read_to_string("/proc/net/route")?
        .lines()
        .any(|route| route.split_whitespace().nth(1) == Some("00000000"));
    if !Path::new("/usr/bin/passt").exists() || !leads_out {
        skip("there is no passt, or no default route");
        return Ok(());
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let card = format!(
        "<interface type='user'><mac address='52:54:00:00:00:31'/><backend type='passt'/><model type='virtio'/>\
         <portForward proto='tcp' address='127.0.0.1'><range start='{port}' to='80'/></portForward></interface>"
    );
    let mut host = Host::start()?;
    let document = host.file("out.xml", &tiny_with("out", &card))?;
    host.lodge(&["define", &document])?.ok()?;
    host.lodge(&["start", "out"])?.ok()?;
    let (pid, user) = passt(host.root())?.context("no passt")?;
    let qemu = host.json(&["dominfo", "out"])?["pid"].as_u64().context("no pid")?;
    ensure!(fs::metadata(format!("/proc/{qemu}"))?.uid() == user && user != 0, "it runs as {user}");
    TcpStream::connect(("127.0.0.1", port)).context("the port leads nowhere")?;

    host.kill_daemon()?;
    host.start_daemon()?;
    ensure!(passt(host.root())? == Some((pid, user)), "passt did not outlive the daemon");
    TcpStream::connect(("127.0.0.1", port)).context("the port leads nowhere any more")?;
    host.lodge(&["destroy", "out"])?.ok()?;
    ensure!(passt(host.root())?.is_none(), "passt outlived its guest");

    // A port that is somebody's already: said by its number, and nothing is left half-started.
    let _taken = TcpListener::bind(("127.0.0.1", port))?;
    host.lodge(&["start", "out"])?.fails_saying(&["interface[1]", "passt"])?;
    ensure!(passt(host.root())?.is_none(), "a passt was left");
    Ok(())
}
