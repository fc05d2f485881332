//! The machine beside its devices: firmware and boot, features, clock, what follows the guest's end.

use super::{Found, Seen, nth};
use crate::domain::complete::Board;
use crate::domain::disk::DiskBus;
use crate::domain::features::Pm;
use crate::domain::features::{ClockOffset, LifecycleAction, TickPolicy, Timer, TimerName};
use crate::domain::graphics::InputBus;
use crate::domain::memory::MemoryAllocationMode;
use crate::domain::os::{Firmware, LoaderKind, SysinfoKind};
use crate::domain::perf::EVENTS;
use crate::domain::{Domain, DomainKind};
use crate::xml::YesNo;

pub(super) fn check(domain: &Domain, found: &mut Found) {
    if !domain.bootloader.is_empty() {
        found.add("/domain/bootloader", "QEMU has no boot loaders of the host's");
    }
    boot(domain, found);
    tables(domain, found);
    events(domain, found);
    features(domain, found);
    virt(domain, found);
    clock(domain, found);
    labels(domain, found);
    if let Err(bad) = domain.security() {
        found.add(bad.path, bad.message);
    }
    let mut seen = Seen::default();
    for event in domain.perf.tree("perf").unwrap_or_default().children {
        let name = event.attribute("name").unwrap_or_default();
        if !EVENTS.contains(&name) {
            found.add("/domain/perf/event/@name", format!("`{name}` is not known here"));
        }
        seen.note(found, name.to_owned(), "/domain/perf/event", || format!("event {name} is given twice"));
        if !matches!(event.attribute("enabled"), Some("yes" | "no")) {
            found.add("/domain/perf/event/@enabled", "it is yes or no");
        }
    }
    let backing = domain.memory_backing.as_deref();
    let is_late =
        backing.and_then(|backing| backing.allocation.as_ref()?.mode) == Some(MemoryAllocationMode::OnDemand);
    if is_late && backing.is_some_and(|backing| backing.hugepages.is_some()) {
        found.add("/domain/memoryBacking", "huge pages are taken at the start, not on demand");
    }
    let uuid = domain.genid.as_ref().and_then(|genid| genid.uuid.as_deref());
    if uuid.is_some_and(|uuid| uuid::Uuid::parse_str(uuid).is_err()) {
        found.add("/domain/genid", "this is no UUID");
    }
    for map in domain.idmap.tree("idmap").unwrap_or_default().children {
        let is_first = map.attribute("start") == Some("0");
        if !is_first && ["uid", "gid"].contains(&&*map.name) {
            found.add("/domain/idmap", format!("<{}> must begin with 0, the guest's root", map.name));
        }
    }
    for env in domain.qemu_commandline.iter().flat_map(|own| &own.env) {
        if !env.name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
            found.add("/domain/commandline/env/@name", format!("`{}` cannot name a variable", env.name));
        }
    }
}

fn boot(domain: &Domain, found: &mut Found) {
    let os = &domain.os;
    if let Some(bios) = &os.bios {
        let has_port = !domain.devices.serials.is_empty()
            || domain.devices.consoles.iter().any(|console| {
                console
                    .target
                    .as_deref()
                    .is_none_or(|target| target.kind.as_deref().is_none_or(|kind| kind == "serial"))
            });
        if bios.use_serial == Some(YesNo::Yes) && !has_port {
            found.add("/domain/os/bios/@useserial", "there is no serial port for the firmware's output");
        }
        if bios.reboot_timeout_ms.is_some_and(|timeout| !(-1..=65535).contains(&timeout)) {
            found.add("/domain/os/bios/@rebootTimeout", "it is from -1 (never) to 65535 milliseconds");
        }
    }
    let loader = os.loader.as_deref();
    let is_secure = loader
        .is_some_and(|loader| loader.secure == Some(YesNo::Yes) && loader.kind != Some(LoaderKind::Rom));
    let smm = domain.features.as_deref().and_then(|features| features.smm.as_ref());
    if is_secure && smm.is_some_and(|smm| !smm.state.is_on()) {
        found.add("/domain/features/smm", "Secure Boot needs SMM, which is switched off");
    }
    let enabled = |name: &str| {
        let mut features = os.firmware_features.iter().flat_map(|block| &block.features);
        features.find(|feature| feature.name == name).map(|feature| feature.enabled)
    };
    if enabled("enrolled-keys") == Some(YesNo::Yes) && enabled("secure-boot") == Some(YesNo::No) {
        found.add("/domain/os/@firmware", "enrolled keys are of no use where Secure Boot is switched off");
    }
    for table in os.acpi.tree("acpi").unwrap_or_default().all("table") {
        let kind = table.attribute("type").unwrap_or_default();
        if !["raw", "rawset", "slic", "msdm"].contains(&kind) {
            found.add("/domain/os/acpi", format!("a table of type `{kind}` is not known here"));
        }
    }
}

