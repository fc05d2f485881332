//! Which host this is: a UUID that stays.
//!
//! As libvirt: `host_uuid` of libvirtd.conf, else `host_uuid_source = "machine-id"` there, else what the firmware says.
//! libvirtd makes one up at each start where the firmware says none; Lodge keeps what it made up.

use std::fs;
use std::path::Path;

use uuid::Uuid;

/// The identity, with libvirt's settings from `settings` and our own file at `kept`.
pub fn host_uuid(settings: &Path, kept: &Path) -> Uuid {
    let text = fs::read_to_string(settings).unwrap_or_default();
    let told = setting(&text, "host_uuid").and_then(|text| valid(&text));
    let machine = || {
        let asked = setting(&text, "host_uuid_source").as_deref() == Some("machine-id");
        asked
            .then(|| fs::read_to_string("/etc/machine-id").ok())
            .flatten()
            .and_then(|text| valid(text.trim()))
    };
    let firmware = || {
        let files = ["/sys/devices/virtual/dmi/id/product_uuid", "/sys/class/dmi/id/product_uuid"];
        files.iter().find_map(|file| valid(fs::read_to_string(file).ok()?.trim()))
    };
    told.or_else(machine).or_else(firmware).unwrap_or_else(|| made_up(kept))
}

/// A line `name = "value"` of libvirt's settings.
fn setting(text: &str, name: &str) -> Option<String> {
    let of = |line: &str| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == name).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    };
    text.lines().filter(|line| !line.trim_start().starts_with('#')).find_map(of)
}

/// Firmware that does not know itself says one digit all over.
fn valid(text: &str) -> Option<Uuid> {
    let uuid = Uuid::parse_str(text).ok()?;
    let digits = uuid.simple().to_string();
    let first = digits.chars().next()?;
    (!digits.chars().all(|digit| digit == first)).then_some(uuid)
}

fn made_up(kept: &Path) -> Uuid {
    if let Some(uuid) = fs::read_to_string(kept).ok().and_then(|text| valid(text.trim())) {
        return uuid;
    }
    let uuid = Uuid::new_v4();
    if let Err(error) = lodge_sys::fs::write_durable(kept, format!("{uuid}\n").as_bytes(), 0o644) {
        tracing::warn!(file = %kept.display(), %error, "the host's made-up identity is not kept");
    }
    uuid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_first_and_what_was_made_up_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (settings, kept) = (directory.path().join("libvirtd.conf"), directory.path().join("host-uuid"));
        fs::write(&settings, "#host_uuid = \"x\"\nhost_uuid = \"8f5bcc02-a6c1-4d0b-a1ad-000102030405\"\n")
            .unwrap();
        assert_eq!(host_uuid(&settings, &kept).to_string(), "8f5bcc02-a6c1-4d0b-a1ad-000102030405");
        assert_eq!(made_up(&kept), made_up(&kept));
        assert_eq!(valid("ffffffff-ffff-ffff-ffff-ffffffffffff"), None);
    }
}
