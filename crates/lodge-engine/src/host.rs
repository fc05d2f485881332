//! What is told of the host and the daemon.

use std::sync::Arc;

use lodge_api::{AcceleratorView, HostReport, HostView, SpeedView, Version};
use lodge_model::Kind;

use crate::{
    Caller, Engine,
    error::{EngineError, Result},
    view::unix_ms,
};

/// The host's own answers: what is asked of it, not of guests.
pub(crate) fn known(
    root: &lodge_store::Root,
    qemu: &Arc<lodge_qemu::Capabilities>,
    others: &lodge_qemu::Others,
    kvm: bool,
) -> Arc<lodge_host::Host> {
    let settings = root.domains().with_file_name("libvirtd.conf");
    let uuid = lodge_host::host_uuid(&settings, &root.state().join("host-uuid"));
    let host = lodge_host::Host::new(uuid, Arc::clone(qemu), kvm, Some(root.cache()));
    Arc::new(host.with_others(others.clone()))
}

/// What the firmware says of the host; none where it says nothing.
pub(crate) fn firmware_words(host: &lodge_host::Host) -> Option<lodge_model::domain::os::Sysinfo> {
    let words = host.node().firmware_words()?;
    lodge_model::domain::os::Sysinfo::parse(&words)
        .inspect_err(|error| tracing::warn!(%error, "the firmware's words"))
        .ok()?
}

impl Engine {
    /// What the host tells of itself; all may look.
    pub fn host_facts(&self, _caller: &Caller) -> Arc<lodge_host::Host> {
        Arc::clone(&self.host)
    }

    /// QEMU's version as libvirt counts: 10.0.2 is 10000002; `None`: there is no QEMU.
    pub fn hypervisor_version(&self, _caller: &Caller) -> Option<u64> {
        let version = &self.capabilities.version;
        let number = u64::from(version.major) * 1_000_000 + u64::from(version.minor) * 1000;
        self.capabilities.is_present().then(|| number + u64::from(version.micro))
    }

    /// Changes how the kernel merges equal pages of guests.
    pub fn set_memory_merging(&self, caller: &Caller, settings: &[(String, u64)]) -> Result<()> {
        caller.may_change()?;
        Ok(self.host.node().set_merging(settings)?)
    }

    /// Makes pools of huge pages this large, or larger by so many: size in KiB and count of each, in each of the cells.
    pub fn set_huge_pages(
        &self,
        caller: &Caller,
        pages: &[(u32, u64)],
        cells: &[Option<u32>],
        add: bool,
    ) -> Result<u32> {
        caller.may_change()?;
        let mut changed = 0;
        for cell in cells {
            for (kib, count) in pages {
                self.host.node().set_pages(*cell, *kib, *count, add)?;
                changed += 1;
            }
        }
        Ok(changed)
    }

    /// Which daemon this is.
    #[crate::boxed]
    pub async fn version(&self, _caller: &Caller) -> Result<Version> {
        Ok(Version {
            lodge: env!("CARGO_PKG_VERSION").to_owned(),
            api: "v1".to_owned(),
            qemu: self.qemu_version(),
            pid: std::process::id(),
            root: self.store.root().dir().display().to_string(),
            started_ms: unix_ms(self.started),
        })
    }

    /// The host as the daemon sees it.
    #[crate::boxed]
    pub async fn host(&self, _caller: &Caller) -> Result<HostView> {
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let domains = self.domains.list();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(HostView {
            hostname: text(uname.nodename()),
            arch: text(uname.machine()),
            kernel: text(uname.release()),
            cpu_model: field("/proc/cpuinfo", "model name").unwrap_or_default(),
            cpus: count(std::thread::available_parallelism().map_or(1, usize::from)),
            memory_kib: kib("MemTotal"),
            memory_available_kib: kib("MemAvailable"),
            qemu: self.qemu_version(),
            accelerator: Some(self.accelerator_view()),
            speed: Some(self.speed_view()),
            domains: count(domains.len()),
            domains_active: count(domains.iter().filter(|domain| domain.is_active()).count()),
            networks_active: count(self.networks.list().iter().filter(|network| network.active).count()),
            warnings: Vec::new(),
        })
    }

    /// What a hypervisor needs of this host.
    #[crate::boxed]
    pub async fn host_check(&self, _caller: &Caller) -> Result<HostReport> {
        let report = lodge_host::check(&self.store.root().state()).await;
        // The report's own document has the API's fields and more; what the API does not name is left out.
        let report = serde_json::to_value(report).and_then(serde_json::from_value);
        report.map_err(|error| {
            EngineError::new(Kind::Internal, format!("the host's report cannot be told: {error}"))
        })
    }

    pub(crate) fn accelerator_view(&self) -> AcceleratorView {
        AcceleratorView { name: self.accelerator.name().to_owned(), why: self.accelerator.why.clone() }
    }

    pub(crate) fn speed_view(&self) -> SpeedView {
        SpeedView { factor: self.accelerator.speed.factor }
    }

    fn qemu_version(&self) -> Option<String> {
        self.capabilities.is_present().then(|| self.capabilities.version.to_string())
    }
}

/// A line `NAME: value` of a file of the kernel's.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kib(name: &str) -> u64 {
    let value = field("/proc/meminfo", name);
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
