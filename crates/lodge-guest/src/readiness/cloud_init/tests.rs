//! cloud-init's records as versions 22.4 (Debian 12) and 25 write them, good and bad.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them so")]

use expect_test::expect;

use super::*;

fn status(stage: &str, done: usize, bad: Option<(&str, &str)>, recoverable: Option<(&str, &str)>) -> String {
    let mut v1 = serde_json::json!({
        "datasource": "DataSourceNoCloud [seed=/dev/sr0][dsmode=net]",
        "stage": (!stage.is_empty()).then_some(stage),
    });
    for (at, name) in STAGES.into_iter().enumerate() {
        let errors: Vec<_> =
            bad.iter().filter(|(stage, _)| *stage == name).map(|(_, error)| *error).collect();
        let began = at < done || name == stage;
        v1[name] = serde_json::json!({
            "errors": errors,
            "start": began.then_some(1_732_547_546.84),
            "finished": (at < done).then_some(1_732_547_547.53),
        });
        if let Some((_, complaint)) = recoverable.filter(|(stage, _)| *stage == name) {
            v1[name]["recoverable_errors"] = serde_json::json!({ "WARNING": [complaint] });
        }
    }
    serde_json::json!({ "v1": v1 }).to_string()
}

/// `str()` of what 22.4 appends for a module that fails because a program is missing.
const LOCALE: &str = "('locale', ProcessExecutionError(\"Unexpected error while running command.\\nCommand: \
    ['update-locale', '--locale-file=/etc/default/locale', 'LANG=C.UTF-8']\\nExit code: -\\nReason: [Errno 2] No \
    such file or directory: b'update-locale'\\nStdout: -\\nStderr: -\"))";
const PACKAGES: &str = "('package-update-upgrade-install', ProcessExecutionError(\"Unexpected error while running \
    command.\\nCommand: ['eatmydata', 'apt-get', '--option=Dpkg::Options::=--force-confold', '--assume-yes', \
    '--quiet', 'install', 'nginxx']\\nExit code: 100\\nReason: -\\nStdout: \\nStderr: \"))";
const RESULT: &str =
    r#"{"v1": {"datasource": "DataSourceNoCloud [seed=/dev/sr0][dsmode=net]", "errors": []}}"#;
const NO_SOURCE: &str = r#"{"v1": {"datasource": "DataSourceNone", "errors": []}}"#;

fn line(status: &str, result: Option<&str>) -> String {
    let records = Records {
        status: Some(status.as_bytes()),
        result: result.map(str::as_bytes),
        output: Some(b"\nSetting up nginx (1.22) ...\n"),
        seed: true,
    };
    let report = digest(&records);
    let verdict = match &report.verdict {
        Verdict::Running => "running".to_owned(),
        Verdict::Done => format!("done {:?}", report.recoverable),
        Verdict::Failed(failure) => format!("failed {}: {}", failure.module, failure.reason),
    };
    format!("{verdict} | {}", report.message)
}

