//! What the host can give its guests, and how its processors and memory stand, in the API's shape. All may look.
//!
//! libvirt's front asks [`Engine::host_facts`] itself: it has libvirt's own shapes and error numbers to give.

use lodge_api::{
    CpuBaseline, CpuCompare, CpuStanding, CpuTimes, GuestCpuModel, GuestSort, NodeMemory, NodeView,
};
use lodge_host::cpu::Comparison;
use lodge_host::node::Node;
use lodge_model::Kind;
use lodge_model::cpu::CpuDescription;

use crate::error::{EngineError, Result};
use crate::{Caller, Engine};

/// Reads many of the kernel's files, away from the threads that serve.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| EngineError::new(Kind::Internal, format!("the host could not be read: {error}")))
}

fn sort(asked: &GuestSort) -> lodge_host::GuestSort<'_> {
    lodge_host::GuestSort {
        emulator: asked.emulator.as_deref(),
        arch: asked.arch.as_deref(),
        machine: asked.machine.as_deref(),
        virt_type: asked.virt_type.as_deref(),
    }
}

impl Engine {
    /// libvirt's `<capabilities>`.
    #[crate::boxed]
    pub async fn capabilities(&self, caller: &Caller) -> Result<String> {
        let host = self.host_facts(caller);
        aside(move || host.capabilities()).await
    }

    /// libvirt's `<domainCapabilities>`.
    #[crate::boxed]
    pub async fn domain_capabilities(&self, _caller: &Caller, asked: &GuestSort) -> Result<String> {
        Ok(self.host.domain_capabilities(&sort(asked)).await?)
    }

    /// Names of an architecture's processor models.
    pub fn cpu_models(&self, _caller: &Caller, arch: &str) -> Result<Vec<String>> {
        Ok(self.host.model_names(arch)?.into_iter().map(str::to_owned).collect())
    }

    /// Processor models that QEMU has.
    #[crate::boxed]
    pub async fn guest_cpu_models(&self, _caller: &Caller, asked: &GuestSort) -> Result<Vec<GuestCpuModel>> {
        let models = self.host.guest_models(&sort(asked)).await?;
        let view = |model: lodge_host::GuestModel| GuestCpuModel {
            name: model.name,
            usable: model.usable,
            deprecated: model.deprecated,
        };
        Ok(models.into_iter().map(view).collect())
    }

    /// The richest processor that all of the described ones can give a guest.
    #[crate::boxed]
    pub async fn cpu_baseline(&self, _caller: &Caller, question: &CpuBaseline) -> Result<String> {
        let cpus = described(&question.document)?;
        let CpuBaseline { features, migratable, .. } = *question;
        Ok(match &question.guest {
            Some(asked) => self.host.baseline_guest_cpu(&sort(asked), &cpus, features, migratable).await?,
            None => self.host.baseline_cpu(&cpus, features, migratable)?,
        })
    }

    /// How the described processor stands to the host's.
    #[crate::boxed]
    pub async fn cpu_compare(&self, _caller: &Caller, question: &CpuCompare) -> Result<CpuStanding> {
        let cpus = described(&question.document)?;
        let [cpu] = cpus.as_slice() else {
            let text = format!("{} CPU definitions where one is to be compared", cpus.len());
            return Err(EngineError::new(Kind::InvalidInput, text));
        };
        if question.validate {
            CpuDescription::validate(cpu).map_err(lodge_host::HostError::from)?;
        }
        let standing = match &question.guest {
            Some(asked) => self.host.compare_guest_cpu(&sort(asked), cpu, question.strictly).await?,
            None => self.host.compare_cpu(cpu, question.strictly)?,
        };
        Ok(match standing {
            Comparison::Incompatible => CpuStanding::Incompatible,
            Comparison::Identical => CpuStanding::Identical,
            Comparison::Superset => CpuStanding::Superset,
        })
    }

    /// Most processors of a guest that is run by `kvm` or `qemu`.
    pub fn max_vcpus(&self, _caller: &Caller, kind: Option<&str>) -> Result<u32> {
        Ok(self.host.vcpus_most(kind)?)
    }

    /// libvirt's `<sysinfo>`.
    pub fn sysinfo(&self, _caller: &Caller) -> Result<String> {
        self.host
            .node()
            .firmware_words()
            .ok_or_else(|| EngineError::new(Kind::Unsupported, "Host SMBIOS information is not available"))
    }

    /// Processors and memory at this moment.
    #[crate::boxed]
    pub async fn node_view(&self, caller: &Caller) -> Result<NodeView> {
        let host = self.host_facts(caller);
        Ok(aside(move || view(host.node())).await??)
    }
}

/// The processors that a document tells of; at least one.
fn described(document: &str) -> Result<Vec<String>> {
    let cpus = CpuDescription::all_in(document).map_err(lodge_host::HostError::from)?;
    if cpus.is_empty() {
        return Err(EngineError::new(Kind::InvalidInput, "the document has no host CPU"));
    }
    Ok(cpus)
}

fn view(node: &Node) -> std::result::Result<NodeView, lodge_host::node::NodeError> {
    let summary = node.summary();
    let times = |cpu: Option<u32>| -> std::result::Result<CpuTimes, lodge_host::node::NodeError> {
        let spent = node.cpu_times(cpu)?;
        Ok(CpuTimes {
            cpu,
            user_ns: spent.user_ns,
            kernel_ns: spent.kernel_ns,
            idle_ns: spent.idle_ns,
            iowait_ns: spent.iowait_ns,
        })
    };
    let cell = |cell: u32| NodeMemory {
        cell: Some(cell),
        total_kib: node.cell_figure(cell, "MemTotal").unwrap_or_default(),
        free_kib: node.cell_figure(cell, "MemFree").unwrap_or_default(),
        buffers_kib: None,
        cached_kib: None,
    };
    Ok(NodeView {
        model: summary.model,
        cpus: summary.cpus,
        mhz: summary.mhz,
        sockets: summary.sockets,
        cores: summary.cores,
        threads: summary.threads,
        cells: summary.cells,
        memory: NodeMemory {
            cell: None,
            total_kib: summary.memory_kib,
            free_kib: node.meminfo("MemFree"),
            buffers_kib: Some(node.meminfo("Buffers")),
            cached_kib: Some(node.meminfo("Cached")),
        },
        cell_memory: node.cells().into_iter().map(|known| cell(known.id)).collect(),
        times: times(None)?,
        cpu_times: node
            .online()
            .into_iter()
            .map(|cpu| times(Some(cpu)))
            .collect::<std::result::Result<_, _>>()?,
        present: node.present(),
    })
}
