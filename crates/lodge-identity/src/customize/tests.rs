#![allow(clippy::unwrap_used, reason = "a test ends there, and should")]

use lodge_model::guest_disk::{Edit, FileEdit, Files, Layout};

use super::*;
use crate::{Catalogue, Fresh, HostFacts, Operations, Plan, Purpose, Wish};

const ROOT: Owner = Owner { uid: 0, gid: 0, mode: 0o644 };

/// A small guest with two people in it.
fn guest() -> Files {
    let mut files = Files::default();
    let mut file = |at: &str, text: &str, owner| {
        let node = FileNode::File { bytes: text.as_bytes().to_vec(), size: text.len() as u64, owner };
        files.nodes.insert(FilePath::new(at).unwrap(), node);
    };
    file("/etc/os-release", "ID=debian\n", ROOT);
    file("/etc/debian_version", "12.5\n", ROOT);
    file("/usr/lib/systemd/systemd", "", ROOT);
    file("/etc/hosts", "127.0.0.1 localhost", ROOT);
    file("/etc/dos.ini", "a\r\n", Owner { mode: 0o600, ..ROOT });
    file(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\neve:x:1001:1001::/srv/eve:/bin/sh\n",
        ROOT,
    );
    file(
        "/etc/shadow",
        "root:!:1:0:9:7:::\nbob:$6$x$y:1:0:9:7:::\neve:*:1::::::\n",
        Owner { mode: 0o640, gid: 42, ..ROOT },
    );
    file("/etc/group", "root:x:0:\nsudo:x:27:bob,eve\nbob:x:1000:\neve:x:1001:root\n", ROOT);
    file("/etc/login.defs", "# UID_MIN 5\nUID_MIN\t\t1000\nUID_MAX 60000\n", ROOT);
    file("/root/.ssh/authorized_keys", "ssh-ed25519 OLD a\n", Owner { mode: 0o600, ..ROOT });
    file("/var/log/a.log", "1", ROOT);
    file("/var/log/b.log", "22", ROOT);
    file("/var/log/.hidden.log", "3", ROOT);
    file("/usr/share/zoneinfo/Europe/London", "TZif", ROOT);
    file("/etc/timezone", "Etc/UTC\n", ROOT);
    for directory in ["/etc", "/root", "/root/.ssh", "/home/bob", "/opt", "/var/log"] {
        let owner = if directory == "/home/bob" {
            Owner { uid: 1000, gid: 1000, mode: 0o755 }
        } else {
            Owner { mode: 0o755, ..ROOT }
        };
        files.nodes.insert(FilePath::new(directory).unwrap(), FileNode::Directory(owner));
    }
    files.nodes.insert(
        FilePath::new("/etc/localtime").unwrap(),
        FileNode::Link(b"/usr/share/zoneinfo/Etc/UTC".to_vec()),
    );
    files
}

fn step(option: &str, value: &str) -> Step {
    Step::parse(option, value, Vec::new()).unwrap()
}

fn planned(files: &Files, operations: &str, steps: Vec<Step>) -> Result<Plan, String> {
    let catalogue = Catalogue::builtin();
    let before = catalogue.read(&Layout::default(), files, &HostFacts::default());
    let mut wish = Wish::new(Purpose::Generalise, Fresh::new([1; 32]));
    wish.operations = Operations::parse(operations).unwrap();
    wish.steps = steps;
    catalogue.plan(&before, &Layout::default(), files, &wish).map_err(|error| error.to_string())
}

/// What the guest's files are after these steps.
fn after(steps: &[(&str, &str)]) -> Files {
    let mut files = guest();
    let steps = steps.iter().map(|(option, value)| step(option, value)).collect();
    let plan = planned(&files, "customize", steps).unwrap();
    for edit in &plan.edits {
        let Edit::File(edit) = edit else { panic!("{edit:?}") };
        files.apply(edit);
    }
    files
}

fn text(files: &Files, at: &str) -> String {
    files.text(at).unwrap_or_else(|| "(none)".to_owned())
}

#[test]
fn lines_are_appended_as_the_file_ends_its_lines() {
    let files = after(&[
        ("append-line", "/etc/hosts:10.0.0.1 foo"),
        ("append-line", "/etc/hosts:"),
        ("append-line", "/etc/hosts:10.0.0.2 bar:baz"),
        ("append-line", "/etc/dos.ini:b"),
        ("append-line", "/etc/new:one"),
    ]);
    assert_eq!(text(&files, "/etc/hosts"), "127.0.0.1 localhost\n10.0.0.1 foo\n\n10.0.0.2 bar:baz\n");
    assert_eq!(text(&files, "/etc/dos.ini"), "a\r\nb\r\n");
    assert_eq!(text(&files, "/etc/new"), "one\n");
}

