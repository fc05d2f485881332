//! All figures of many guests at once: `virsh domstats`.
//!
//! A guest that is off costs its document's digest and a `stat` per disk. A running one is asked over its monitor;
//! all questions go out together, all guests are asked side by side, and QEMU has a deadline: what it does not answer
//! in time is left out, as libvirt leaves out what it cannot get.

use std::path::Path;
use std::time::Duration;

use lodge_domain::control::tune::resctrl::Usage;
use lodge_domain::control::vcpu::iothread::Iothread;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::block::{Counted, by_alias, file_size};
use super::figure::{Collect, Figure};
use super::{Guest, process};
use crate::{Caller, Engine, error::Result};

/// How long a running QEMU has for all of it.
const PATIENCE: Duration = Duration::from_millis(1500);

/// `virDomainStatsTypes`, and whether the chain below a disk's file is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Groups {
    /// The bits; 0: all.
    pub bits: u32,
    /// Every file of a disk's chain, not the topmost only.
    pub backing: bool,
}

impl Groups {
    /// State.
    pub const STATE: u32 = 1 << 0;
    /// Processor time.
    pub const CPU: u32 = 1 << 1;
    /// Memory.
    pub const BALLOON: u32 = 1 << 2;
    /// Processors.
    pub const VCPU: u32 = 1 << 3;
    /// Cards.
    pub const INTERFACE: u32 = 1 << 4;
    /// Disks.
    pub const BLOCK: u32 = 1 << 5;
    /// Performance events.
    pub const PERF: u32 = 1 << 6;
    /// I/O threads.
    pub const IOTHREAD: u32 = 1 << 7;
    /// Memory bandwidth.
    pub const MEMORY: u32 = 1 << 8;
    /// How fast memory is written.
    pub const DIRTYRATE: u32 = 1 << 9;
    /// The hypervisor's own counters.
    pub const VM: u32 = 1 << 10;
    /// All of them.
    pub const ALL: u32 = (1 << 11) - 1;

    fn has(self, bit: u32) -> bool {
        self.bits == 0 || self.bits & bit != 0
    }
}

/// One guest's figures.
#[derive(Debug, Clone)]
pub struct Record {
    /// How it stood.
    pub snapshot: std::sync::Arc<lodge_domain::Snapshot>,
    /// The figures, in libvirt's order.
    pub figures: Vec<Figure>,
}

