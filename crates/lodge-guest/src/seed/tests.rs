//! Seeds: what is refused, what is noted, and what a guest would find on the disk.

use std::path::Path;
use std::process::Command;

use expect_test::expect;

use super::*;

const TEST_SYSTEM: &[u8] = include_bytes!("../../../../examples/test-system.yaml");
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1bP6sZ1Y4l3wQxMd9yE0l2o2v3kPZ0dO5m8c9a2B4x me@host";

fn spec(user_data: Option<&[u8]>) -> SeedSpec {
    SeedSpec {
        instance_id: "iid-5f1b".to_owned(),
        hostname: "web1".to_owned(),
        user_data: user_data.map(|text| UserData::parse(text).unwrap()),
        ssh_keys: vec![format!("{KEY}\n")],
        network: Network::Dhcp(vec!["52:54:00:00:00:01".parse().unwrap()]),
        vendor_data: None,
    }
}

/// What the system's own tools find in the image: its label, and the files by Joliet or Rock Ridge names.
fn read_back(iso: &Path, flag: &str, file: &str) -> Option<Vec<u8>> {
    let output = Command::new("isoinfo").args([flag, "-x", &format!("/{file}"), "-i"]).arg(iso).output();
    output.ok().map(|output| output.stdout)
}

#[test]
fn the_examples_cloud_config_is_on_the_disk_as_written_with_the_key_beside_it() {
    let seed = nocloud(&spec(Some(TEST_SYSTEM))).unwrap();
    assert_eq!(seed.notes.len(), 2, "{:?}", seed.notes);
    assert!(seed.notes[0].contains("`apt_update` is an old name of `package_update`"), "{:?}", seed.notes);
    assert!(seed.iso.windows(TEST_SYSTEM.len()).any(|window| window == TEST_SYSTEM));
    // ECMA-119, 8.4: the primary volume descriptor and its volume identifier.
    assert_eq!(&seed.iso[0x8001..0x8006], b"CD001");
    assert_eq!(&seed.iso[0x8028..0x8048], format!("{LABEL:32}").as_bytes());
    assert!(seed.iso.len() < 512 << 10, "{}", seed.iso.len());

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("seed.iso");
    std::fs::write(&path, &seed.iso).unwrap();
    for flag in ["-R", "-J"] {
        let Some(user_data) = read_back(&path, flag, "user-data") else {
            eprintln!("skipped: no isoinfo here");
            return;
        };
        assert_eq!(user_data, TEST_SYSTEM, "{flag}");
        let meta: serde_json::Value =
            serde_json::from_slice(&read_back(&path, flag, "meta-data").unwrap()).unwrap();
        assert_eq!(meta["public-keys"], serde_json::json!([KEY]));
        assert_eq!((&meta["instance-id"], &meta["local-hostname"]), (&"iid-5f1b".into(), &"web1".into()));
        let network: serde_json::Value =
            serde_json::from_slice(&read_back(&path, flag, "network-config").unwrap()).unwrap();
        assert_eq!(network["ethernets"]["nic0"]["match"]["macaddress"], "52:54:00:00:00:01");
    }
}

#[test]
fn a_seed_without_user_data_is_still_a_seed() {
    let seed = nocloud(&spec(None)).unwrap();
    assert!(seed.notes.is_empty());
    assert!(seed.iso.windows(13).any(|window| window == b"#cloud-config"));
}

fn judge(text: &[u8]) -> String {
    use std::error::Error;
    match UserData::parse(text) {
        Ok(user_data) => format!("{:?} {:?}", user_data.kind(), user_data.notes()),
        Err(fault) => {
            assert!(fault.source().is_none());
            format!("refused: {fault} ({})", fault.hint().unwrap())
        }
    }
}

