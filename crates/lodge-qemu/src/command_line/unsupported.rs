//! What the model keeps verbatim: refused where the guest would miss it, warned of otherwise.

use super::builder::Builder;

/// Elements that change nothing of the machine the guest sees; to leave them out is worth a warning only.
const HARMLESS: [&str; 14] = [
    "/domain/bootloader",
    "/domain/perf",
    "/domain/keywrap",
    "/domain/blkiotune",
    "/domain/memtune",
    "/domain/numatune",
    "/domain/cputune",
    "/domain/resource",
    "/domain/seclabel",
    "/domain/idmap",
    "/domain/defaultiothread",
    "/domain/iothreadids",
    "/domain/throttlegroups",
    "/domain/metadata",
];

/// Goes through all that no struct knows, and what is known and done elsewhere or not at all.
pub(super) fn judge(b: &mut Builder<'_>) {
    for fault in b.domain.unsupported() {
        b.at(fault.path.clone());
        let is_harmless = HARMLESS.iter().any(|known| fault.path.starts_with(known));
        let is_attribute = fault.path.rsplit('/').next().is_some_and(|last| last.starts_with('@'));
        if is_harmless || is_attribute {
            b.warn(format!("kept in the document, but without effect: {}", fault.message));
        } else {
            b.refuse(format!("not supported yet ({})", fault.message));
        }
    }
    if b.domain.vcpu.as_ref().is_some_and(|vcpu| vcpu.cpuset.is_some()) {
        b.at("/domain/vcpu/@cpuset");
        b.warn("kept in the document, but without effect: processors are not pinned yet");
    }
    if b.domain.cputune.is_some() {
        b.at("/domain/cputune");
        b.warn("kept in the document, but without effect: processor tuning is not applied yet");
    }
}