/// SMBIOS and QEMU's own tables.
fn tables(domain: &Domain, found: &mut Found) {
    for sysinfo in &domain.sysinfo {
        for entry in sysinfo.entries.iter().filter(|_| sysinfo.kind == SysinfoKind::Fwcfg) {
            let name = entry.name.as_deref().unwrap_or_default();
            if !name.starts_with("opt/") || name.len() > 55 {
                found.add(
                    "/domain/sysinfo/entry/@name",
                    format!("`{name}` does not begin with opt/, or is longer than 55"),
                );
            }
        }
        let value = |block: Option<&crate::domain::os::SysinfoBlock>, name: &str| {
            let entries = block.map(|block| block.entries.as_slice()).unwrap_or_default();
            entries
                .iter()
                .find(|entry| entry.name.as_deref() == Some(name))
                .and_then(|entry| entry.value.clone())
        };
        if let Some(date) = value(sysinfo.bios.as_ref(), "date") {
            let parts: Vec<_> = date.split('/').collect();
            let numbers =
                parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
            let number =
                |at: usize| parts.get(at).and_then(|part| part.parse::<u32>().ok()).unwrap_or(u32::MAX);
            let is_day = (1..=12).contains(&number(0))
                && (1..=31).contains(&number(1))
                && (number(2) < 100 || number(2) >= 1900);
            if parts.len() != 3 || !numbers || !is_day {
                found.add("/domain/sysinfo/bios/entry", format!("`{date}` is no date as 12/31/2020"));
            }
        }
        if let (Some(uuid), Some(id)) = (value(sysinfo.system.as_ref(), "uuid"), domain.uuid)
            && uuid.parse() != Ok(id)
        {
            found.add(
                "/domain/sysinfo/system/entry",
                format!("its uuid, {uuid}, is another than <uuid>, {id}"),
            );
        }
    }
}

fn events(domain: &Domain, found: &mut Found) {
    use LifecycleAction::{CoredumpDestroy, CoredumpRestart, Destroy, Preserve, RenameRestart, Restart};
    let events = [("on_poweroff", domain.on_poweroff), ("on_reboot", domain.on_reboot)];
    for (name, action) in events {
        if let Some(action @ (Preserve | RenameRestart | CoredumpDestroy | CoredumpRestart)) = action {
            found.add(
                format!("/domain/{name}"),
                format!("`{action}` is not possible here; `destroy` and `restart` are"),
            );
        }
    }
    if domain.on_crash == Some(RenameRestart) {
        found.add("/domain/on_crash", "`rename-restart` is not possible here");
    }
    if domain.on_poweroff == Some(Restart) && domain.on_reboot == Some(Destroy) {
        found.add("/domain/on_poweroff", "who starts anew at a power-off cannot end at a reset");
    }
}

fn features(domain: &Domain, found: &mut Found) {
    let Some(features) = domain.features.as_deref() else { return };
    let is_pc = domain.os.kind.arch.as_deref().is_none_or(|arch| matches!(arch, "x86_64" | "i686"));
    if is_pc && features.gic.is_some() {
        found.add("/domain/features/gic", "a PC has no such interrupt controller");
    }
    for name in ["hpt", "htm", "nested-hv", "ccf-assist", "cfpc", "sbbc", "ibs", "ras", "aia"] {
        if is_pc && features.foreign.tree(name).is_some() {
            found.add(format!("/domain/features/{name}"), "a PC has no such feature");
        }
    }
    if let Some(passthrough) = features.foreign.tree("xen").as_ref().and_then(|xen| xen.child("passthrough"))
        && let Some(mode) =
            passthrough.attribute("mode").filter(|mode| !["sync_pt", "share_pt"].contains(mode))
    {
        found.add("/domain/features/xen", format!("`{mode}` is not known here (known: sync_pt, share_pt)"));
    }
    if features.tcg.is_some() && domain.kind == DomainKind::Kvm {
        found.add("/domain/features/tcg", "with type='kvm' nothing is translated");
    }
    if let Some(hyperv) = features.hyperv.as_deref() {
        let value = hyperv.vendor_id.as_ref().and_then(|id| id.value.as_deref()).unwrap_or_default();
        if value.len() > 12 {
            found.add(
                "/domain/features/hyperv/vendor_id/@value",
                format!("`{value}` is longer than 12 characters"),
            );
        }
        if hyperv
            .spinlocks
            .as_ref()
            .and_then(|spinlocks| spinlocks.retries)
            .is_some_and(|retries| retries < 4095)
        {
            found.add("/domain/features/hyperv/spinlocks/@retries", "it begins with 4095");
        }
    }
    let ring = features.kvm.as_deref().and_then(|kvm| kvm.foreign.tree("dirty-ring"));
    if let Some(ring) = ring.filter(|ring| ring.attribute("state") == Some("on")) {
        let size = ring.attribute("size").and_then(|size| size.parse::<u32>().ok()).unwrap_or(0);
        if !size.is_power_of_two() || !(1024..=65536).contains(&size) {
            found.add("/domain/features/kvm/dirty-ring/@size", "it is a power of two from 1024 to 65536");
        }
    }
}

