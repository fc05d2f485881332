//! What works, and what is said, where no daemon runs.

use serde_json::Value;

use crate::lodge;

#[test]
fn verbs_of_virsh_end_with_1_and_ours_by_kind() {
    let list = lodge(&["-c", "/nonexistent", "list"], "");
    assert_eq!((list.code, list.stdout.as_str()), (1, "\n"));
    assert!(
        list.stderr.starts_with("error: failed to connect to the hypervisor\nerror: no lodge daemon answers")
    );
    assert!(list.stderr.contains("\nhint: start one with `lodge daemon`"), "{}", list.stderr);
    assert_eq!(lodge(&["-c", "/nonexistent", "image", "list"], "").code, 11);
    assert_eq!(lodge(&["-c", "nosuch://x/", "image", "list"], "").code, 2);
    assert_eq!(lodge(&["start"], "").code, 1);
    assert_eq!(lodge(&["run"], "").code, 2);
    assert_eq!(lodge(&["nosuch"], "").code, 2);
    assert_eq!(lodge(&["--version"], "").stdout, format!("lodge {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_failure_is_a_document_too() {
    let done = lodge(&["-c", "/nonexistent", "-o", "json", "list"], "");
    let body: Value = serde_json::from_str(&done.stderr).expect("JSON");
    assert_eq!(body["kind"], "unavailable");
    assert_eq!(done.stdout, "");
}

/// The verdict differs from host to host; that there is one, drawn from a guest that ran or did not, does not.
#[test]
fn the_host_check_needs_no_daemon() {
    let done = lodge(&["-c", "/nonexistent", "host", "check", "-o", "json"], "");
    let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let checks = report["checks"].as_array().expect("checks");
    let kvm = checks.iter().find(|check| check["id"] == "kvm.run").expect("KVM is proven or not");
    let found = kvm["found"].as_str().expect("words");
    let verdicts = ["usable: ", "present but emulated: ", "absent: ", "no permission: ", "broken: "];
    assert!(verdicts.iter().any(|verdict| found.starts_with(verdict)), "{found}");
    assert!(!found.contains("the probe"), "the probe itself must run: {found}");
    assert_eq!(done.code, i32::from(report["verdict"] == "missing"));
}

#[test]
fn the_shell_goes_on_after_a_failure() {
    let input = "echo one 'two  three'\nnosuch\nlist --bad; pwd\ncd /\npwd\nquit\necho never\n";
    let done = lodge(&["-c", "/nonexistent", "shell", "-q"], input);
    assert!(done.stdout.starts_with("one two  three\n"), "{}", done.stdout);
    assert!(done.stdout.ends_with("\n/\n"), "{}", done.stdout);
    assert!(done.stderr.contains("error: unknown command: 'nosuch'\n"));
    assert!(done.stderr.contains("error: command 'list' doesn't support option --bad\n"));
}

#[test]
fn man_pages_and_completions_are_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = directory.path().to_str().expect("UTF-8");
    assert_eq!(lodge(&["man", target], "").code, 0);
    assert!(directory.path().join("lodge-net-dhcp-leases.1").metadata().expect("a page").len() > 100);
    assert!(lodge(&["completion", "bash"], "").stdout.contains("complete -F _lodge"));
}

#[test]
fn two_daemons_options_are_understood() {
    let done = lodge(&["daemon", "--accelerator-fallback", "sometimes"], "");
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("allow, refuse"), "{}", done.stderr);
}
