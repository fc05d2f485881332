//! What a stage's error texts mean: which module failed, why, and what to do.

use super::super::Failure;
use super::LINE_MAX_CHARS;

pub(super) fn failure(stage: &str, error: &str) -> Failure {
    // `('package-update-upgrade-install', ProcessExecutionError("…"))`
    let tuple = error.strip_prefix("('").and_then(|rest| rest.split_once("', "));
    let (module, reason) = match tuple {
        Some((module, reason)) => (module, reason.strip_suffix(')').unwrap_or(reason)),
        None => (stage, error),
    };
    Failure {
        module: module.chars().take(80).collect(),
        reason: command_failure(reason)
            .unwrap_or_else(|| reason.to_owned())
            .chars()
            .take(LINE_MAX_CHARS)
            .collect(),
        log_line: None,
        hint: Some(hint(module)),
        stalled: false,
    }
}

/// `ProcessExecutionError("…\nCommand: ['a', 'b']\nExit code: 100\nReason: -\n…")` as a sentence. The text is a
/// Python repr: its newlines are a backslash and an `n`.
fn command_failure(reason: &str) -> Option<String> {
    let text = reason.strip_prefix("ProcessExecutionError(")?.replace("\\n", "\n");
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?.trim();
        let value = value.trim_end_matches(['"', ')']);
        (!matches!(value, "" | "-")).then(|| value.to_owned())
    };
    let words = field("Command")?;
    let command = words.trim_matches(['[', ']']).split(", ").map(|word| word.trim_matches(['\'', '"']));
    let command = command.collect::<Vec<_>>().join(" ");
    Some(match (field("Reason"), field("Exit code")) {
        (Some(reason), _) => format!("`{command}`: {reason}"),
        (None, Some(code)) => format!("`{command}` ended with exit code {code}"),
        (None, None) => format!("`{command}` failed"),
    })
}

/// A complaint that is in truth the failure of a module: 23.4 and later end with no error all the same (cloud-init
/// issue 6281).
pub(super) fn module_failure(complaint: &str) -> Option<Failure> {
    let (module, rest) = complaint.strip_prefix("Running module ")?.split_once(' ')?;
    rest.ends_with("failed").then(|| failure("", &format!("('{module}', the module failed)")))
}

fn hint(module: &str) -> String {
    let words = match module.replace('-', "_").as_str() {
        "locale" => "the image lacks the package `locales`: add it to the image",
        "package_update_upgrade_install" | "apt_configure" => {
            "see whether the guest reaches its package mirror and whether the packages' names are right"
        }
        "scripts_user" | "runcmd" | "bootcmd" => {
            "a command of the user-data failed: its output is in the guest's \
                                                  /var/log/cloud-init-output.log"
        }
        "users_groups" | "ssh" => "see `users` and the keys in the user-data",
        "write_files" => "see `write_files` in the user-data",
        _ => "see /var/log/cloud-init.log in the guest",
    };
    words.to_owned()
}

pub(super) fn seed_not_read() -> Failure {
    Failure {
        module: "datasource".to_owned(),
        reason: "cloud-init did not find the seed".to_owned(),
        log_line: None,
        hint: Some(
            "the guest must see the seed's disk (label CIDATA), have the drivers for it early in its boot, and have \
             NoCloud in `datasource_list` of /etc/cloud"
                .to_owned(),
        ),
        stalled: false,
    }
}