#[test]
fn files_are_written_moved_linked_owned_and_deleted() {
    let files = after(&[
        ("write", "/etc/motd:hello\n"),
        ("chmod", "0600:/etc/motd"),
        ("copy", "/etc/dos.ini:/opt"),
        ("move", "/etc/hosts:/opt/hosts.old"),
        ("link", "/opt/hosts.old:/etc/hosts"),
        ("mkdir", "/srv/a/b"),
        ("chown", "7:8:/srv/a/b"),
        ("copy", "/etc/dos.ini:/srv/a"),
        ("chmod", "0700:/srv/a"),
        ("chmod", "493:/opt"),
        ("chown", "1000:1000:/opt/dos.ini"),
        ("touch", "/etc/touched"),
        ("truncate", "/var/log/a.log"),
        ("delete", "/var/log/b*"),
        ("delete", "/var/log/never"),
    ]);
    let owner = |at: &str| match files.node(at) {
        Some(FileNode::File { owner, .. } | FileNode::Directory(owner)) => {
            Some((owner.uid, owner.gid, owner.mode))
        }
        _ => None,
    };
    assert_eq!((text(&files, "/etc/motd").as_str(), owner("/etc/motd")), ("hello\n", Some((0, 0, 0o600))));
    assert_eq!(owner("/opt/dos.ini"), Some((1000, 1000, 0o600)));
    assert_eq!(
        (text(&files, "/srv/a/dos.ini").as_str(), owner("/srv/a/dos.ini")),
        ("a\r\n", Some((0, 0, 0o600)))
    );
    assert_eq!((owner("/opt"), owner("/srv/a/b")), (Some((0, 0, 0o755)), Some((7, 8, 0o755))));
    assert_eq!(files.node("/etc/hosts"), Some(&FileNode::Link(b"/opt/hosts.old".to_vec())));
    assert_eq!(text(&files, "/opt/hosts.old"), "127.0.0.1 localhost");
    assert_eq!((text(&files, "/etc/touched").as_str(), text(&files, "/var/log/a.log").as_str()), ("", ""));
    assert!(files.node("/var/log/b.log").is_none() && files.node("/var/log/.hidden.log").is_some());
}

#[test]
fn stars_spare_hidden_files_and_directories_are_emptied_file_by_file() {
    let files = after(&[("delete", "/var/log/*")]);
    assert!(files.node("/var/log/a.log").is_none() && files.node("/var/log/.hidden.log").is_some());
    let files = after(&[("truncate-recursive", "/var/log")]);
    for name in ["a.log", "b.log", ".hidden.log"] {
        assert_eq!(text(&files, &format!("/var/log/{name}")), "");
    }
}

#[test]
fn somebody_is_let_in_and_the_password_is_another() {
    let key = "ssh-ed25519 NEW bob@example.com";
    let files = after(&[
        ("ssh-inject", &format!("bob:string:{key}")),
        ("ssh-inject", &format!("root:string:{key}")),
        ("ssh-inject", &format!("root:string:{key}")),
        ("root-password", "crypt:$6$a$b"),
        ("password", "bob:locked:crypt:$6$c$d"),
        ("password", "eve:disabled"),
    ]);
    assert_eq!(text(&files, "/home/bob/.ssh/authorized_keys"), format!("{key}\n"));
    let bobs = |mode| Owner { uid: 1000, gid: 1000, mode };
    assert_eq!(files.node("/home/bob/.ssh"), Some(&FileNode::Directory(bobs(0o700))));
    assert!(
        matches!(files.node("/home/bob/.ssh/authorized_keys"), Some(FileNode::File { owner, .. }) if *owner == bobs(0o600))
    );
    assert_eq!(text(&files, "/root/.ssh/authorized_keys"), format!("ssh-ed25519 OLD a\n{key}\n"));
    let shadow = "root:$6$a$b:1:0:9:7:::\nbob:!!$6$c$d:1:0:9:7:::\neve:*:1::::::\n";
    assert_eq!(text(&files, "/etc/shadow"), shadow);
    assert!(
        matches!(files.node("/etc/shadow"), Some(FileNode::File { owner, .. }) if owner.mode == 0o640 && owner.gid == 42)
    );
}

