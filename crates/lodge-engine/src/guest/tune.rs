//! Limits and weights, as they are now or as the definition has them.

use lodge_domain::control::Refusal;
use lodge_domain::control::tune::{Controller, Setting, block, nic, numa, perf, scheduler, weight};

use super::figure::{Collect, Figure};
use super::{Guest, Look};

fn put(figures: &mut Vec<Figure>, name: &'static str, setting: Setting) {
    match setting {
        Setting::Unsigned(number) => figures.ulong(name, number),
        Setting::Signed(number) => figures.long(name, number),
        Setting::Flag(flag) => figures.flag(name, flag),
        Setting::Text(text) => figures.text(name, text),
    }
}

impl Guest {
    /// `virsh schedinfo`.
    pub fn scheduler(&self, live: bool) -> Look<Vec<Figure>> {
        let domain = self.document_of(live)?;
        let settings = if live {
            scheduler::of_guest(&domain, &self.limits(Controller::Cpu)?)
        } else {
            scheduler::of_document(&domain)
        };
        let mut figures = Vec::new();
        for (name, setting) in settings {
            put(&mut figures, name, setting);
        }
        Ok(figures)
    }

    /// `virsh blkiotune`.
    pub fn disk_weights(&self, live: bool) -> Look<Vec<Figure>> {
        let domain = self.document_of(live)?;
        let settings = if live {
            weight::disks_of_guest(&domain, &self.limits(Controller::Blkio)?)
        } else {
            weight::disks_of_document(&domain)
        };
        let mut figures = Vec::new();
        for (name, setting) in settings {
            match setting {
                Setting::Unsigned(number) => figures.uint(name, u32::try_from(number).unwrap_or(u32::MAX)),
                other => put(&mut figures, name, other),
            }
        }
        Ok(figures)
    }

    /// `virsh memtune`, in KiB.
    pub fn memory_limits(&self, live: bool) -> Look<Vec<Figure>> {
        let domain = self.document_of(live)?;
        let limits = if live {
            weight::memory_of_guest(&self.limits(Controller::Memory)?)
        } else {
            weight::memory_of_document(&domain)
        };
        let mut figures = Vec::new();
        for (name, kib) in limits {
            figures.ulong(name, kib);
        }
        Ok(figures)
    }

    /// `virsh numatune`.
    pub fn memory_cells(&self, live: bool) -> Look<Vec<Figure>> {
        let (mode, cells) = numa::of_document(&self.document_of(live)?);
        let mut figures = Vec::new();
        figures.int("numa_mode", mode);
        figures.text("numa_nodeset", cells);
        Ok(figures)
    }

    /// `virsh perf`.
    pub fn counted_events(&self, live: bool) -> Look<Vec<Figure>> {
        let mut figures = Vec::new();
        let counters = live.then(|| self.handle.counters().unwrap_or_default());
        for (name, enabled) in perf::events_of(&self.document_of(live)?) {
            figures.flag(name, counters.as_ref().map_or(enabled, |counters| counters.has(name)));
        }
        Ok(figures)
    }

    /// `virsh blkdeviotune`.
    pub fn disk_limits(&self, wanted: &str, live: bool) -> Look<Vec<Figure>> {
        let domain = self.document_of(live)?;
        let at = block::position(&domain, wanted).ok_or_else(|| {
            Refusal::arg(if live {
                format!("disk '{wanted}' not found in domain")
            } else {
                format!("disk '{wanted}' was not found in the domain config")
            })
        })?;
        let disk = &domain.devices.disks[at];
        let mut figures = Vec::new();
        for (place, name) in block::LIMITS.iter().enumerate() {
            if place == block::BEFORE_GROUP {
                figures.text("group_name", block::group(disk));
            }
            figures.ulong(*name, block::limit(disk, name));
        }
        Ok(figures)
    }

    /// `virsh domiftune`.
    pub fn nic_limits(&self, device: &str, live: bool) -> Look<Vec<Figure>> {
        let domain = self.document_of(live)?;
        let card = nic::find(&domain, device)?;
        let mut figures = Vec::new();
        let bandwidth = card.bandwidth.as_deref();
        for (way, rate) in [
            ("inbound", bandwidth.and_then(|b| b.inbound.as_ref())),
            ("outbound", bandwidth.and_then(|b| b.outbound.as_ref())),
        ] {
            let mut one = |what: &str, value: Option<u64>| {
                figures.uint(format!("{way}.{what}"), u32::try_from(value.unwrap_or(0)).unwrap_or(u32::MAX));
            };
            one("average", rate.and_then(|rate| rate.average_kib_s));
            one("peak", rate.and_then(|rate| rate.peak_kib_s));
            one("burst", rate.and_then(|rate| rate.burst_kib));
            if way == "inbound" {
                one("floor", rate.and_then(|rate| rate.floor_kib_s));
            }
        }
        Ok(figures)
    }
}
