//! The host as its daemon knows it: what does not change is found out once, when it is first asked for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use lodge_model::Kind;
use lodge_model::cpu::{BadCpu, CpuDescription, CpuKind};
use lodge_qemu::{Accelerator, Capabilities, Others, ProbeError, Processor};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::capabilities::{HostDocument, runs};
use crate::cpu::{Bits, Comparison, CpuError, Ground, HostCpu, baseline, compare, host_cpu, table, update};
use crate::domain_capabilities::{DomainDocument, host_model, known_models};
use crate::node::Node;

/// Why a question about the host has no answer. The words are libvirt's.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// An argument that cannot be.
    #[error("{0}")]
    Argument(String),
    /// A choice that this host or Lodge does not offer.
    #[error("{0}")]
    Config(String),
    /// The program is not there.
    #[error("Cannot check QEMU binary {program}")]
    NoProgram {
        /// The program.
        program: String,
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// QEMU does not tell.
    #[error("cannot find out what this QEMU can do")]
    Probe {
        /// Why not.
        source: ProbeError,
    },
    /// A processor's description is no good.
    #[error(transparent)]
    Description(#[from] BadCpu),
    /// Processors could not be compared.
    #[error(transparent)]
    Cpu(#[from] CpuError),
}

impl HostError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Config(_) | Self::Cpu(CpuError::Incompatible(_) | CpuError::UnknownHost) => {
                Kind::Unsupported
            }
            Self::Argument(_) | Self::Description(_) | Self::Cpu(_) => Kind::InvalidInput,
            Self::NoProgram { .. } => Kind::NotFound,
            Self::Probe { source } => source.kind(),
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Probe { source } => source.hint(),
            Self::NoProgram { .. } => Some("install QEMU (Debian: qemu-system-x86)"),
            Self::Argument(_) | Self::Config(_) | Self::Description(_) | Self::Cpu(_) => None,
        }
    }
}

/// A question about one sort of guest; what is not said is the host's own choice.
#[derive(Debug, Clone, Default)]
pub struct GuestSort<'a> {
    /// The program.
    pub emulator: Option<&'a str>,
    /// Its architecture.
    pub arch: Option<&'a str>,
    /// The machine type, by name or alias.
    pub machine: Option<&'a str>,
    /// `kvm` or `qemu`.
    pub virt_type: Option<&'a str>,
}

/// A processor model as QEMU has it for a sort of guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestModel {
    /// Its name.
    pub name: String,
    /// Whether a guest can have all of it here, where QEMU tells.
    pub usable: Option<bool>,
    /// QEMU will drop it.
    pub deprecated: bool,
}

/// This host.
#[derive(Debug)]
pub struct Host {
    uuid: Uuid,
    node: Node,
    qemu: Arc<Capabilities>,
    /// The QEMUs for other architectures.
    others: Others,
    kvm: bool,
    /// Where QEMU's answers are kept.
    cache: Option<PathBuf>,
    cpu: OnceLock<HostCpu>,
    under_kvm: OnceCell<Processor>,
    under_tcg: OnceCell<Processor>,
}

/// What libvirt says of vcpus to who does not ask for KVM's.
const EMULATED_VCPUS: u32 = 16;

impl Host {
    /// The host with this identity and QEMU; `kvm`: guests may run under KVM; `cache`: where QEMU's answers are kept.
    pub fn new(uuid: Uuid, qemu: Arc<Capabilities>, kvm: bool, cache: Option<PathBuf>) -> Self {
        Self {
            uuid,
            node: Node::default(),
            qemu,
            others: Others::default(),
            kvm,
            cache,
            cpu: OnceLock::new(),
            under_kvm: OnceCell::new(),
            under_tcg: OnceCell::new(),
        }
    }

    /// The same with these QEMUs for other architectures.
    #[must_use]
    pub fn with_others(self, others: Others) -> Self {
        Self { others, ..self }
    }

    /// Processors' places, memory, times.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its processor.
    pub fn cpu(&self) -> &HostCpu {
        self.cpu.get_or_init(host_cpu)
    }

    /// `capabilities`.
    pub fn capabilities(&self) -> String {
        let document = HostDocument {
            uuid: self.uuid,
            cpu: self.cpu(),
            node: &self.node,
            qemu: &self.qemu,
            others: &self.others.all(),
            kvm: self.kvm,
        };
        document.to_xml()
    }

    /// Most vcpus of a guest of a machine.
    fn vcpus_max(&self, machine: &lodge_qemu::qmp::Machine, kvm: bool) -> u32 {
        let limit = self.cpu().kvm.as_ref().filter(|_| kvm).map_or(u32::MAX, |facts| facts.vcpus_max);
        machine.cpu_max.min(limit)
    }