#[test]
fn records_lead_to_verdicts() {
    let table = [
        line("", None),
        line("not json", None),
        line(r#"{"v1": {"init": 7, "stage": ["x"]}}"#, None),
        line(&status("init-local", 0, None, None), None),
        line(&status("", 2, None, None), None),
        line(&status("modules-final", 3, None, None), None),
        line(&status("modules-final", 3, Some(("modules-config", LOCALE)), None), None),
        line(&status("", 4, Some(("modules-config", LOCALE)), None), Some(RESULT)),
        line(&status("", 4, Some(("modules-final", PACKAGES)), None), Some(RESULT)),
        line(
            &status("", 4, Some(("init-local", "Unknown network config version: None")), None),
            Some(RESULT),
        ),
        line(&status("", 4, None, None), Some(RESULT)),
        line(&status("", 4, None, None), Some(NO_SOURCE)),
        line(&status("", 4, None, Some(("init", "Key(s) deprecated: apt_update"))), Some(RESULT)),
        line(
            &status(
                "",
                4,
                None,
                Some(("modules-final", "Running module package_update_upgrade_install (<module …>) failed")),
            ),
            Some(RESULT),
        ),
    ];
    expect![[r#"
        running | cloud-init: begins; Setting up nginx (1.22) ...
        running | cloud-init: begins; Setting up nginx (1.22) ...
        running | cloud-init: begins; Setting up nginx (1.22) ...
        running | cloud-init: stage init-local; Setting up nginx (1.22) ...
        running | cloud-init: stage init is done; Setting up nginx (1.22) ...
        running | cloud-init: stage modules-final; Setting up nginx (1.22) ...
        running | cloud-init: stage modules-final; failed so far: locale; Setting up nginx (1.22) ...
        failed locale: `update-locale --locale-file=/etc/default/locale LANG=C.UTF-8`: [Errno 2] No such file or directory: b'update-locale' | cloud-init: locale failed
        failed package-update-upgrade-install: `eatmydata apt-get --option=Dpkg::Options::=--force-confold --assume-yes --quiet install nginxx` ended with exit code 100 | cloud-init: package-update-upgrade-install failed
        failed init-local: Unknown network config version: None | cloud-init: init-local failed
        done [] | cloud-init is done
        failed datasource: cloud-init did not find the seed | cloud-init: datasource failed
        done ["WARNING: Key(s) deprecated: apt_update"] | cloud-init is done, with complaints
        failed package_update_upgrade_install: the module failed | cloud-init: package_update_upgrade_install failed"#]].assert_eq(&table.join("\n"));
}

#[test]
fn progress_changes_the_mark_and_standing_still_does_not() {
    let of = |text: &str| digest(&Records { status: Some(text.as_bytes()), ..Records::default() }).mark;
    let (one, two) = (status("init", 1, None, None), status("modules-config", 2, None, None));
    assert_eq!(of(&one), of(&one));
    assert_ne!(of(&one), of(&two));
}

#[test]
fn the_status_command_is_understood_in_both_shapes() {
    let old = br#"{"boot_status_code": "enabled-by-generator", "datasource": "nocloud",
        "detail": "DataSourceNoCloud [seed=/dev/sr0][dsmode=net]", "errors": [], "status": "done",
        "last_update": "x", "schemas": {}, "_schema_version": "1"}"#;
    assert_eq!(digest_command(old, true).unwrap().verdict, Verdict::Done);
    let new = br#"{"boot_status_code": "enabled-by-generator", "datasource": "nocloud", "detail": "DataSourceNoCloud",
        "errors": [], "extended_status": "degraded running", "stage": "modules-final", "status": "running",
        "init": {"errors": [], "finished": 1.0, "start": 1.0, "recoverable_errors": {"WARNING": ["odd"]}}}"#;
    let report = digest_command(new, true).unwrap();
    assert_eq!((report.verdict, report.stage.as_deref()), (Verdict::Running, Some("modules-final")));
    assert_eq!(report.recoverable, ["WARNING: odd"]);
    let error = br#"{"status": "error", "detail": "DataSourceNoCloud", "errors": ["('locale', Boom())"]}"#;
    let Verdict::Failed(failure) = digest_command(error, true).unwrap().verdict else { panic!("not failed") };
    assert_eq!((failure.module.as_str(), failure.reason.as_str()), ("locale", "Boom()"));
    let disabled = br#"{"status": "disabled", "detail": "Cloud-init disabled by cloud-init-generator"}"#;
    assert!(matches!(digest_command(disabled, true).unwrap().verdict, Verdict::Failed(_)));
    assert!(digest_command(disabled, false).is_none());
    assert!(digest_command(b"usage: cloud-init", true).is_none());
}

/// As 22.4 writes it: `util.logexc` says it once as a warning and once with the trace back.
const LOG: &str = "\
2026-11-20 13:00:01,001 - util.py[WARNING]: Something else in another module
2026-11-20 13:00:02,001 - util.py[WARNING]: Running module locale (<module 'cloudinit.config.cc_locale'>) failed
2026-11-20 13:00:02,002 - util.py[DEBUG]: Running module locale (<module 'cloudinit.config.cc_locale'>) failed
Traceback (most recent call last):
  File \"/usr/lib/python3/dist-packages/cloudinit/config/modules.py\", line 246, in _run_modules
    ran, _r = cc.run(
cloudinit.subp.ProcessExecutionError: Unexpected error while running command.
Command: ['update-locale', '--locale-file=/etc/default/locale', 'LANG=C.UTF-8']
Exit code: -
Reason: [Errno 2] No such file or directory: b'update-locale'
Stdout: -
Stderr: -
2026-11-20 13:00:09,001 - util.py[WARNING]: Failed to install packages: ['nginxx']
2026-11-20 13:00:09,001 - util.py[DEBUG]: Failed to install packages: ['nginxx']
Traceback (most recent call last):
  File \"/usr/lib/python3/dist-packages/cloudinit/distros/debian.py\", line 1, in x
cloudinit.subp.ProcessExecutionError: Unexpected error while running command.
Command: ['eatmydata', 'apt-get', 'install', 'nginxx']
Exit code: 100
Reason: -
2026-11-20 13:00:09,002 - cc_package_update_upgrade_install.py[WARNING]: 1 failed with exceptions, re-raising
2026-11-20 13:00:09,003 - util.py[WARNING]: Running module package-update-upgrade-install (<module x>) failed
";

#[test]
fn the_logs_line_of_a_failure_is_found_with_its_exception() {
    let lines: Vec<_> = ["locale", "package_update_upgrade_install", "unheard-of"]
        .map(|module| log_line(LOG.as_bytes(), module))
        .into();
    let lines: Vec<_> = lines.into_iter().map(Option::unwrap_or_default).collect();
    expect![[r#"
        2026-11-20 13:00:02,001 - util.py[WARNING]: Running module locale (<module 'cloudinit.config.cc_locale'>) failed | cloudinit.subp.ProcessExecutionError: Unexpected error while running command.; Command: ['update-locale', '--locale-file=/etc/default/locale', 'LANG=C.UTF-8']; Reason: [Errno 2] No such file or directory: b'update-locale'
        2026-11-20 13:00:09,001 - util.py[WARNING]: Failed to install packages: ['nginxx'] | cloudinit.subp.ProcessExecutionError: Unexpected error while running command.; Command: ['eatmydata', 'apt-get', 'install', 'nginxx']; Exit code: 100
        2026-11-20 13:00:01,001 - util.py[WARNING]: Something else in another module"#]].assert_eq(&lines.join("\n"));
    assert_eq!(log_line(b"2026 - util.py[DEBUG]: all is well\n", "locale"), None);
    assert_eq!(log_line(b"", "locale"), None);
    let output = b"Reading package lists...\nE: Unable to locate package nginxx\nE: Couldn't find any package by regex\n";
    assert_eq!(package_manager_line(output).as_deref(), Some("E: Unable to locate package nginxx"));
    assert_eq!(package_manager_line(b"Setting up nginx\n"), None);
}

#[test]
fn a_guests_text_cannot_write_to_the_terminal() {
    let bad = status("", 4, Some(("init", "('x', \u{1b}[2Jgone\r\n)")), None);
    let report = digest(&Records { status: Some(bad.as_bytes()), result: Some(b"{}"), ..Records::default() });
    let Verdict::Failed(failure) = report.verdict else { panic!("not failed") };
    assert!(!failure.reason.contains(['\u{1b}', '\r', '\n']), "{:?}", failure.reason);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), seed: bool) {
        digest(&Records { status: Some(&bytes), result: Some(&bytes), output: Some(&bytes), seed });
        digest_command(&bytes, seed);
        log_line(&bytes, "x");
        ds_identify_line(&bytes);
    }
}
