//! Why a network act failed: one variant per act, the subject in its fields.

use std::io;
use std::path::PathBuf;

use lodge_model::Kind;
use lodge_model::network::BadUpdate;

/// Why something about a network was not done.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No network has this name or UUID.
    #[error("no network `{name}`")]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// The document is no good; every fault found, with its place.
    #[error("the network's document is not valid: {faults}")]
    Document {
        /// All faults, one per line.
        faults: String,
    },
    /// The document asks for something Lodge does not do.
    #[error("network `{network}`: {what} is not supported")]
    Unsupported {
        /// The network.
        network: String,
        /// What, in libvirt's words.
        what: String,
    },
    /// Another network has the name, the UUID, the bridge or the subnet.
    #[error("{what} is already used by network `{other}`")]
    Taken {
        /// What is taken, e.g. `bridge virbr0`.
        what: String,
        /// By which network.
        other: String,
        /// That network's interface, where it is the subnet that is taken.
        link: Option<String>,
    },
    /// Another network has the name. libvirt's words.
    #[error("network '{name}' already exists with uuid {uuid}")]
    NameTaken {
        /// The name.
        name: String,
        /// The other's UUID.
        uuid: lodge_model::NetworkId,
    },
    /// Another network has the UUID. libvirt's words.
    #[error("network '{name}' is already defined with uuid {uuid}")]
    UuidTaken {
        /// The other's name.
        name: String,
        /// The UUID.
        uuid: lodge_model::NetworkId,
    },
    /// It runs already, so it cannot be created.
    #[error("network is already active as '{name}'")]
    Running {
        /// Its name.
        name: String,
    },
    /// Its state does not allow the act. libvirt's words.
    #[error("{0}")]
    State(&'static str),
    /// A section could not be changed.
    #[error(transparent)]
    Update(#[from] lodge_model::network::BadUpdate),
    /// What is asked for is not in the network's metadata.
    #[error("{0}")]
    NoMetadata(&'static str),
    /// Metadata that cannot be.
    #[error("{0}")]
    BadMetadata(String),
    /// The host has the bridge or the subnet already, from somebody else.
    #[error("{what} is already there: it belongs to {owner}")]
    Conflict {
        /// What is in the way, e.g. `bridge virbr0`.
        what: String,
        /// Whose it is, as far as can be told.
        owner: String,
        /// What to do.
        hint: String,
    },
    /// The act needs the network up.
    #[error("network `{network}` is not active")]
    Inactive {
        /// The network.
        network: String,
    },
    /// The act needs the network down.
    #[error("network `{network}` is active")]
    Active {
        /// The network.
        network: String,
    },
    /// This user cannot make bridges.
    #[error("networks need root: {what} was refused by the kernel")]
    NotPermitted {
        /// Which act.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A change of the kernel's links, addresses or taps failed.
    #[error("cannot {act} `{subject}`")]
    Link {
        /// The act, e.g. `create bridge`.
        act: &'static str,
        /// The interface.
        subject: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// `nft` refused or is missing.
    #[error("cannot load the firewall's rules with nft: {detail}")]
    Firewall {
        /// nft's own words.
        detail: String,
    },
    /// What goes over an interface could not be limited.
    #[error("cannot limit what goes over `{subject}`: {detail}")]
    Limit {
        /// The interface.
        subject: String,
        /// `tc` is not installed.
        missing: bool,
        /// tc's own words.
        detail: String,
    },
    /// A network cannot keep so much free for a guest. libvirt's words.
    #[error("invalid use of 'floor' on the interface with MAC address {mac} - network `{network}`: {what}")]
    Floor {
        /// The guest's address.
        mac: lodge_model::MacAddr,
        /// The network.
        network: String,
        /// Why.
        what: String,
    },
    /// An interface, its port group and its network want different virtual ports. libvirt's words.
    #[error("attempt to merge virtualports with mismatched {what} ('{one}' and '{other}')")]
    PortsClash {
        /// What of them, in the plural.
        what: &'static str,
        /// One.
        one: String,
        /// The other.
        other: String,
    },
    /// Somebody else limits what goes over a bridge.
    #[error("bridge `{bridge}` has limits already, which this network did not set: {found}")]
    Limited {
        /// The bridge.
        bridge: String,
        /// tc's words.
        found: String,
    },
    /// A bridge pays no heed to VLANs.
    #[error("bridge `{bridge}` does not filter VLANs: the guest's would separate it from nobody")]
    NoVlans {
        /// The bridge.
        bridge: String,
    },
    /// Open vSwitch refused or is missing.
    #[error("cannot set up `{subject}` in Open vSwitch: {detail}")]
    Switch {
        /// The port, or whose it is.
        subject: String,
        /// It is not installed.
        missing: bool,
        /// Its own words.
        detail: String,
    },
    /// A program of a document's failed.
    #[error("script `{}` for `{subject}` failed: {detail}", program.display())]
    Script {
        /// The program.
        program: PathBuf,
        /// The tap.
        subject: String,
        /// What it said.
        detail: String,
    },
    /// Something is asked of a card that its other end cannot have.
    #[error("{what}")]
    Card {
        /// What, and of which sort of card.
        what: &'static str,
        /// What to do instead.
        hint: &'static str,
    },
    /// A card's filter could not be carried out.
    #[error(transparent)]
    Filter(#[from] crate::FilterError),
    /// netd did not come up.
    #[error("netd of network `{network}` did not come up: {detail}")]
    Netd {
        /// The network.
        network: String,
        /// Last words or cause.
        detail: String,
    },
    /// netd did not answer.
    #[error("netd of network `{network}` gave no answer: {detail}")]
    Silent {
        /// The network.
        network: String,
        /// What was tried.
        detail: String,
    },
    /// A file of the network's could not be read or written.
    #[error("cannot {act} `{}`", path.display())]
    File {
        /// The act.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The definitions' store failed.
    #[error("cannot keep the definition of network `{network}`: {detail}")]
    Store {
        /// The network.
        network: String,
        /// The store's words.
        detail: String,
    },
    /// What is before it does not end: the kernel or a program does not answer.
    #[error("the networks are at something else for {seconds} s: {act}. This is done once that has ended")]
    Stuck {
        /// What is under way.
        act: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// The owner task has ended: the daemon is going down.
    #[error("networks are closed")]
    Closed,
}

impl NetworkError {
    /// Sorts the error for those who did not cause it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } | Self::NoMetadata(_) => Kind::NotFound,
            Self::Document { .. } | Self::PortsClash { .. } => Kind::InvalidInput,
            Self::Unsupported { .. }
            | Self::Update(BadUpdate::Unsupported(_))
            | Self::Card { .. }
            | Self::Limit { missing: true, .. }
            | Self::Switch { missing: true, .. } => Kind::Unsupported,
            Self::Taken { .. } | Self::NameTaken { .. } | Self::UuidTaken { .. } => Kind::Exists,
            Self::Update(BadUpdate::Entry(_) | BadUpdate::Range(_)) | Self::BadMetadata(_) => {
                Kind::InvalidInput
            }
            Self::Conflict { .. } | Self::Floor { .. } | Self::Limited { .. } => Kind::Conflict,
            Self::Inactive { .. }
            | Self::Active { .. }
            | Self::State(_)
            | Self::Running { .. }
            | Self::NoVlans { .. }
            | Self::Update(BadUpdate::Mismatch(_)) => Kind::InvalidState,
            Self::NotPermitted { .. } => Kind::Denied,
            Self::Link { .. }
            | Self::Firewall { .. }
            | Self::Limit { .. }
            | Self::Switch { .. }
            | Self::Script { .. }
            | Self::Netd { .. }
            | Self::File { .. }
            | Self::Store { .. } => Kind::Internal,
            Self::Silent { .. } | Self::Stuck { .. } | Self::Closed => Kind::Unavailable,
            Self::Filter(error) => error.kind(),
        }
    }

    /// The next step for the user, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { .. } => Some("`lodge net-list --all` shows the networks there are".into()),
            Self::Conflict { hint, .. } => Some(hint.clone()),
            Self::Inactive { network } => Some(format!("start it with `lodge net-start {network}`")),
            Self::Active { network } => Some(format!("stop it with `lodge net-destroy {network}`")),
            Self::NotPermitted { .. } => Some("run the daemon as root, or use user-mode networking".into()),
            Self::NameTaken { .. } | Self::UuidTaken { .. } => {
                Some("give the document the other's name and <uuid> to replace it, or neither".into())
            }
            Self::Taken { .. } => Some("choose another, or undefine that network first".into()),
            Self::Firewall { .. } => {
                Some("`lodge host check` tells whether nft and nf_tables are there".into())
            }
            Self::Netd { .. } | Self::Silent { .. } => {
                Some("netd's log is in var/log/lodge under the root".into())
            }
            Self::Limit { missing: true, .. } => Some("install iproute2 (`tc`), or leave <bandwidth> out".into()),
            Self::Limit { .. } => {
                Some("the kernel needs HTB (sch_htb) for what waits, and act_police and cls_u32 for what is dropped".into())
            }
            Self::Floor { .. } => Some("give the network <bandwidth><inbound average='…'/> with room for it".into()),
            Self::PortsClash { .. } => Some("say it in one of the three, or the same in all".into()),
            Self::Limited { bridge, .. } => {
                Some(format!("leave <bandwidth> out of the network, or remove them: tc qdisc del dev {bridge} root"))
            }
            Self::NoVlans { bridge } => {
                Some(format!("ip link set {bridge} type bridge vlan_filtering 1, which its other ports see as well"))
            }
            Self::Switch { missing: true, .. } => {
                Some("install openvswitch-switch, or name a Linux bridge without <virtualport>".into())
            }
            Self::Switch { .. } => Some("`ovs-vsctl show` tells whether the switch runs and has the bridge".into()),
            Self::Card { hint, .. } => Some((*hint).to_owned()),
            Self::Filter(error) => error.hint().map(str::to_owned),
            Self::Stuck { .. } => Some("`dmesg` may tell whom the kernel waits for".into()),
            Self::Script { .. }
            | Self::Document { .. }
            | Self::Running { .. }
            | Self::State(_)
            | Self::Update(_)
            | Self::NoMetadata(_)
            | Self::BadMetadata(_)
            | Self::Unsupported { .. }
            | Self::Link { .. }
            | Self::File { .. }
            | Self::Store { .. }
            | Self::Closed => None,
        }
    }
}

/// The whole chain on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
