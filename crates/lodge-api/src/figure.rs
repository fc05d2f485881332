//! Figures of domains: counters, sizes and limits by libvirt's names.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::is_off;

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Figure {
    /// libvirt's name of it: `block.0.rd.reqs`.
    pub name: String,
    /// Its value.
    pub value: FigureValue,
}

/// A figure's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum FigureValue {
    /// Yes or no.
    Flag(bool),
    /// A number from 0.
    Unsigned(u64),
    /// A number below 0.
    Signed(i64),
    /// A fraction.
    Fraction(f64),
    /// A text.
    Text(String),
}

impl std::fmt::Display for FigureValue {
    /// As virsh prints it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
            Self::Unsigned(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Fraction(number) => write!(f, "{number:.6}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What of one domain is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FigureTopic {
    /// Memory as the guest and the host see it, in KiB (`virsh dommemstat`).
    Memory,
    /// Processor time in ns (`virsh cpu-stats --total`).
    Cpu,
    /// The same by the host's processors, where the host counts so.
    CpuByProcessor,
    /// What was read and written of a disk, `device`; of all together without (`virsh domblkstat`).
    Disk,
    /// What went through a card, `device` (`virsh domifstat`).
    Nic,
    /// Shares and limits of processor time (`virsh schedinfo`).
    Scheduler,
}

/// Which figures of one domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FigureQuery {
    /// What is asked for.
    #[param(inline)]
    pub of: FigureTopic,
    /// A disk's target or path, a card's name or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Limits: of the running guest. Neither this nor `config`: of what counts now.
    #[serde(default, skip_serializing_if = "is_off")]
    pub live: bool,
    /// Limits: of the definition.
    #[serde(default, skip_serializing_if = "is_off")]
    pub config: bool,
}

/// A group of figures (`virsh domstats --state …`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FigureGroup {
    /// State.
    State,
    /// Processor time.
    CpuTotal,
    /// Memory.
    Balloon,
    /// Processors.
    Vcpu,
    /// Cards.
    Interface,
    /// Disks.
    Block,
    /// Performance events.
    Perf,
    /// I/O threads.
    Iothread,
    /// Memory bandwidth.
    Memory,
    /// How fast memory is written.
    Dirtyrate,
    /// The hypervisor's own counters.
    Vm,
}

impl FigureGroup {
    /// All, in libvirt's order of bits.
    pub const ALL: [Self; 11] = [
        Self::State,
        Self::CpuTotal,
        Self::Balloon,
        Self::Vcpu,
        Self::Interface,
        Self::Block,
        Self::Perf,
        Self::Iothread,
        Self::Memory,
        Self::Dirtyrate,
        Self::Vm,
    ];

    /// virsh's option for it, without the dashes.
    pub fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::CpuTotal => "cpu-total",
            Self::Balloon => "balloon",
            Self::Vcpu => "vcpu",
            Self::Interface => "interface",
            Self::Block => "block",
            Self::Perf => "perf",
            Self::Iothread => "iothread",
            Self::Memory => "memory",
            Self::Dirtyrate => "dirtyrate",
            Self::Vm => "vm",
        }
    }
}

/// Which figures of many domains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct FiguresQuery {
    /// Which groups, with commas between; none: all.
    #[serde(with = "groups", skip_serializing_if = "Vec::is_empty")]
    #[param(value_type = Option<String>, example = "state,block")]
    pub groups: Vec<FigureGroup>,
    /// Every file of a disk's chain, not the topmost only.
    #[serde(skip_serializing_if = "is_off")]
    pub backing: bool,
    /// Of this domain only: its name, UUID or number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

/// Groups with commas between, as one query parameter.
mod groups {
    use super::{Deserialize, Deserializer, FigureGroup, Serializer, de};

    pub fn serialize<S: Serializer>(groups: &[FigureGroup], out: S) -> Result<S::Ok, S::Error> {
        let words: Vec<_> = groups.iter().map(|group| group.word()).collect();
        out.serialize_str(&words.join(","))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<FigureGroup>, D::Error> {
        let text = String::deserialize(input)?;
        let group = |word: &str| {
            FigureGroup::ALL.into_iter().find(|group| group.word() == word).ok_or_else(|| {
                let words = FigureGroup::ALL.map(FigureGroup::word).join(", ");
                de::Error::custom(format!("`{word}` is no group of figures; there are: {words}"))
            })
        };
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(group).collect()
    }
}

/// One domain's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DomainFigures {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// The figures, in libvirt's order.
    pub figures: Vec<Figure>,
}

/// A processor of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VcpuView {
    /// Its number.
    pub number: u32,
    /// The host's processor it ran on last; none while the guest is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Processor time it used, in ns; none while the guest is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_ns: Option<u64>,
    /// The host's processors it may run on.
    pub affinity: Vec<u32>,
}

/// The processors of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VcpusView {
    /// How many processors the host has.
    pub host_processors: u32,
    /// The domain's.
    pub vcpus: Vec<VcpuView>,
}