    /// Most vcpus of a guest of a sort, as `virConnectGetMaxVcpus` tells; none said: `qemu`.
    ///
    /// libvirt's answer for `qemu` is a number from its early days, whatever the machine takes: what a machine takes is
    /// in `domcapabilities`. Clients that ask here get what they know.
    pub fn vcpus_max_of(&self, virt_type: Option<&str>) -> Result<u32, HostError> {
        let kvm = match virt_type {
            None | Some("qemu") => return Ok(EMULATED_VCPUS),
            Some("kvm") => true,
            Some(other) => return Err(HostError::Argument(format!("unknown type '{other}'"))),
        };
        let machine = self.qemu.machines.iter().find(|machine| machine.is_default);
        Ok(machine.map_or(0, |machine| self.vcpus_max(machine, kvm)))
    }

    /// Most vcpus of a guest of a sort on the usual machine, as `virsh maxvcpus` tells: what `domcapabilities` says, else
    /// what the older question is answered.
    pub fn vcpus_most(&self, virt_type: Option<&str>) -> Result<u32, HostError> {
        match self.settle(&GuestSort { virt_type, ..GuestSort::default() }) {
            Ok((_, machine, kvm)) => Ok(self.vcpus_max(machine, kvm)),
            Err(_) => self.vcpus_max_of(virt_type),
        }
    }

    /// What QEMU gives of the processor; found out when first asked for.
    async fn processor(&self, kvm: bool) -> Result<&Processor, HostError> {
        let (kept, accelerator) =
            if kvm { (&self.under_kvm, Accelerator::Kvm) } else { (&self.under_tcg, Accelerator::Tcg) };
        kept.get_or_try_init(|| Processor::probe(&self.qemu.binary, accelerator, self.cache.as_deref()))
            .await
            .map_err(|source| HostError::Probe { source })
    }

    /// Finds the machine and the accelerator of a sort of guest.
    fn settle(
        &self,
        sort: &GuestSort<'_>,
    ) -> Result<(&Capabilities, &lodge_qemu::qmp::Machine, bool), HostError> {
        let argument = |text: String| Err(HostError::Argument(text));
        if let Some(other) = sort.virt_type.filter(|kind| !VIRT_TYPES.contains(kind)) {
            return argument(format!("unknown virttype: {other}"));
        }
        let own = Some(&self.qemu).filter(|qemu| qemu.is_present());
        let by_path = |path: &str| {
            let is_it = |binary: &Path| is_same(Path::new(path), binary);
            own.filter(|own| is_it(&own.binary)).or_else(|| self.others.by_program(is_it))
        };
        let named = sort.emulator.and_then(by_path);
        let arch = sort.arch.unwrap_or_else(|| named.map_or("x86_64", |qemu| qemu.arch()));
        if !ARCHITECTURES.contains(&arch) {
            return argument(format!("unknown architecture: {arch}"));
        }
        let by_arch = || own.filter(|own| own.arch() == arch).or_else(|| self.others.of(arch));
        let qemu = named.or_else(by_arch).unwrap_or(&self.qemu);
        let own = qemu.binary.display().to_string();
        match sort.emulator {
            Some(path) if named.is_none() => {
                if let Err(source) = std::fs::metadata(path) {
                    return Err(HostError::NoProgram { program: path.to_owned(), source });
                }
                return Err(HostError::Config(format!("emulator '{path}' is not supported yet; '{own}' is")));
            }
            Some(_) if arch != qemu.arch() => {
                return argument(format!(
                    "architecture from emulator '{}' doesn't match given architecture '{arch}'",
                    qemu.arch()
                ));
            }
            _ if !qemu.is_present() || arch != qemu.arch() => {
                return Err(HostError::Config(format!(
                    "unable to find any emulator to serve '{arch}' architecture"
                )));
            }
            _ => {}
        }
        let is_pc = matches!(arch, "x86_64" | "i686");
        let kvm = match sort.virt_type {
            None => self.kvm && is_pc,
            Some("qemu") => false,
            Some("kvm") if self.kvm && is_pc => true,
            Some(other) => {
                return argument(format!("Emulator '{own}' does not support virt type '{other}'"));
            }
        };
        let machine = match sort.machine {
            None if !is_pc => qemu.machine("virt"),
            None => qemu.machines.iter().find(|machine| machine.is_default),
            Some(name) => qemu.machine(name),
        };
        let name = sort.machine.unwrap_or(if is_pc { "pc" } else { "virt" });
        let refused = || format!("the machine '{name}' is not supported by emulator '{own}'");
        match machine.filter(|machine| runs(arch, &machine.name)) {
            Some(machine) => Ok((qemu, machine, kvm)),
            None => argument(refused()),
        }
    }

