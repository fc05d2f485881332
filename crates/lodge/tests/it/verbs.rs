//! Verbs against a canned daemon: what is asked of it, what is printed. The texts were compared with virsh's.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::lodge;
use crate::peer::Peer;

fn domain(name: &str, id: Option<i32>) -> Value {
    json!({
        "id": id, "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f", "name": name,
        "state": if id.is_some() { "running" } else { "shut off" }, "reason": "booted", "persistent": true,
        "autostart": false, "managed_save": false, "vcpus": 2, "max_memory_kib": 1_048_576, "memory_kib": 1_048_576,
        "os_type": "hvm", "security_model": "none", "security_doi": "0",
    })
}

/// Runs one line and shows all that came of it.
fn shows(peer: &Peer, line: &[&str], expected: &Expect) {
    let before = peer.asked().len();
    let done = lodge(&[&["-c", peer.socket.as_str()], line].concat(), "");
    let asked = peer.asked();
    let calls: String = asked[before..].iter().flat_map(|call| ["> ", call, "\n"]).collect();
    expected.assert_eq(&format!("{calls}{}{}= {}\n", done.stdout, done.stderr, done.code));
}

#[test]
fn list_and_its_filters() {
    let peer =
        Peer::answering(&[("GET /v1/domains", 200, json!([domain("db", None), domain("web1", Some(3))]))]);
    shows(
        &peer,
        &["list", "--all"],
        &expect![[r#"
        > GET /v1/domains
         Id   Name   State
        -----------------------
         3    web1   running
         -    db     shut off

        = 0
    "#]],
    );
    shows(
        &peer,
        &["list", "--state-paused", "--name", "--transient"],
        &expect![[r#"
        > GET /v1/domains?active=true&persistent=false&state=paused
        web1
        db

        = 0
    "#]],
    );
    shows(
        &peer,
        &["-q", "list", "--all", "--uuid"],
        &expect![[r#"
        > GET /v1/domains
        6695eb01-f6a4-8304-79aa-97f2502e193f
        6695eb01-f6a4-8304-79aa-97f2502e193f
        = 0
    "#]],
    );
}

#[test]
fn start_and_what_it_may_answer() {
    let refused = json!({
        "kind": "unavailable", "message": "cannot start domain `db`", "causes": ["QEMU ended before its monitor answered"],
        "hint": "read its log",
    });
    let peer = Peer::answering(&[
        ("GET /v1/domains/web1", 200, domain("web1", Some(3))),
        ("GET /v1/domains/db", 200, domain("db", None)),
        ("GET /v1/domains/new", 200, domain("new", None)),
        ("POST /v1/domains/db/start", 503, refused),
        ("POST /v1/domains/new/start", 200, domain("new", Some(4))),
    ]);
    shows(
        &peer,
        &["start", "web1"],
        &expect![[r#"
        > GET /v1/domains/web1

        error: Domain is already active
        = 1
    "#]],
    );
    shows(
        &peer,
        &["start", "db"],
        &expect![[r#"
        > GET /v1/domains/db
        > POST /v1/domains/db/start {}

        error: Failed to start domain 'db'
        error: QEMU ended before its monitor answered
        hint: read its log
        = 1
    "#]],
    );
    shows(
        &peer,
        &["start", "--paused", "--domain", "new"],
        &expect![[r#"
        > GET /v1/domains/new
        > POST /v1/domains/new/start {"paused":true}
        Domain 'new' started

        = 0
    "#]],
    );
    shows(
        &peer,
        &["start", "nosuch"],
        &expect![[r#"
        > GET /v1/domains/nosuch

        error: failed to get domain 'nosuch'
        hint: `lodge list --all` shows the domains there are
        = 1
    "#]],
    );
    shows(
        &peer,
        &["-q", "start", "new"],
        &expect![[r#"
        > GET /v1/domains/new
        > POST /v1/domains/new/start {}
        = 0
    "#]],
    );
}

#[test]
fn facts_of_a_domain() {
    let peer = Peer::answering(&[("GET /v1/domains/web1", 200, domain("web1", Some(3)))]);
    shows(
        &peer,
        &["domid", "web1"],
        &expect![[r#"
        > GET /v1/domains/web1
        3

        = 0
    "#]],
    );
    shows(
        &peer,
        &["domstate", "web1", "--reason"],
        &expect![[r#"
        > GET /v1/domains/web1
        running (booted)

        = 0
    "#]],
    );
    shows(
        &peer,
        &["domuuid", "web1", "-o", "json"],
        &expect![[r#"
        > GET /v1/domains/web1
        "6695eb01-f6a4-8304-79aa-97f2502e193f"
        = 0
    "#]],
    );
}

#[test]
fn shutdown_by_mode() {
    let peer = Peer::answering(&[("POST /v1/domains/web1/shutdown", 200, domain("web1", Some(3)))]);
    shows(
        &peer,
        &["shutdown", "web1", "--mode", "agent,acpi"],
        &expect![[r#"
        > POST /v1/domains/web1/shutdown {"mode":["agent","acpi"]}
        Domain 'web1' is being shutdown

        = 0
    "#]],
    );
    shows(
        &peer,
        &["shutdown", "web1", "--mode", "foo"],
        &expect![[r#"

        error: Unknown mode foo value, expecting 'acpi', 'agent', 'initctl', 'signal', or 'paravirt'
        = 1
    "#]],
    );
}

#[test]
fn undefine_tells_what_would_go() {
    let report = json!({ "domain": "db", "dry_run": true, "files": [
        { "path": "/etc/libvirt/qemu/db.xml", "what": "definition", "size_bytes": 4096, "removed": true },
        { "path": "/pool/db.qcow2", "what": "disk vda", "size_bytes": 3_221_225_472_u64, "removed": false,
          "kept_because": "it is not asked for" },
    ]});
    let peer = Peer::answering(&[("DELETE /v1/domains/db", 200, report)]);
    shows(
        &peer,
        &["undefine", "db", "--nvram", "--dry-run"],
        &expect![[r#"
        > DELETE /v1/domains/db?nvram=true&dry_run=true
         Fate                         What         Size      Path
        -------------------------------------------------------------------------------
         goes                         definition   4.0 KiB   /etc/libvirt/qemu/db.xml
         stays: it is not asked for   disk vda     3.0 GiB   /pool/db.qcow2

        = 0
    "#]],
    );
    shows(
        &peer,
        &["undefine", "db", "--nvram", "--keep-nvram"],
        &expect![[r#"

        error: Options --nvram and --keep-nvram are mutually exclusive
        = 1
    "#]],
    );
}

#[test]
fn networks_and_leases() {
    let network = json!({ "name": "default", "uuid": "dd8fe884-6c02-601e-7551-cca97df1c5df", "active": true,
        "persistent": true, "autostart": false, "bridge": "virbr0" });
    let lease = json!([{ "expires_ms": 1_795_181_734_000_u64, "mac": "52:54:00:12:34:56", "family": "ipv4",
        "ip": "192.168.122.23", "prefix": 24, "hostname": "web1" }]);
    let peer = Peer::answering(&[
        ("GET /v1/networks/default", 200, network),
        ("GET /v1/networks/default/leases", 200, lease),
    ]);
    shows(
        &peer,
        &["net-info", "default"],
        &expect![[r#"
        > GET /v1/networks/default
        Name:           default
        UUID:           dd8fe884-6c02-601e-7551-cca97df1c5df
        Active:         yes
        Persistent:     yes
        Autostart:      no
        Bridge:         virbr0

        = 0
    "#]],
    );
    shows(
        &peer,
        &["net-dhcp-leases", "default"],
        &expect![[r#"
        > GET /v1/networks/default/leases
         Expiry Time           MAC address         Protocol   IP address          Hostname   Client ID or DUID
        --------------------------------------------------------------------------------------------------------
         2026-11-20 13:35:34   52:54:00:12:34:56   ipv4       192.168.122.23/24   web1       -

        = 0
    "#]],
    );
    shows(
        &peer,
        &["net-start", "default"],
        &expect![[r#"
        > GET /v1/networks/default

        error: Failed to start network default
        error: Requested operation is not valid: Network 'default' is already running
        = 1
    "#]],
    );
    shows(
        &peer,
        &["network", "info", "nosuch"],
        &expect![[r#"
        > GET /v1/networks/nosuch
        error: failed to get network 'nosuch'
        hint: `lodge net-list --all` shows the networks there are
        = 3
    "#]],
    );
}

#[test]
fn a_job_is_followed_to_its_end() {
    let job = |state: &str| json!({ "id": 7, "kind": "image.build", "subject": "debian-12", "state": state, "started_ms": 1000, "ended_ms": 3500 });
    let mut failed = job("failed");
    failed["error"] =
        json!({ "kind": "exhausted", "message": "cannot build `debian-12`", "causes": ["no space left"] });
    let peer = Peer::answering(&[
        ("POST /v1/images/build", 202, job("running")),
        ("GET /v1/jobs/7", 200, job("done")),
    ]);
    shows(
        &peer,
        &["image", "build", "debian-12"],
        &expect![[r#"
        > POST /v1/images/build {"name":"debian-12"}
        > GET /v1/jobs/7
        Image 'debian-12' is there (2.5 s)
        = 0
    "#]],
    );
    let peer =
        Peer::answering(&[("POST /v1/images/build", 202, job("running")), ("GET /v1/jobs/7", 200, failed)]);
    shows(
        &peer,
        &["image", "build", "debian-12"],
        &expect![[r#"
        > POST /v1/images/build {"name":"debian-12"}
        > GET /v1/jobs/7
        error: cannot build `debian-12`: no space left
        = 10
    "#]],
    );
}

#[test]
fn no_address_yet_is_told_with_the_next_step() {
    let peer = Peer::answering(&[
        ("GET /v1/domains/web1", 200, domain("web1", Some(3))),
        ("GET /v1/domains/web1/interfaces", 200, json!([])),
        ("GET /v1/domains/db", 200, domain("db", None)),
    ]);
    shows(
        &peer,
        &["ip", "web1"],
        &expect![[r#"
        > GET /v1/domains/web1
        > GET /v1/domains/web1/interfaces?source=lease
        error: domain 'web1' has no address yet
        hint: `lodge wait web1 --for address` waits for it
        = 11
    "#]],
    );
    shows(
        &peer,
        &["ssh", "db"],
        &expect![[r#"
        > GET /v1/domains/db
        error: domain 'db' is shut off
        hint: `lodge start db` starts it
        = 5
    "#]],
    );
}

#[test]
fn changes_and_figures() {
    let refused = json!({ "kind": "invalid_state", "message": "domain is not running", "causes": [] });
    let figures = json!([{ "name": "rd_req", "value": 12 }, { "name": "rd_bytes", "value": 6144 }]);
    let peer = Peer::answering(&[
        ("GET /v1/domains/web1", 200, domain("web1", Some(3))),
        ("GET /v1/domains/db", 200, domain("db", None)),
        ("POST /v1/domains/web1/changes", 200, domain("web1", Some(3))),
        ("POST /v1/domains/db/changes", 409, refused),
        ("GET /v1/domains/web1/figures", 200, figures.clone()),
        ("GET /v1/figures", 200, json!([{ "name": "web1", "uuid": uuid::Uuid::nil(), "figures": figures }])),
    ]);
    let asked = |line: &[&str]| {
        let before = peer.asked().len();
        let done = lodge(&[&["-c", peer.socket.as_str()], line].concat(), "");
        let calls = peer.asked().split_off(before);
        (calls.last().cloned().unwrap_or_default(), done.stdout + &done.stderr, done.code)
    };
    let (call, said, code) = asked(&["setmem", "web1", "512M", "--live"]);
    let memory = r#"POST /v1/domains/web1/changes?live=true {"change":"memory","memory_kib":524288}"#;
    assert_eq!((call.as_str(), said.as_str(), code), (memory, "\n", 0));
    let (_, said, code) = asked(&["setmaxmem", "db", "1G", "--live"]);
    let refused = "\nerror: Unable to change MaxMemorySize\nerror: domain is not running\n";
    assert_eq!((said.as_str(), code), (refused, 1));
    let line = ["attach-disk", "web1", "/a.qcow2", "vdb", "--subdriver", "qcow2", "--persistent"];
    let (call, said, code) = asked(&line);
    assert!(call.starts_with("POST /v1/domains/web1/changes?live=true&config=true {"), "{call}");
    assert!(call.contains(r#""change":"attach-device""#) && call.contains("<target dev='vdb'/>"), "{call}");
    assert_eq!((said.as_str(), code), ("Disk attached successfully\n\n", 0));
    let (call, said, _) = asked(&["domblkstat", "web1", "vda"]);
    assert_eq!(call, "GET /v1/domains/web1/figures?of=disk&device=vda");
    assert_eq!(said, "vda rd_req 12\nvda rd_bytes 6144\n\n");
    let (call, said, _) = asked(&["domstats", "--block", "--backing"]);
    assert_eq!(call, "GET /v1/figures?groups=block&backing=true");
    assert_eq!(said, "Domain: 'web1'\n  rd_req=12\n  rd_bytes=6144\n\n");
    // What contradicts itself is refused before anything is asked.
    let (call, _, code) = asked(&["setvcpus", "web1", "2", "--current", "--live"]);
    assert_eq!((call.as_str(), code), ("", 1));
    let (_, said, code) = asked(&["dommemstat", "nosuch"]);
    assert!(said.contains("error: failed to get domain 'nosuch'") && code == 1, "{said}");
}

#[test]
fn entries_of_networks_and_keys_of_guests() {
    let network = json!({
        "name": "lan", "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f", "active": true, "persistent": true,
        "autostart": false,
    });
    let peer = Peer::answering(&[
        ("GET /v1/networks/lan", 200, network.clone()),
        ("POST /v1/networks/lan/update", 200, network),
        ("GET /v1/domains/web1", 200, domain("web1", Some(3))),
        ("POST /v1/domains/web1/changes", 200, domain("web1", Some(3))),
    ]);
    let update = |line: &[&str], expected: &Expect| {
        shows(&peer, &[&["net-update", "lan"], line].concat(), expected);
    };
    update(
        &["add", "dns-txt", "<txt name='a' value='b'/>"],
        &expect![[r#"
        > GET /v1/networks/lan
        > POST /v1/networks/lan/update {"act":"add-last","section":"dns-txt","xml":"<txt name='a' value='b'/>"}
        Updated network lan live state

        = 0
    "#]],
    );
    update(
        &["delete", "dns-txt", "<txt name='a'/>", "--config"],
        &expect![[r#"
        > GET /v1/networks/lan
        > POST /v1/networks/lan/update?config=true {"act":"delete","section":"dns-txt","xml":"<txt name='a'/>"}
        Updated network lan persistent config

        = 0
    "#]],
    );
    update(
        &["modify", "dns-txt", "<txt name='a'/>", "--config", "--live"],
        &expect![[r#"
        > GET /v1/networks/lan
        > POST /v1/networks/lan/update?live=true&config=true {"act":"modify","section":"dns-txt","xml":"<txt name='a'/>"}
        Updated network lan persistent config and live state

        = 0
    "#]],
    );
    update(
        &["put", "dns-txt", "<txt/>"],
        &expect![[r#"

        error: unrecognized command name 'put'
        = 1
    "#]],
    );
    update(
        &["add", "dns-txt", "/nonesuch.xml"],
        &expect![[r#"

        error: Failed to open file '/nonesuch.xml': No such file or directory
        = 1
    "#]],
    );
    shows(
        &peer,
        &["send-key", "web1", "KEY_A", "0x1e", "--holdtime", "50"],
        &expect![[r#"
        > GET /v1/domains/web1
        > POST /v1/domains/web1/changes {"change":"keys","codeset":"linux","codes":[30,30],"hold_ms":50}

        = 0
    "#]],
    );
    shows(
        &peer,
        &["send-key", "web1", "KEY_A", "--codeset", "usb"],
        &expect![[r#"

        error: invalid keycode: 'KEY_A'
        = 1
    "#]],
    );
    shows(
        &peer,
        &["send-key", "web1"],
        &expect![[r#"
        error: command 'send-key' requires <keycode>... option
        hint: `lodge help send-key` tells its options
        = 1
    "#]],
    );
}
