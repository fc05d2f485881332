//! A guest: a network namespace with one cable to a bridge, and programs run in it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use super::space::run;

/// A namespace that is gone when this is dropped.
pub struct Guest {
    pub name: String,
    dir: tempfile::TempDir,
}

/// What a DHCP client was given.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Given {
    pub ip: String,
    pub mask: String,
    pub router: String,
    pub dns: String,
    pub domain: String,
    pub lease: String,
    pub mtu: String,
    pub hostname: String,
}

const SCRIPT: &str = r#"#!/bin/sh
case "$1" in
bound|renew)
	ip address flush dev "$interface"
	ip address add "$ip/$mask" dev "$interface"
	[ -n "$router" ] && ip route add default via "$router"
	printf '%s\n' "ip=$ip" "mask=$mask" "router=$router" "dns=$dns" "domain=$domain" "lease=$lease" "mtu=$mtu" "hostname=$hostname" >DIR/given
	;;
esac
exit 0
"#;

impl Guest {
    /// A guest with this hardware address on `bridge`.
    pub fn on(bridge: &str, mac: &str) -> Self {
        let guest = Self::apart();
        let host_end = format!("h{}", guest.name.trim_start_matches("lodge-t"));
        let name = &guest.name;
        run(
            "ip",
            &[
                "link", "add", &host_end, "type", "veth", "peer", "name", "eth0", "address", mac, "netns",
                name,
            ],
        );
        run("ip", &["link", "set", &host_end, "master", bridge, "up"]);
        guest.run("ip", &["link", "set", "eth0", "up"]);
        guest
    }

    /// A namespace without a cable.
    pub fn apart() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lodge-t{}-{number}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let dir = tempfile::tempdir().unwrap();
        let guest = Self { name, dir };
        guest.run("ip", &["link", "set", "lo", "up"]);
        let script = guest.script();
        let text = SCRIPT.replace("DIR", &guest.dir.path().display().to_string());
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        guest
    }

    fn script(&self) -> PathBuf {
        self.dir.path().join("script")
    }

    /// A command inside.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).args(args);
        command
    }

    /// Runs a program inside to its end.
    pub fn output(&self, program: &str, args: &[&str]) -> Output {
        self.command(program, args).output().unwrap()
    }

    /// Runs a program inside, which must succeed.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.output(program, args);
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Asks for an address as a guest does; `None`: it got none.
    pub fn ask(&self, more: &[&str]) -> Option<Given> {
        let given = self.dir.path().join("given");
        let _ = std::fs::remove_file(&given);
        let script = self.script().display().to_string();
        let mut args = vec!["udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "4", "-T", "1", "-s", &script];
        args.extend(["-O", "mtu", "-O", "hostname"]);
        args.extend(more);
        let client = self.output("busybox", &args);
        // Seen only where the test fails.
        eprintln!("{}{}", String::from_utf8_lossy(&client.stdout), String::from_utf8_lossy(&client.stderr));
        let text = std::fs::read_to_string(given).ok()?;
        let mut found = Given::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let field = match key {
                "ip" => &mut found.ip,
                "mask" => &mut found.mask,
                "router" => &mut found.router,
                "dns" => &mut found.dns,
                "domain" => &mut found.domain,
                "lease" => &mut found.lease,
                "mtu" => &mut found.mtu,
                _ => &mut found.hostname,
            };
            value.clone_into(field);
        }
        Some(found)
    }

    /// Takes an address and gives it back. (With `-q` busybox's client would not send the release.)
    pub fn ask_and_release(&self) -> String {
        let given = self.dir.path().join("given");
        let _ = std::fs::remove_file(&given);
        let script = self.script().display().to_string();
        let mut client = self
            .command("busybox", &["udhcpc", "-i", "eth0", "-f", "-n", "-R", "-s", &script])
            .spawn()
            .unwrap();
        let start = std::time::Instant::now();
        let text = loop {
            match std::fs::read_to_string(&given) {
                Ok(text) if text.contains("hostname=") => break text,
                _ => assert!(start.elapsed() < super::space::DEADLINE, "no lease"),
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        run("kill", &[&client.id().to_string()]);
        client.wait().unwrap();
        text.lines().next().and_then(|line| line.strip_prefix("ip=")).unwrap().to_owned()
    }

    /// What `dig` answers, one record per line.
    pub fn dig(&self, args: &[&str]) -> String {
        let mut all = vec!["+short", "+time=3", "+tries=1"];
        all.extend(args);
        let output = self.output("dig", &all);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The status of an answer: NOERROR, NXDOMAIN, …
    pub fn dig_status(&self, args: &[&str]) -> String {
        let mut all = vec!["+time=3", "+tries=1"];
        all.extend(args);
        let text = String::from_utf8_lossy(&self.output("dig", &all).stdout).into_owned();
        let status = text.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
        status.unwrap_or("no answer").to_owned()
    }

    /// Does an address answer?
    pub fn reaches(&self, ip: &str) -> bool {
        self.output("busybox", &["ping", "-c", "1", "-W", "2", ip]).status.success()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}