    /// `domcapabilities`.
    pub async fn domain_capabilities(&self, sort: &GuestSort<'_>) -> Result<String, HostError> {
        let (qemu, machine, kvm) = self.settle(sort)?;
        let other;
        let processor = if std::ptr::eq(qemu, self.qemu.as_ref()) {
            self.processor(kvm).await?
        } else {
            let asked = Processor::probe(&qemu.binary, Accelerator::Tcg, self.cache.as_deref()).await;
            other = asked.map_err(|source| HostError::Probe { source })?;
            &other
        };
        let document = DomainDocument {
            qemu,
            processor,
            machine: &machine.name,
            kvm,
            vcpus_max: self.vcpus_max(machine, kvm),
            address_bits: self.cpu().address_bits,
            swtpm: lodge_sys::tool::find("swtpm").is_some(),
            vfio: crate::hostdev::has_vfio(),
            launch_security: crate::security::kinds(qemu),
        };
        Ok(document.to_xml())
    }

    /// The processor models that QEMU has for a sort of guest and libvirt knows, by name.
    pub async fn guest_models(&self, sort: &GuestSort<'_>) -> Result<Vec<GuestModel>, HostError> {
        let (_, _, kvm) = self.settle(sort)?;
        let models = self.processor(kvm).await?.models.iter();
        let model = |model: &lodge_qemu::qmp::CpuModel| GuestModel {
            name: model.name.clone(),
            usable: model.unavailable_features.as_ref().map(Vec::is_empty),
            deprecated: model.deprecated,
        };
        let mut found: Vec<_> =
            models.filter(|known| table().model(&known.name).is_some()).map(model).collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// Names of the processor models of an architecture; an empty list: every model is taken.
    pub fn model_names(&self, arch: &str) -> Result<Vec<&'static str>, HostError> {
        match arch {
            "x86_64" | "i686" => Ok(table().models.iter().map(|model| model.name).collect()),
            "armv6l" | "armv7b" | "armv7l" | "aarch64" | "s390" | "s390x" | "riscv32" | "riscv64"
            | "loongarch64" => Ok(Vec::new()),
            other if ARCHITECTURES.contains(&other) => {
                Err(HostError::Config(format!("'{other}' architecture is not supported by CPU driver")))
            }
            other => Err(HostError::Argument(format!("cannot find architecture {other}"))),
        }
    }

    /// Fills in what a guest's processor leaves to the host. `kvm`: the guest is to run on it.
    pub async fn update_guest_cpu(
        &self,
        kvm: bool,
        cpu: &mut lodge_model::domain::cpu::Cpu,
    ) -> Result<(), HostError> {
        let processor = self.processor(kvm && self.kvm).await?;
        Ok(update(cpu, host_model(processor).as_ref())?)
    }

    /// How a described processor stands to the host's. `strictly`: an incompatible one is an error that says why.
    pub fn compare_cpu(&self, xml: &str, strictly: bool) -> Result<Comparison, HostError> {
        let cpu = CpuDescription::parse(xml, CpuKind::Unsaid)?;
        match &self.cpu().description {
            Some(host) => judged(compare(host, &cpu)?, strictly),
            None if strictly => Err(CpuError::UnknownHost.into()),
            None => Ok(Comparison::Incompatible),
        }
    }

    /// How a described processor stands to the fullest one that a sort of guest can have.
    pub async fn compare_guest_cpu(
        &self,
        sort: &GuestSort<'_>,
        xml: &str,
        strictly: bool,
    ) -> Result<Comparison, HostError> {
        let (_, _, kvm) = self.settle(sort)?;
        let processor = self.processor(kvm).await?;
        let cpu = CpuDescription::parse(xml, CpuKind::Unsaid)?;
        match host_model(processor) {
            Some(host) => judged(compare(&host, &cpu)?, strictly),
            None if strictly => Err(CpuError::UnknownHost.into()),
            None => Ok(Comparison::Incompatible),
        }
    }

    /// The richest processor that all described hosts can give a guest.
    pub fn baseline_cpu(&self, cpus: &[String], expand: bool, migratable: bool) -> Result<String, HostError> {
        let cpus = parse_all(cpus, CpuKind::Host)?;
        let ground = Ground { migratable, expand, ..Ground::default() };
        Ok(baseline(&cpus, &ground)?.to_guest_xml())
    }

