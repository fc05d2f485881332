//! What the model keeps verbatim: refused where the guest would miss it, warned of otherwise.

use super::builder::Builder;

/// Elements that change nothing of the machine the guest sees; to leave them out is worth a warning only.
const HARMLESS: [&str; 5] = [
    "/domain/bootloader",
    "/domain/idmap",
    "/domain/metadata",
    // Of containers' interfaces and of Xen's.
    "/domain/devices/interface/guest",
    "/domain/devices/interface/backenddomain",
];

/// Kept as trees, and done: by the command line or by the cgroup of the guest. Of several devices, the first's path.
const DONE: &[&str] = &[
    "/domain/blkiotune",
    "/domain/memtune",
    "/domain/numatune",
    "/domain/iothreadids",
    "/domain/defaultiothread",
    "/domain/cputune/vcpusched",
    "/domain/cputune/iothreadsched",
    "/domain/cputune/emulatorsched",
    "/domain/throttlegroups",
    "/domain/keywrap",
    "/domain/launchSecurity",
    "/domain/cputune/cachetune",
    "/domain/cputune/memorytune",
    "/domain/perf",
    "/domain/resource/fibrechannel",
    "/domain/features/smm/tseg",
    "/domain/features/hyperv/stimer/direct",
    "/domain/features/hyperv/tlbflush/direct",
    "/domain/features/hyperv/tlbflush/extended",
    "/domain/features/kvm/dirty-ring",
    "/domain/devices/disk/throttlefilters",
    "/domain/devices/disk/geometry",
    "/domain/devices/disk/driver/metadata_cache",
    "/domain/devices/disk/driver/iothreads",
    "/domain/devices/controller/driver/iothreads",
    "/domain/devices/disk/source/slices",
    "/domain/devices/disk/transient",
    "/domain/devices/interface/driver/host",
    "/domain/devices/interface/driver/guest",
    "/domain/devices/interface/tune",
    "/domain/devices/audio",
    "/domain/devices/graphics/@websocketGenerated",
    "/domain/devices/graphics/@fullscreen",
    "/domain/devices/graphics/@address",
    "/domain/devices/graphics/@p2p",
    "/domain/devices/interface/teaming",
    "/domain/devices/interface/portForward",
    "/domain/devices/interface/source/local",
    "/domain/devices/interface/source/reconnect",
    "/domain/devices/interface/source/ip",
    "/domain/devices/interface/source/address",
    "/domain/devices/interface/@managed",
    "/domain/devices/interface/vlan",
    "/domain/devices/interface/virtualport",
    "/domain/devices/interface/coalesce",
    "/domain/devices/interface/filterref",
];

/// Goes through all that no struct knows, and what is known and done elsewhere or not at all.
pub(super) fn judge(b: &mut Builder<'_>) {
    limits_of_memory(b);
    leases(b);
    if !b.domain.keywrap.is_empty() {
        b.at("/domain/keywrap");
        b.refuse("'aes-key-wrap'/'dea-key-wrap' is not available on this architecture");
    }
    for fault in b.domain.unsupported() {
        let path = without_numbers(&fault.path);
        if DONE.iter().any(|known| path.starts_with(known))
            || is_limit(&path)
            || is_stream(&path)
            || is_encryption(&path)
            || is_of_server(&path)
        {
            continue;
        }
        b.at(fault.path.clone());
        let is_harmless = HARMLESS.iter().any(|known| path.starts_with(known));
        let is_attribute = fault.path.rsplit('/').next().is_some_and(|last| last.starts_with('@'));
        if is_harmless || is_attribute {
            b.warn(format!("kept in the document, but without effect: {}", fault.message));
        } else {
            b.refuse(format!("not supported yet ({})", fault.message));
        }
    }
}

/// Locks that nobody takes here.
fn leases(b: &mut Builder<'_>) {
    for at in 0..b.domain.devices.leases.len() {
        b.at_device("lease", at);
        b.warn("there is no lock manager here to take the lock, as with libvirt where none is set up");
    }
}

/// A path as it is where there is one of each.
fn without_numbers(path: &str) -> String {
    let parts = path.split('/').map(|part| part.split('[').next().unwrap_or_default());
    parts.collect::<Vec<_>>().join("/")
}

/// A disk's limits, and the group that shares them.
fn is_limit(path: &str) -> bool {
    path.starts_with("/domain/devices/disk/iotune/")
}

/// The devices that are streams.
const STREAMS: [&str; 6] = ["serial", "parallel", "console", "channel", "redirdev", "smartcard"];

/// What of a stream's source `stream` does.
fn is_stream(path: &str) -> bool {
    let parts: Vec<&str> = path.strip_prefix("/domain/devices/").unwrap_or_default().split('/').collect();
    let source = match parts.as_slice() {
        ["rng", "backend", source @ ..] => source,
        [name, source @ ..] if STREAMS.contains(name) => source,
        _ => return false,
    };
    matches!(source, ["source", "reconnect" | "clipboard" | "mouse", ..])
}

/// `<encryption>` of a disk, of its source or of that of a file it stands on: the disk's nodes have it.
fn is_encryption(path: &str) -> bool {
    let Some(mut rest) = path.strip_prefix("/domain/devices/disk/") else { return false };
    if rest == "encryption" {
        return true;
    }
    while let Some(below) = rest.strip_prefix("backingStore/") {
        rest = below;
    }
    rest == "source/encryption"
}

/// What is said of the server of a disk or of what it stands on: the node of its protocol has it, or refuses it.
fn is_of_server(path: &str) -> bool {
    const WORDS: [&str; 21] = [
        "auth",
        "ssl",
        "cookies",
        "initiator",
        "readahead",
        "timeout",
        "snapshot",
        "config",
        "knownHosts",
        "identity",
        "reconnect",
        "host",
        "@query",
        "@tls",
        "@tlsHostname",
        "@namespace",
        "@index",
        "@type",
        "@path",
        "@managed",
        "address",
    ];
    let of_disk = path.strip_prefix("/domain/devices/disk/");
    let Some(mut rest) = of_disk.or_else(|| path.strip_prefix("/domain/os/nvram/")) else { return false };
    while let Some(below) = rest.strip_prefix("backingStore/") {
        rest = below;
    }
    let inner = rest.strip_prefix("source/").or_else(|| rest.starts_with("auth").then_some(rest));
    inner.is_some_and(|inner| WORDS.contains(&inner.split('/').next().unwrap_or_default()))
}

/// What of `<memtune>` no host can give a QEMU.
fn limits_of_memory(b: &mut Builder<'_>) {
    let tree = b.domain.memtune.tree("memtune").unwrap_or_default();
    for limit in &tree.children {
        b.at(format!("/domain/memtune/{}", limit.name));
        match limit.name.as_str() {
            "hard_limit" | "soft_limit" | "swap_hard_limit" => {}
            "min_guarantee" => b.refuse("Parameter 'min_guarantee' not supported by QEMU."),
            _ => b.refuse("no limit of this name is known"),
        }
    }
}
