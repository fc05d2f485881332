//! Judging a cloud-config before a guest is started with it.
//!
//! Only what makes cloud-init drop the text is a fault; what it takes otherwise than its writer may think is a
//! note. Values never come into notes: they may be secrets.

use serde_json::Value;

use super::UserDataFault;
use super::user_data::distance;

/// What was found in a cloud-config that will be taken.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) notes: Vec<String>,
    pub(super) drops_default_user: bool,
    pub(super) hostname: Option<String>,
}

/// Names that cloud-init still takes, and what it calls them now (22.2 and later warn of them).
const OLD_NAMES: [(&str, &str); 6] = [
    ("apt_update", "package_update"),
    ("apt_upgrade", "package_upgrade"),
    ("apt_reboot_if_required", "package_reboot_if_required"),
    ("ca-certs", "ca_certs"),
    ("grub-dpkg", "grub_dpkg"),
    ("ubuntu_advantage", "ubuntu_pro"),
];

/// The top-level keys of cloud-init's schema, 22.4 to 25.
const KEYS: &[&str] = &[
    "allow_public_ssh_keys",
    "ansible",
    "apk_repos",
    "apt",
    "apt_mirror",
    "apt_pipelining",
    "apt_preserve_sources_list",
    "apt_proxy",
    "apt_sources",
    "autoinstall",
    "bootcmd",
    "byobu_by_default",
    "ca_certs",
    "chef",
    "chpasswd",
    "cloud_config_modules",
    "cloud_final_modules",
    "cloud_init_modules",
    "create_hostname_file",
    "datasource",
    "debug",
    "device_aliases",
    "disable_ec2_metadata",
    "disable_root",
    "disable_root_opts",
    "disk_setup",
    "drivers",
    "fan",
    "final_message",
    "fqdn",
    "fs_setup",
    "groups",
    "growpart",
    "grub_dpkg",
    "hostname",
    "keyboard",
    "landscape",
    "locale",
    "locale_configfile",
    "lxd",
    "manage_etc_hosts",
    "manage_resolv_conf",
    "mcollective",
    "merge_how",
    "merge_type",
    "migrate",
    "mount_default_fields",
    "mounts",
    "network",
    "no_ssh_fingerprints",
    "ntp",
    "output",
    "package_reboot_if_required",
    "package_update",
    "package_upgrade",
    "packages",
    "password",
    "phone_home",
    "power_state",
    "prefer_fqdn_over_hostname",
    "preserve_hostname",
    "puppet",
    "random_seed",
    "raspberry_pi",
    "reporting",
    "resize_rootfs",
    "resolv_conf",
    "rh_subscription",
    "rsyslog",
    "runcmd",
    "salt_minion",
    "seed_random",
    "snap",
    "spacewalk",
    "ssh",
    "ssh_authorized_keys",
    "ssh_deletekeys",
    "ssh_fp_console_blacklist",
    "ssh_genkeytypes",
    "ssh_import_id",
    "ssh_key_console_blacklist",
    "ssh_keys",
    "ssh_publish_hostkeys",
    "ssh_pwauth",
    "ssh_quiet_keygen",
    "swap",
    "system_info",
    "timezone",
    "ubuntu_pro",
    "updates",
    "user",
    "users",
    "vendor_data",
    "wireguard",
    "write_files",
    "yum_repo_dir",
    "yum_repos",
    "zypper",
];

/// Judges a `#cloud-config`.
pub(super) fn judge(text: &str) -> Result<Judged, UserDataFault> {
    let keys = match parse(text)? {
        (Value::Object(keys), duplicate) => {
            let mut judged = Judged::default();
            judged.notes.extend(duplicate);
            judged.drops_default_user = keys.get("users").is_some_and(drops_default);
            judged.hostname = keys.get("hostname").and_then(Value::as_str).map(str::to_owned);
            judged.notes.extend(keys.keys().filter_map(|key| note_on(key)));
            return Ok(judged);
        }
        // Comments only: cloud-init takes it for an empty mapping.
        (Value::Null, _) => return Ok(Judged::default()),
        (other, _) => other,
    };
    Err(UserDataFault::NotMapping { found: noun(&keys) })
}

/// Judges a `#cloud-config-archive`: a list.
pub(super) fn judge_archive(text: &str) -> Result<(), UserDataFault> {
    parse(text).map(|_| ())
}

/// The text's value, and a note if a key stands twice (PyYAML silently takes the last).
fn parse(text: &str) -> Result<(Value, Option<String>), UserDataFault> {
    use serde_saphyr::DuplicateKeyPolicy;
    let strict = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::Error };
    let error = match serde_saphyr::from_str_with_options::<Value>(text, strict) {
        Ok(value) => return Ok((value, None)),
        Err(error) => error,
    };
    let lax = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
    match serde_saphyr::from_str_with_options::<Value>(text, lax) {
        Ok(value) => {
            let line = error.location().map_or(0, |location| location.line());
            let note = format!("line {line}: the key stands there a second time; cloud-init takes the last");
            Ok((value, Some(note)))
        }
        Err(error) => Err(fault(&error)),
    }
}

fn fault(error: &serde_saphyr::Error) -> UserDataFault {
    let location = error.location();
    let (line, column) = location.map_or((1, 1), |location| (location.line(), location.column()));
    // The rendered error shows lines of the text, which may be secret: only its first line is used, and of that the
    // part before the place, which is told by itself.
    let words = error.without_snippet().to_string();
    let words = words.lines().next().unwrap_or_default();
    let words = words.split(" at line ").next().unwrap_or(words);
    let words = words.strip_prefix("error: ").unwrap_or(words);
    let words = words.strip_prefix(&format!("line {line} column {column}: ")).unwrap_or(words);
    UserDataFault::Yaml { line, column, reason: words.chars().take(200).collect() }
}

fn note_on(key: &str) -> Option<String> {
    if let Some((old, new)) = OLD_NAMES.iter().find(|(old, _)| *old == key) {
        return Some(format!(
            "`{old}` is an old name of `{new}`; cloud-init still takes it, later ones with a warning"
        ));
    }
    if KEYS.contains(&key) {
        return None;
    }
    let shown: String = key.chars().take(40).flat_map(char::escape_debug).collect();
    let near = KEYS.iter().find(|known| distance(&key.to_lowercase().replace('-', "_"), known) <= 2)?;
    // A key that is far from all known ones belongs to a module of the user's own.
    Some(format!("cloud-init knows no `{shown}`; did you mean `{near}`?"))
}

/// `users` that do not name `default`: cloud-init then makes no default user.
fn drops_default(users: &Value) -> bool {
    match users {
        Value::Array(users) => {
            let is_default = |user: &Value| {
                user.as_str()
                    .or_else(|| user.get("name").and_then(Value::as_str))
                    .is_some_and(|name| name == "default")
            };
            !users.iter().any(is_default)
        }
        Value::String(users) => !users.split(',').any(|user| user.trim() == "default"),
        Value::Object(users) => !users.contains_key("default"),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "mapping",
    }
}