    /// The same, of what a sort of guest can have here.
    pub async fn baseline_guest_cpu(
        &self,
        sort: &GuestSort<'_>,
        cpus: &[String],
        expand: bool,
        migratable: bool,
    ) -> Result<String, HostError> {
        let cpus = parse_all(cpus, CpuKind::Unsaid)?;
        let (_, _, kvm) = self.settle(sort)?;
        let processor = self.processor(kvm).await?;
        let names = if migratable { &processor.migratable } else { &processor.features };
        let mut features = Bits::empty();
        names.iter().filter_map(|name| table().feature(name)).for_each(|feature| features.add(feature));
        let known = known_models(processor);
        let ground = Ground { known: Some(&known), features: Some(features), migratable: false, expand };
        let mut cpu = baseline(&cpus, &ground)?;
        cpu.fallback = Some("forbid".to_owned());
        Ok(cpu.to_guest_xml())
    }
}

/// libvirt's words for how a guest is run.
const VIRT_TYPES: [&str; 17] = [
    "qemu",
    "kqemu",
    "kvm",
    "xen",
    "lxc",
    "uml",
    "openvz",
    "test",
    "vmware",
    "hyperv",
    "vbox",
    "phyp",
    "parallels",
    "bhyve",
    "vz",
    "hvf",
    "none",
];

/// libvirt's words for architectures.
const ARCHITECTURES: [&str; 37] = [
    "alpha",
    "armv6l",
    "armv7l",
    "armv7b",
    "aarch64",
    "cris",
    "i686",
    "itanium",
    "lm32",
    "loongarch64",
    "m68k",
    "microblaze",
    "microblazeel",
    "mips",
    "mipsel",
    "mips64",
    "mips64el",
    "openrisc",
    "parisc",
    "parisc64",
    "ppc",
    "ppcle",
    "ppc64",
    "ppc64le",
    "ppcemb",
    "riscv32",
    "riscv64",
    "s390",
    "s390x",
    "sh4",
    "sh4eb",
    "sparc",
    "sparc64",
    "unicore32",
    "x86_64",
    "xtensa",
    "xtensaeb",
];

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    one == other || real(one).is_some_and(|path| real(other) == Some(path))
}

fn judged(outcome: (Comparison, Option<String>), strictly: bool) -> Result<Comparison, HostError> {
    match outcome {
        (Comparison::Incompatible, why) if strictly => {
            Err(CpuError::Incompatible(why.unwrap_or_default()).into())
        }
        (comparison, _) => Ok(comparison),
    }
}

fn parse_all(cpus: &[String], kind: CpuKind) -> Result<Vec<CpuDescription>, HostError> {
    Ok(cpus.iter().map(|xml| CpuDescription::parse(xml, kind)).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_qemu() -> Host {
        Host::new(
            Uuid::nil(),
            Arc::new(Capabilities::none(Path::new("/usr/bin/qemu-system-x86_64"))),
            false,
            None,
        )
    }

    #[tokio::test]
    async fn what_is_not_here_is_refused_in_libvirts_words() {
        let host = without_qemu();
        let ask =
            async |sort: GuestSort<'static>| host.domain_capabilities(&sort).await.unwrap_err().to_string();
        let of = |virt_type| GuestSort { virt_type, ..GuestSort::default() };
        assert_eq!(ask(of(Some("foo"))).await, "unknown virttype: foo");
        let arch = |arch| GuestSort { arch, ..GuestSort::default() };
        assert_eq!(ask(arch(Some("foo"))).await, "unknown architecture: foo");
        assert_eq!(
            ask(arch(Some("aarch64"))).await,
            "unable to find any emulator to serve 'aarch64' architecture"
        );
        let missing = GuestSort { emulator: Some("/nonexistent"), ..GuestSort::default() };
        assert_eq!(ask(missing).await, "Cannot check QEMU binary /nonexistent");
        assert!(host.vcpus_max_of(Some("foo")).is_err());
        assert!(host.vcpus_most(Some("foo")).is_err());
        assert_eq!(host.model_names("aarch64").unwrap().len(), 0);
        assert!(host.model_names("x86_64").unwrap().contains(&"Haswell"));
    }

    #[test]
    fn a_host_without_qemu_tells_of_itself_all_the_same() {
        let text = without_qemu().capabilities();
        assert!(text.starts_with("<capabilities>\n\n  <host>\n    <uuid>"), "{text}");
        assert!(text.contains("<cells num='") && !text.contains("<guest>"), "{text}");
    }
}