/// Operations come first: what a template loses may be there again, new.
#[test]
fn a_key_comes_in_after_the_old_ones_went() {
    let mut files = guest();
    let plan =
        planned(&files, "ssh-userdir,customize", vec![step("ssh-inject", "root:string:ssh-ed25519 NEW")])
            .unwrap();
    for edit in &plan.edits {
        files.apply(edit.as_file().unwrap());
    }
    assert_eq!(text(&files, "/root/.ssh/authorized_keys"), "ssh-ed25519 NEW\n");
    let catalogue = Catalogue::builtin();
    let read = |files: &Files| catalogue.read(&Layout::default(), files, &HostFacts::default());
    let verdicts = crate::verify(&read(&guest()), &read(&files), &plan);
    assert!(verdicts.iter().all(|verdict| verdict.is_good), "{verdicts:?}");
}

#[test]
fn users_go_with_what_is_theirs() {
    let all = |keep: &[&str], remove: &[&str]| {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut files = guest();
        let plan = planned(&files, "user-account", vec![Step::users(set(keep), set(remove))]).unwrap();
        plan.edits.iter().for_each(|edit| files.apply(edit.as_file().unwrap()));
        (files, plan)
    };
    let (files, plan) = all(&[], &[]);
    assert_eq!(text(&files, "/etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
    assert_eq!(text(&files, "/etc/shadow"), "root:!:1:0:9:7:::\n");
    assert_eq!(text(&files, "/etc/group"), "root:x:0:\nsudo:x:27:\neve:x:1001:root\n");
    assert!(files.node("/home/bob").is_none());
    assert!(
        plan.customized
            .iter()
            .any(|change| change.place == "/srv/eve" && change.new.as_ref().unwrap().contains("stays"))
    );
    let (files, _) = all(&["bob"], &[]);
    assert!(text(&files, "/etc/passwd").contains("bob") && !text(&files, "/etc/passwd").contains("eve"));
    assert!(files.node("/home/bob").is_some());
    let (files, _) = all(&[], &["bob"]);
    assert!(!text(&files, "/etc/passwd").contains("bob") && text(&files, "/etc/passwd").contains("eve"));
}

#[test]
fn scripts_wait_for_the_first_boot_in_their_order() {
    let files = after(&[
        ("firstboot-command", "echo one; reboot"),
        ("firstboot-install", "nginx,curl"),
        ("timezone", "Europe/London"),
    ]);
    let one = "/usr/lib/lodge/first-boot/0001-echo-one--reboot";
    assert_eq!(text(&files, one), "#!/bin/sh\necho one; reboot\n");
    assert!(
        text(&files, "/usr/lib/lodge/first-boot/0002-install-nginx-curl")
            .contains("apt-get -q -y install nginx curl")
    );
    assert!(matches!(files.node(one), Some(FileNode::File { owner, .. }) if owner.mode == 0o755));
    assert_eq!(
        files.node("/etc/systemd/system/multi-user.target.wants/lodge-first-boot.service"),
        Some(&FileNode::Link(b"/etc/systemd/system/lodge-first-boot.service".to_vec()))
    );
    assert_eq!(
        files.node("/etc/localtime"),
        Some(&FileNode::Link(b"/usr/share/zoneinfo/Europe/London".to_vec()))
    );
    assert_eq!(text(&files, "/etc/timezone"), "Europe/London\n");
}

#[test]
fn files_come_in_with_their_owners() {
    let owner = Owner { uid: 5, gid: 6, mode: 0o640 };
    let upload = |path: &str| Upload::file(path, b"x".to_vec(), owner).unwrap();
    let steps = vec![
        Step::parse("upload", "here:/opt", vec![upload("here")]).unwrap(),
        Step::parse("upload", "here:/opt/other", vec![upload("here")]).unwrap(),
        Step::parse(
            "copy-in",
            "tree:/opt",
            vec![
                Upload::directory("tree", Owner { mode: 0o750, ..owner }).unwrap(),
                upload("tree/a"),
                Upload::link("tree/b", "a", owner).unwrap(),
            ],
        )
        .unwrap(),
    ];
    let mut files = guest();
    let plan = planned(&files, "customize", steps).unwrap();
    plan.edits.iter().for_each(|edit| files.apply(edit.as_file().unwrap()));
    for at in ["/opt/here", "/opt/other", "/opt/tree/a"] {
        assert!(
            matches!(files.node(at), Some(FileNode::File { owner: whose, .. }) if *whose == owner),
            "{at}"
        );
    }
    assert_eq!(files.node("/opt/tree"), Some(&FileNode::Directory(Owner { mode: 0o750, ..owner })));
    assert_eq!(files.node("/opt/tree/b"), Some(&FileNode::Link(b"a".to_vec())));
    let missing = Step::parse("copy-in", "here:/never", vec![upload("here")]).unwrap();
    assert!(planned(&guest(), "customize", vec![missing]).unwrap_err().contains("/never is no directory"));
    assert!(
        Upload::file("../x", Vec::new(), owner).is_err() && Upload::file("/x", Vec::new(), owner).is_err()
    );
}

#[test]
fn what_cannot_be_done_says_so_by_name() {
    for option in [
        "edit",
        "run",
        "run-command",
        "install",
        "update",
        "uninstall",
        "scrub",
        "tar-in",
        "inject-virtio-win",
        "script",
    ] {
        let fault = Step::parse(option, "x:y", Vec::new()).unwrap_err();
        assert!(matches!(fault, BadStep::Unsupported { .. }), "{fault}");
        assert!(fault.to_string().starts_with(&format!("--{option} is not supported: ")), "{fault}");
    }
    for (option, value) in [
        ("colour", "x"),
        ("append-line", "/etc/hosts"),
        ("append-line", "hosts:x"),
        ("append-line", "/a:x\ny"),
        ("chmod", "0999:/a"),
        ("chmod", "rwx:/a"),
        ("chown", "root:root:/a"),
        ("delete", "/var/[ab]"),
        ("delete", "/var/**"),
        ("mkdir", "/a/../b"),
        ("link", "/a:/b:/c"),
        ("password", "bob:password:secret"),
        ("password", "bob:crypt:a:b"),
        ("ssh-inject", "bob"),
        ("timezone", "../../etc/passwd"),
        ("firstboot-install", "nginx; rm -rf /"),
        ("upload", "x:/a"),
        ("write", "/a*:x"),
    ] {
        assert!(Step::parse(option, value, Vec::new()).is_err(), "{option} {value}");
    }
    for (option, value, words) in [
        ("ssh-inject", "nobody:string:k", "no user `nobody`"),
        ("ssh-inject", "eve:string:k", "/srv/eve"),
        ("root-password", "crypt:$6$a$b", ""),
        ("chmod", "0644:/never", "/never is not there"),
        ("truncate", "/never", "/never is not there"),
        ("move", "/opt:/srv", "is a directory"),
        ("timezone", "Mars/Base", "knows no time zone"),
        ("write", "/etc:x", "/etc is there and no file"),
    ] {
        let made = planned(&guest(), "customize", vec![step(option, value)]);
        match words {
            "" => drop(made.unwrap()),
            words => assert!(made.unwrap_err().contains(words), "{option} {value}"),
        }
    }
    // A step does not take away what the identity is to be.
    let mut files = guest();
    let host_name = FileNode::File { bytes: b"web1\n".to_vec(), size: 5, owner: ROOT };
    files.nodes.insert(FilePath::new("/etc/hostname").unwrap(), host_name);
    let catalogue = Catalogue::builtin();
    let before = catalogue.read(&Layout::default(), &files, &HostFacts::default());
    let mut wish = Wish::new(Purpose::Generalise, Fresh::new([1; 32]));
    wish.host_name = Some("web2".to_owned());
    wish.steps = vec![step("write", "/etc/hostname:other\n")];
    let fault = catalogue.plan(&before, &Layout::default(), &files, &wish).unwrap_err().to_string();
    assert!(fault.contains("--write") && fault.contains("host-name"), "{fault}");
}

#[test]
fn what_the_steps_must_see_is_asked_for() {
    let steps = [
        step("append-line", "/etc/hosts:x"),
        step("delete", "/var/log/*.log"),
        step("ssh-inject", "bob:string:k"),
    ];
    let wanted = super::wanted(&steps);
    let asked: Vec<String> = wanted.iter().map(|one| one.pattern.to_string()).collect();
    for pattern in ["/etc/hosts", "/var/log/*.log", "/home/*/.ssh/authorized_keys", "/etc/passwd"] {
        assert!(asked.iter().any(|one| one == pattern), "{asked:?}");
    }
}

#[test]
fn nothing_is_edited_where_it_is_so_already() {
    let plan = planned(
        &guest(),
        "customize",
        vec![step("chmod", "0644:/etc/hosts"), step("touch", "/etc/hosts"), step("mkdir", "/opt")],
    )
    .unwrap();
    let real: Vec<&FileEdit> = plan.edits.iter().filter_map(Edit::as_file).collect();
    // An owner that is as wished is found out by whoever edits.
    assert!(real.iter().all(|edit| matches!(edit, FileEdit::Own { .. })), "{real:?}");
}
