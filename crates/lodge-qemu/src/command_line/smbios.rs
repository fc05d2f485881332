//! What the guest reads about its hardware: SMBIOS tables and `fw_cfg` entries.

use lodge_model::domain::os::{SmbiosMode, Sysinfo, SysinfoBlock, SysinfoKind};

use super::builder::Builder;
use super::props::escaped;

/// `-smbios` and `-fw_cfg`.
pub(super) fn smbios(b: &mut Builder<'_>) {
    b.at("/domain/os/smbios");
    let mode = b.domain.os.smbios.as_ref().map_or(SmbiosMode::Emulate, |smbios| smbios.mode);
    if mode == SmbiosMode::Host {
        match &b.claims.host_words {
            Some(words) => {
                tables(b, &of_guest(words));
            }
            None => b.refuse_hinted(
                "the host's firmware says nothing of itself (there is no /sys/class/dmi)",
                "use mode='emulate', or mode='sysinfo' with <sysinfo>",
            ),
        }
    }
    for (at, sysinfo) in b.domain.sysinfo.iter().enumerate() {
        b.at(format!("/domain/sysinfo[{}]", at + 1));
        match sysinfo.kind {
            SysinfoKind::Smbios if mode == SmbiosMode::Sysinfo => tables(b, sysinfo),
            // libvirt: given, but not asked for by <smbios mode='sysinfo'/>.
            SysinfoKind::Smbios => {}
            SysinfoKind::Fwcfg => entries(b, sysinfo),
        }
    }
}

/// The host's words without what must not be two machines'.
fn of_guest(host: &Sysinfo) -> Sysinfo {
    let mut words = host.clone();
    if let Some(system) = &mut words.system {
        system.entries.retain(|entry| entry.name.as_deref() != Some("uuid"));
    }
    words
}

fn tables(b: &mut Builder<'_>, sysinfo: &Sysinfo) {
    table(
        b,
        0,
        sysinfo.bios.as_ref(),
        &[("vendor", "vendor"), ("version", "version"), ("date", "date"), ("release", "release")],
    );
    let system = [
        ("manufacturer", "manufacturer"),
        ("product", "product"),
        ("version", "version"),
        ("serial", "serial"),
        ("uuid", "uuid"),
        ("sku", "sku"),
        ("family", "family"),
    ];
    table(b, 1, sysinfo.system.as_ref(), &system);
    let board = [
        ("manufacturer", "manufacturer"),
        ("product", "product"),
        ("version", "version"),
        ("serial", "serial"),
        ("asset", "asset"),
        ("location", "location"),
    ];
    for base_board in &sysinfo.base_boards {
        table(b, 2, Some(base_board), &board);
    }
    let chassis = [
        ("manufacturer", "manufacturer"),
        ("version", "version"),
        ("serial", "serial"),
        ("asset", "asset"),
        ("sku", "sku"),
    ];
    table(b, 3, sysinfo.chassis.as_ref(), &chassis);
    if let Some(strings) = &sysinfo.oem_strings {
        let values = strings.entries.iter().filter_map(|entry| entry.value.as_deref());
        let text = values.fold("type=11".to_owned(), |text, value| text + ",value=" + &escaped(value));
        b.arg("-smbios", text);
    }
}

/// A table's known entries, in QEMU's words.
fn table(b: &mut Builder<'_>, number: u8, block: Option<&SysinfoBlock>, known: &[(&str, &str)]) {
    let Some(block) = block else { return };
    let mut text = format!("type={number}");
    for entry in &block.entries {
        let name = entry.name.as_deref().unwrap_or_default();
        match known.iter().find(|(libvirts, _)| *libvirts == name) {
            Some((_, qemus)) => {
                text += &format!(",{qemus}={}", escaped(entry.value.as_deref().unwrap_or_default()));
            }
            None => b.refuse(format!("entry '{name}' is not known in SMBIOS table {number}")),
        }
    }
    b.arg("-smbios", text);
}

fn entries(b: &mut Builder<'_>, sysinfo: &Sysinfo) {
    for entry in &sysinfo.entries {
        let name = entry.name.as_deref().unwrap_or_default();
        let content = match (&entry.file, &entry.value) {
            (Some(file), _) => format!("file={}", escaped(file)),
            (None, Some(value)) => format!("string={}", escaped(value)),
            (None, None) => return b.refuse(format!("entry '{name}' has neither value nor file")),
        };
        b.arg("-fw_cfg", format!("name={},{content}", escaped(name)));
    }
}