/// What QEMU was asked, in one go.
#[derive(Default)]
struct Answers {
    threads: Option<Vec<Thread>>,
    counted: Option<Vec<Counted>>,
    nodes: Option<Vec<Node>>,
    iothreads: Option<Vec<Iothread>>,
    dirty: Option<DirtyRate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Thread {
    cpu_index: u32,
    thread_id: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Node {
    #[serde(default)]
    node_name: String,
    #[serde(default)]
    image: Option<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    #[serde(default)]
    filename: String,
    virtual_size: u64,
    #[serde(default)]
    actual_size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DirtyRate {
    status: String,
    #[serde(default)]
    start_time: i64,
    #[serde(default)]
    calc_time: i32,
    #[serde(default)]
    #[serde(rename = "dirty-rate")]
    megabytes_per_second: Option<i64>,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    #[serde(rename = "vcpu-dirty-rate")]
    vcpus: Vec<VcpuRate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct VcpuRate {
    id: i64,
    dirty_rate: u64,
}

impl Engine {
    /// The figures of these domains. Those that have gone meanwhile are left out.
    #[crate::boxed]
    pub async fn figures_of(
        &self,
        _caller: &Caller,
        domains: Vec<lodge_model::DomainId>,
        groups: Groups,
    ) -> Result<Vec<Record>> {
        let guests = domains.into_iter().filter_map(|id| Some(self.look_at(self.domains.get(id).ok()?)));
        let (mut records, mut running) = (Vec::new(), tokio::task::JoinSet::new());
        for guest in guests {
            if guest.snapshot.is_active() {
                let at = records.len();
                records.push(None);
                running.spawn(async move { (at, guest.record(groups).await) });
            } else {
                let mut figures = Vec::with_capacity(16);
                guest.resting(groups, &mut figures);
                records.push(Some(Record { snapshot: std::sync::Arc::clone(&guest.snapshot), figures }));
            }
        }
        while let Some(done) = running.join_next().await {
            if let Ok((at, record)) = done
                && let Some(place) = records.get_mut(at)
            {
                *place = Some(record);
            }
        }
        Ok(records.into_iter().flatten().collect())
    }
}

impl Guest {
    async fn record(self, groups: Groups) -> Record {
        let mut figures = Vec::with_capacity(128);
        let memory = async {
            if !groups.has(Groups::BALLOON) {
                return Vec::new();
            }
            // All questions go out together, and none is waited for longer than the others.
            match tokio::time::timeout(PATIENCE, self.memory_figures()).await {
                Ok(Ok(told)) => told,
                _ => Vec::new(),
            }
        };
        let (answers, memory) = tokio::join!(self.ask_all(groups), memory);
        self.running(groups, &answers, &memory, &mut figures);
        Record { snapshot: std::sync::Arc::clone(&self.snapshot), figures }
    }

    async fn ask_all(&self, groups: Groups) -> Answers {
        async fn ask<A: DeserializeOwned>(
            guest: &Guest,
            wanted: bool,
            command: &str,
            arguments: Value,
        ) -> Option<A> {
            if !wanted {
                return None;
            }
            let monitor = guest.monitor().ok()?;
            monitor.execute_within(command, arguments, PATIENCE).await.ok()
        }
        let block = groups.has(Groups::BLOCK);
        let blocks = if groups.backing { serde_json::json!({ "query-nodes": false }) } else { Value::Null };
        let (threads, counted, nodes, iothreads, dirty) = tokio::join!(
            ask(self, groups.has(Groups::VCPU), "query-cpus-fast", Value::Null),
            ask(self, block, "query-blockstats", blocks),
            ask(self, block, "query-named-block-nodes", serde_json::json!({ "flat": true })),
            ask(self, groups.has(Groups::IOTHREAD), "query-iothreads", Value::Null),
            ask(self, groups.has(Groups::DIRTYRATE), "query-dirty-rate", Value::Null),
        );
        Answers { threads, counted, nodes, iothreads, dirty }
    }

    fn resting(&self, groups: Groups, figures: &mut Vec<Figure>) {
        self.state(groups, figures);
        if groups.has(Groups::CPU) {
            for name in ["cpu.time", "cpu.user", "cpu.system"] {
                figures.ulong(name, 0);
            }
        }
        let Ok(digest) = self.digest() else { return };
        if groups.has(Groups::BALLOON) {
            figures.ulong("balloon.current", digest.memory_kib);
            figures.ulong("balloon.maximum", digest.memory_max_kib);
        }
        if groups.has(Groups::VCPU) {
            figures.uint("vcpu.current", digest.vcpus);
            figures.uint("vcpu.maximum", digest.vcpus_max);
        }
        if groups.has(Groups::BLOCK) {
            figures.uint("block.count", u32::try_from(digest.disks.len()).unwrap_or(u32::MAX));
            for (at, disk) in digest.disks.iter().enumerate() {
                figures.text(format!("block.{at}.name"), disk.target.clone());
                let Some(path) = &disk.path else { continue };
                figures.text(format!("block.{at}.path"), path.clone());
                let Ok(size) = file_size(Path::new(path), &disk.format) else { continue };
                figures.ulong(format!("block.{at}.allocation"), size.allocation);
                figures.ulong(format!("block.{at}.capacity"), size.capacity);
                figures.ulong(format!("block.{at}.physical"), size.physical);
            }
        }
    }

    fn state(&self, groups: Groups, figures: &mut Vec<Figure>) {
        if groups.has(Groups::STATE) {
            let (state, reason) = self.snapshot.state.virt();
            figures.int("state.state", state.number().cast_signed());
            figures.int("state.reason", reason.cast_signed());
        }
    }

    fn running(
        &self,
        groups: Groups,
        answers: &Answers,
        memory: &[super::MemoryFigure],
        figures: &mut Vec<Figure>,
    ) {
        self.state(groups, figures);
        let Some(pid) = self.snapshot.vmm.as_ref().map(|vmm| vmm.process.pid) else { return };
        let is_watched = groups.has(Groups::CPU | Groups::MEMORY) && self.digest().is_ok_and(|it| it.watched);
        let usage = if is_watched { self.handle.resource_usage() } else { Vec::new() };
        if groups.has(Groups::CPU) {
            let times = process::times(pid, None).unwrap_or_default();
            figures.ulong("cpu.time", times.total_ns);
            figures.ulong("cpu.user", times.user_ns);
            figures.ulong("cpu.system", times.system_ns);
            filled(&usage, figures);
            figures.ulong("cpu.haltpoll.success.time", 0);
            figures.ulong("cpu.haltpoll.fail.time", 0);
        }
        let Ok(digest) = self.digest() else { return };
        if groups.has(Groups::BALLOON) {
            balloon(memory, figures, digest.memory_max_kib);
        }
        if groups.has(Groups::VCPU) {
            figures.uint("vcpu.current", digest.vcpus);
            figures.uint("vcpu.maximum", digest.vcpus_max);
            for thread in answers.threads.iter().flatten() {
                vcpu(pid, thread, figures);
            }
        }
        if groups.has(Groups::INTERFACE) {
            nics(&digest.taps, figures);
        }
        if groups.has(Groups::BLOCK) {
            blocks(&digest.disks, answers, groups.backing, figures);
        }
        if groups.has(Groups::PERF) {
            for (name, count) in self.handle.counters().iter().flat_map(|counters| counters.read()) {
                figures.ulong(format!("perf.{name}"), count);
            }
        }
        if let Some(threads) = answers.iothreads.as_ref().filter(|threads| !threads.is_empty()) {
            figures.uint("iothread.count", u32::try_from(threads.len()).unwrap_or(u32::MAX));
            for thread in threads {
                let Some(number) = thread.number() else { continue };
                let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
                figures.ulong(format!("iothread.{number}.poll-max-ns"), thread.poll_max_ns);
                figures.uint(format!("iothread.{number}.poll-grow"), narrow(thread.poll_grow));
                figures.uint(format!("iothread.{number}.poll-shrink"), narrow(thread.poll_shrink));
            }
        }
        if groups.has(Groups::MEMORY) {
            moved(&usage, figures);
        }
        if let Some(dirty) = &answers.dirty {
            dirty_rate(dirty, figures);
        }
    }
}

/// How much of the caches watched processors fill.
fn filled(usage: &[Usage], figures: &mut Vec<Figure>) {
    let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let watched: Vec<_> = usage.iter().filter(|usage| usage.caches).collect();
    figures.uint("cpu.cache.monitor.count", number(watched.len()));
    for (at, usage) in watched.into_iter().enumerate() {
        let name = format!("cpu.cache.monitor.{at}");
        figures.text(format!("{name}.name"), usage.name.clone());
        figures.text(format!("{name}.vcpus"), usage.vcpus.clone());
        figures.uint(format!("{name}.bank.count"), number(usage.counts.len()));
        for (at, (id, counts)) in usage.counts.iter().enumerate() {
            figures.uint(format!("{name}.bank.{at}.id"), *id);
            let bytes = counts.first().copied().unwrap_or(0);
            figures.uint(format!("{name}.bank.{at}.bytes"), u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }
}

/// How much watched processors have moved to and from memory.
fn moved(usage: &[Usage], figures: &mut Vec<Figure>) {
    let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let watched: Vec<_> = usage.iter().filter(|usage| !usage.caches).collect();
    if watched.is_empty() {
        return;
    }
    figures.uint("memory.bandwidth.monitor.count", number(watched.len()));
    for (at, usage) in watched.into_iter().enumerate() {
        let name = format!("memory.bandwidth.monitor.{at}");
        figures.text(format!("{name}.name"), usage.name.clone());
        figures.text(format!("{name}.vcpus"), usage.vcpus.clone());
        figures.uint(format!("{name}.node.count"), number(usage.counts.len()));
        for (at, (id, counts)) in usage.counts.iter().enumerate() {
            figures.uint(format!("{name}.node.{at}.id"), *id);
            for (word, count) in ["total", "local"].iter().zip(counts) {
                figures.ulong(format!("{name}.node.{at}.bytes.{word}"), *count);
            }
        }
    }
}

fn balloon(told: &[super::MemoryFigure], figures: &mut Vec<Figure>, maximum_kib: u64) {
    let of = |word: &str| told.iter().find(|(_, known, _)| *known == word).map(|(.., value)| *value);
    figures.ulong("balloon.current", of("actual").unwrap_or(maximum_kib));
    figures.ulong("balloon.maximum", maximum_kib);
    for (_, word, value) in told.iter().filter(|(_, word, _)| *word != "actual") {
        figures.ulong(format!("balloon.{word}"), *value);
    }
}

fn vcpu(pid: u32, thread: &Thread, figures: &mut Vec<Figure>) {
    let number = thread.cpu_index;
    let times = process::times(pid, Some(thread.thread_id)).unwrap_or_default();
    let (wait, delay) = process::waits(pid, thread.thread_id);
    // VIR_VCPU_RUNNING
    figures.int(format!("vcpu.{number}.state"), 1);
    figures.ulong(format!("vcpu.{number}.time"), times.total_ns);
    figures.ulong(format!("vcpu.{number}.wait"), wait.unwrap_or(0));
    figures.ulong(format!("vcpu.{number}.delay"), delay.unwrap_or(0));
}

fn nics(taps: &[lodge_domain::TapFacts], figures: &mut Vec<Figure>) {
    if taps.is_empty() {
        return;
    }
    figures.uint("net.count", u32::try_from(taps.len()).unwrap_or(u32::MAX));
    for (at, tap) in taps.iter().enumerate() {
        figures.text(format!("net.{at}.name"), tap.name.clone());
        let Some(counters) = process::nic(tap) else { continue };
        for (way, values) in [("rx", counters.rx), ("tx", counters.tx)] {
            for (what, value) in ["bytes", "pkts", "errs", "drop"].into_iter().zip(values) {
                figures.ulong(format!("net.{at}.{way}.{what}"), value);
            }
        }
    }
}

fn blocks(disks: &[lodge_domain::DiskFacts], answers: &Answers, backing: bool, figures: &mut Vec<Figure>) {
    let counted = by_alias(answers.counted.clone().unwrap_or_default());
    let nodes = answers.nodes.as_deref().unwrap_or_default();
    let mut lines = Vec::new();
    let mut at = 0;
    for disk in disks {
        let top = disk.alias.as_ref().and_then(|alias| counted.get(alias));
        let mut layer = top;
        let mut is_top = true;
        loop {
            one_layer(disk, layer, nodes, at, is_top, &mut lines);
            at += 1;
            layer = layer.and_then(|layer| layer.backing.as_deref());
            is_top = false;
            if !backing || layer.is_none() {
                break;
            }
        }
    }
    figures.uint("block.count", u32::try_from(at).unwrap_or(u32::MAX));
    figures.append(&mut lines);
}

fn one_layer(
    disk: &lodge_domain::DiskFacts,
    layer: Option<&Counted>,
    nodes: &[Node],
    at: usize,
    is_top: bool,
    figures: &mut Vec<Figure>,
) {
    figures.text(format!("block.{at}.name"), disk.target.clone());
    let node = |name: Option<&str>| nodes.iter().find(|node| Some(node.node_name.as_str()) == name);
    let image = layer.and_then(|layer| node(layer.node_name.as_deref())).and_then(|node| node.image.as_ref());
    let path = if is_top { disk.path.clone() } else { image.map(|image| image.filename.clone()) };
    if let Some(path) = path {
        figures.text(format!("block.{at}.path"), path);
    }
    let Some(layer) = layer else { return };
    if let Some(index) = layer.index() {
        figures.uint(format!("block.{at}.backingIndex"), index);
    }
    let counters = layer.figures();
    if is_top {
        for (name, value) in [
            ("rd.reqs", counters.rd_req),
            ("rd.bytes", counters.rd_bytes),
            ("rd.times", counters.rd_ns),
            ("wr.reqs", counters.wr_req),
            ("wr.bytes", counters.wr_bytes),
            ("wr.times", counters.wr_ns),
            ("fl.reqs", counters.fl_req),
            ("fl.times", counters.fl_ns),
        ] {
            figures.ulong(format!("block.{at}.{name}"), value);
        }
    }
    if image.is_none() && disk.path.is_none() {
        // A drive with nothing in it has no sizes.
        return;
    }
    figures.ulong(format!("block.{at}.allocation"), counters.highest);
    if let Some(image) = image {
        figures.ulong(format!("block.{at}.capacity"), image.virtual_size);
        figures.ulong(format!("block.{at}.physical"), image.actual_size.unwrap_or(0));
    }
}

fn dirty_rate(dirty: &DirtyRate, figures: &mut Vec<Figure>) {
    let status = match dirty.status.as_str() {
        "measuring" => 1,
        "measured" => 2,
        _ => 0,
    };
    figures.int("dirtyrate.calc_status", status);
    figures.long("dirtyrate.calc_start_time", dirty.start_time);
    figures.int("dirtyrate.calc_period", dirty.calc_time);
    if status == 2
        && let Some(rate) = dirty.megabytes_per_second
    {
        figures.long("dirtyrate.megabytes_per_second", rate);
    }
    figures.text("dirtyrate.calc_mode", dirty.mode.clone().unwrap_or_else(|| "page-sampling".to_owned()));
    for vcpu in &dirty.vcpus {
        figures.ulong(format!("dirtyrate.vcpu.{}.megabytes_per_second", vcpu.id), vcpu.dirty_rate);
    }
}