#[test]
fn user_data_is_judged_by_its_first_line_and_its_yaml() {
    let texts: [&[u8]; 22] = [
        b"#cloud-config\npackages: [nginx]\n",
        b"\n  #Cloud-Config\n{}",
        b"#cloud-config\n# nothing else\n",
        b"# cloud-config\npackages: [nginx]\n",
        b"#cloud config\n",
        b"#could-config\n",
        "\u{feff}#cloud-config\n".as_bytes(),
        b"packages:\n - nginx\n",
        b"",
        b"#cloud-config\npackages:\n\t- nginx\n",
        b"#cloud-config\nruncmd: [echo \"secret\nusers: x\n",
        b"#cloud-config\n- a\n- b\n",
        b"#cloud-config\npakages: [nginx]\nmy_own_module: 1\n",
        b"#cloud-config\npackages: [a]\npackages: [b]\n",
        b"#!/bin/bash\necho hello\n",
        b"## template: jinja\n#cloud-config\nhostname: {{ v1.region }}\n",
        b"#include\nhttps://example.org/config\n",
        b"Content-Type: multipart/mixed; boundary=\"x\"\n",
        b"#cloud-config-archive\n- type: text/cloud-config\n",
        b"\x1f\x8b\x08\x00",
        b"#cloud-config\nmotd: \xff\n",
        b"#cloud-config\na: &a [x]\nb: *c\n",
    ];
    let table: Vec<String> = texts.iter().map(|text| judge(text)).collect();
    expect![[r#"
        CloudConfig []
        CloudConfig []
        CloudConfig []
        refused: line 1: `# cloud-config` is not `#cloud-config`: cloud-init would pass over the whole text (write `#cloud-config` as the first line, with nothing before it and no blanks in it)
        refused: line 1: `#cloud config` is not `#cloud-config`: cloud-init would pass over the whole text (write `#cloud-config` as the first line, with nothing before it and no blanks in it)
        refused: line 1: `#could-config` is not `#cloud-config`: cloud-init would pass over the whole text (write `#cloud-config` as the first line, with nothing before it and no blanks in it)
        refused: line 1: `\u{feff}#cloud-config` is not `#cloud-config`: cloud-init would pass over the whole text (write `#cloud-config` as the first line, with nothing before it and no blanks in it)
        refused: line 1: `packages:` tells cloud-init nothing: it would pass over the whole text (begin it with `#cloud-config` (YAML) or `#!/bin/sh` (a script))
        refused: it is empty (begin it with `#cloud-config` (YAML) or `#!/bin/sh` (a script))
        refused: line 3, column 2: tabs disallowed within this context (block indentation) (correct the text there; YAML is indented with blanks, never with tabs)
        refused: line 3, column 6: illegal placement of ':' indicator (correct the text there; YAML is indented with blanks, never with tabs)
        refused: it is a YAML list, not a mapping of keys to values: cloud-init would refuse it (write `key: value` lines below `#cloud-config`)
        CloudConfig ["cloud-init knows no `pakages`; did you mean `packages`?"]
        CloudConfig ["line 3: the key stands there a second time; cloud-init takes the last"]
        Script []
        Jinja []
        Include []
        Mime []
        Archive []
        Gzip []
        refused: it is not UTF-8 text: the first wrong byte is in line 2 (save it as UTF-8)
        refused: line 3, column 4: alias references unknown anchor (correct the text there; YAML is indented with blanks, never with tabs)"#]].assert_eq(&table.join("\n"));
}

#[test]
fn a_fault_never_shows_the_texts_secrets() {
    let text = b"#cloud-config\npassword: hunter2\nchpasswd: {list: [a: hunter2\n";
    let fault = UserData::parse(text).unwrap_err();
    assert!(!format!("{fault} {fault:?}").contains("hunter2"), "{fault:?}");
    assert!(!format!("{:?}", UserData::parse(b"#cloud-config\npassword: hunter2\n")).contains("hunter2"));
}

#[test]
fn users_without_the_default_user_and_a_key_for_it_are_told() {
    for (users, told) in [
        ("users: [default, {name: me}]", false),
        ("users: [{name: me}]", true),
        ("users: []", true),
        ("users: me, default", false),
        ("user: me", false),
    ] {
        let seed = nocloud(&spec(Some(format!("#cloud-config\n{users}\n").as_bytes()))).unwrap();
        assert_eq!(seed.notes.iter().any(|note| note.contains("default")), told, "{users}");
    }
}

#[test]
fn wrong_keys_and_host_names_are_refused_by_name() {
    let with_key = |key: &str| SeedSpec { ssh_keys: vec![KEY.to_owned(), key.to_owned()], ..spec(None) };
    let error = nocloud(&with_key("-----BEGIN OPENSSH PRIVATE KEY-----")).unwrap_err();
    assert_eq!(error.to_string(), "the SSH key number 2 cannot be used");
    assert!(error.hint().unwrap().contains(".pub"));
    for (name, right) in
        [("web1", true), ("a.b-c", true), ("", false), ("a_b", false), ("-a", false), ("a..b", false)]
    {
        assert_eq!(nocloud(&SeedSpec { hostname: name.to_owned(), ..spec(None) }).is_ok(), right, "{name}");
    }
}

#[test]
fn a_host_name_is_made_of_a_domains_name() {
    for (name, host) in [
        ("web1", "web1"),
        ("rhel8.0", "rhel8-0"),
        ("My VM (old)", "my-vm-old"),
        ("___", "guest"),
        ("é", "guest"),
    ] {
        assert_eq!(hostname_of(name), host);
    }
    assert!(hostname_of(&"x".repeat(100)).len() <= 63);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_judge_panic(text in "(#cloud-config\n)?[\\PC\n\t:\\-\\[\\]{}&*!|>'\"]{0,80}") {
        let _ = UserData::parse(text.as_bytes());
    }
}