/// What boards that are no usual PC have not, or not without more.
fn virt(domain: &Domain, found: &mut Found) {
    let board = Board::of(domain);
    if board.is_virt() || board == Board::Isa {
        let disks = &domain.devices.disks;
        for (at, _) in disks.iter().enumerate().filter(|(_, disk)| disk.target.bus == Some(DiskBus::Ide)) {
            let path = nth("/domain/devices/disk", at, disks.len());
            found.add(path, "IDE controllers are unsupported for this machine type");
        }
    }
    if !board.is_virt() {
        return;
    }
    let (os, features) = (&domain.os, domain.features.as_deref());
    let is_flash = os.loader.as_deref().is_some_and(|loader| loader.kind == Some(LoaderKind::Pflash));
    let has_uefi = is_flash || os.firmware == Some(Firmware::Efi);
    if board == Board::ArmVirt && features.is_some_and(|features| features.acpi) && !has_uefi {
        found.add("/domain/features/acpi", "ACPI requires UEFI on this architecture");
    }
    if domain.pm.as_ref().is_some_and(|pm| *pm != Pm::default()) {
        found.add("/domain/pm", "setting ACPI S3/S4 not supported");
    }
    let inputs = &domain.devices.inputs;
    for (at, _) in inputs.iter().enumerate().filter(|(_, input)| input.bus == Some(InputBus::Ps2)) {
        found.add(nth("/domain/devices/input", at, inputs.len()), "ps2 is not supported by this machine");
    }
}

fn clock(domain: &Domain, found: &mut Found) {
    let Some(clock) = domain.clock.as_deref() else { return };
    if clock.offset == ClockOffset::Timezone && clock.timezone.is_none() {
        found.add("/domain/clock/@timezone", "attribute `timezone` is missing (the offset is `timezone`)");
    }
    if clock.offset == ClockOffset::Absolute && clock.start_s.is_none() {
        found.add("/domain/clock/@start", "attribute `start` is missing (the offset is `absolute`)");
    }
    for (at, timer) in clock.timers.iter().enumerate() {
        self::timer(timer, &nth("/domain/clock/timer", at, clock.timers.len()), found);
    }
}

fn timer(timer: &Timer, path: &str, found: &mut Found) {
    let policy = timer.tick_policy;
    let possible: &[TickPolicy] = match timer.name {
        TimerName::Platform | TimerName::Armvtimer => {
            return found.add(path, format!("a PC has no timer `{}`", timer.name));
        }
        TimerName::Rtc => &[TickPolicy::Delay, TickPolicy::Catchup],
        TimerName::Pit => &[TickPolicy::Delay, TickPolicy::Discard, TickPolicy::Catchup],
        TimerName::Hpet | TimerName::Tsc | TimerName::Kvmclock | TimerName::Hypervclock => return,
    };
    if let Some(policy) = policy.filter(|policy| !possible.contains(policy)) {
        found.add(
            format!("{path}/@tickpolicy"),
            format!("`{policy}` is not possible with timer `{}`", timer.name),
        );
    }
}

fn labels(domain: &Domain, found: &mut Found) {
    let labels = &domain.seclabels;
    let mut models = Seen::default();
    for (at, label) in labels.iter().enumerate() {
        let path = nth("/domain/seclabel", at, labels.len());
        let kind = label.kind.as_deref().unwrap_or("dynamic");
        if kind == "dynamic" && label.relabel == Some(YesNo::No) {
            found.add(
                format!("{path}/@relabel"),
                "a label that is chosen at the start is put on the guest's files",
            );
        }
        if kind == "none" && label.relabel == Some(YesNo::Yes) {
            found.add(format!("{path}/@relabel"), "without a label nothing is put on the guest's files");
        }
        match &label.model {
            Some(model) => models.note(found, model.clone(), &path, || format!("`{model}` is given twice")),
            // Alone it is of the host's first model, which says no more than that.
            None if labels.len() == 1
                && (kind == "none" || (kind == "dynamic" && label.base_label.is_none())) => {}
            None => found.add(format!("{path}/@model"), "attribute `model` is missing"),
        }
    }
}
