//! `<domstatus>`: what libvirtd's QEMU driver keeps of a running guest in `run/libvirt/qemu/NAME.xml`, and by which
//! the next one finds it again.
//!
//! ```text
//!  libvirtd ──▶ NAME.xml ──▶ DomainStatus::live ──▶ the live document, as `virsh dumpxml` shows it
//!  the live document ──▶ DomainStatus::of ──▶ NAME.xml ──▶ libvirtd
//! ```
//!
//! Its `<domain>` is the live document with more in it: what a disk's block nodes are called (`<privateData>`), what
//! an interface of a network got (`<actual>`). What only libvirtd needs (its view of QEMU's capabilities, running
//! block jobs, labels) is kept as it is, so that a guest's stay with Lodge loses none of it.
//! Deliberately absent: the file itself, and whether the process it names is alive.

mod private;

use super::Domain;
use super::lifecycle::{CrashedReason, PausedReason, RunningReason, ShutdownReason, State, VirtState};
use crate::xml::{Foreign, ForeignItem, ParseOptions, WriteOptions, Xml, escaped};
use crate::{Fault, Faults};

/// Says in a status that Lodge wrote it. libvirtd reads past it, and leaves it out when it writes the file anew: so
/// whoever finds the file knows who had the guest last.
const MARK: &str = "lodge";

/// `<domstatus state='running' reason='booted' pid='170'>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct DomainStatus {
    /// virDomainState's word.
    #[xml(attr, required)]
    pub state: String,
    /// The word of the state's reason.
    #[xml(attr)]
    pub reason: Option<String>,
    /// QEMU's process.
    #[xml(attr, required)]
    pub pid: u32,
    /// `<taint>`, kept as it is.
    #[xml(kept = "taint")]
    pub taint: Foreign,
    /// QEMU's monitor.
    #[xml(child)]
    pub monitor: Option<StatusMonitor>,
    /// `<namespaces>`, kept as it is.
    #[xml(kept = "namespaces")]
    pub namespaces: Foreign,
    /// `<vcpus>`, kept as it is: libvirtd asks QEMU anew.
    #[xml(kept = "vcpus")]
    pub vcpus: Foreign,
    /// `<qemuCaps>`, kept as it is: without it libvirtd takes those of the binary.
    #[xml(kept = "qemuCaps")]
    pub qemu_caps: Foreign,
    /// `<job>`, kept as it is.
    #[xml(kept = "job")]
    pub job: Foreign,
    /// `<devices>`, kept as it is: libvirtd asks QEMU anew.
    #[xml(kept = "devices")]
    pub devices: Foreign,
    /// The directory of the monitor's socket; libvirtd removes it with the guest.
    #[xml(child = "libDir")]
    pub lib_dir: Option<StatusPath>,
    /// The directory of the channels' sockets; libvirtd removes it with the guest.
    #[xml(child = "channelTargetDir")]
    pub channel_dir: Option<StatusPath>,
    /// The directory of the guest's memory files.
    #[xml(child = "memoryBackingDir")]
    pub memory_dir: Option<StatusPath>,
    /// `<cpu>`, kept as it is: the definition's, beside the one QEMU made of it.
    #[xml(kept = "cpu")]
    pub cpu: Foreign,
    /// Number of the newest block node.
    #[xml(child)]
    pub nodename: Option<StatusIndex>,
    /// Number of the newest set of descriptors.
    #[xml(child)]
    pub fdset: Option<StatusIndex>,
    /// `<blockjobs>`, kept as it is.
    #[xml(kept = "blockjobs")]
    pub blockjobs: Foreign,
    /// The guest.
    #[xml(child, required)]
    pub domain: Box<Domain>,
    /// All the rest.
    #[xml(
        foreign,
        keeps = "lodge numad lockstate chardevStdioLogd rememberOwner allowReboot agentTimeout backup slirp \
                 dbusDaemon dbusVMState passt snapshotDelete migrationOpts"
    )]
    pub foreign: Foreign,
}

/// `<monitor path='/var/lib/libvirt/qemu/domain-1-web1/monitor.sock' type='unix'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct StatusMonitor {
    /// The socket.
    #[xml(attr, required)]
    pub path: String,
    /// `unix`.
    #[xml(attr = "type")]
    pub kind: Option<String>,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// `<libDir path='…'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct StatusPath {
    /// The path.
    #[xml(attr, required)]
    pub path: String,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

impl StatusPath {
    /// That path.
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), foreign: Foreign::default() }
    }
}

/// `<nodename index='4'/>`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Xml)]
pub struct StatusIndex {
    /// The number.
    #[xml(attr, required)]
    pub index: u32,
    /// What this struct does not know.
    #[xml(foreign)]
    pub foreign: Foreign,
}

/// What a status says beside the live document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusFacts {
    /// virDomainState and the number of its reason.
    pub state: (VirtState, u32),
    /// QEMU's process.
    pub pid: u32,
    /// The monitor's socket.
    pub monitor: String,
    /// A directory that is the guest's alone, for the monitor.
    pub lib_dir: String,
    /// A directory that is the guest's alone, for channels.
    pub channel_dir: String,
    /// User and group that QEMU runs as, if not as libvirtd would have chosen: files plugged in later must be
    /// opened by it.
    pub user: Option<(u32, u32)>,
    /// libvirt's words for what the guest's QEMU can do.
    pub capabilities: Vec<String>,
    /// Aliases of host devices that were taken from the host's drivers, to be given back to them.
    pub taken: Vec<String>,
}

/// libvirt's words for what a QEMU can do, out of a file of its cache (`var/cache/libvirt/qemu/capabilities`); `None`:
/// it is not of the program `emulator`.
pub fn cached_flags(text: &str, emulator: &str) -> Option<Vec<String>> {
    let document = roxmltree::Document::parse(text).ok()?;
    let elements =
        |name: &'static str| document.root_element().children().filter(move |node| node.has_tag_name(name));
    elements("emulator").find(|node| node.text() == Some(emulator))?;
    Some(elements("flag").filter_map(|flag| flag.attribute("name").map(str::to_owned)).collect())
}

impl DomainStatus {
    /// Reads a status.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        crate::xml::parse(text, "domstatus", ParseOptions::default())
    }

    /// Writes it, without the comment that libvirtd puts before it.
    pub fn to_xml(&self) -> String {
        let options = WriteOptions { inactive: false, security_info: true, migratable: false };
        crate::xml::write(self, "domstatus", options)
    }

    /// Whether Lodge wrote it last.
    pub fn is_ours(&self) -> bool {
        let ours = |item: &ForeignItem| matches!(item, ForeignItem::Element { name, .. } if &**name == MARK);
        self.foreign.items().iter().any(ours)
    }

    /// libvirt's number of the run.
    pub fn domid(&self) -> Option<u32> {
        self.domain.id.and_then(|id| u32::try_from(id).ok())
    }

    /// virDomainState and the number of its reason. An unknown word is the state's first reason.
    pub fn virt_state(&self) -> (VirtState, u32) {
        let state = STATES.iter().position(|word| *word == self.state).unwrap_or(0);
        let state = number(state).and_then(VirtState::from_number).unwrap_or(VirtState::NoState);
        let wanted = self.reason.as_deref().unwrap_or("unknown");
        let reason = reasons(state).iter().position(|word| *word == wanted).and_then(number).unwrap_or(0);
        (state, reason)
    }

    /// The same as a state of a running guest's.
    pub fn state(&self) -> State {
        let (state, reason) = self.virt_state();
        match state {
            VirtState::Paused => {
                State::Paused { reason: PausedReason::from_number(reason).unwrap_or(PausedReason::Unknown) }
            }
            VirtState::Shutdown => State::InShutdown {
                reason: ShutdownReason::from_number(reason).unwrap_or(ShutdownReason::Unknown),
            },
            VirtState::Crashed => State::Crashed {
                reason: CrashedReason::from_number(reason).unwrap_or(CrashedReason::Unknown),
            },
            VirtState::PmSuspended => State::PmSuspended,
            VirtState::Running | VirtState::Blocked | VirtState::NoState | VirtState::Shutoff => {
                State::Running {
                    reason: RunningReason::from_number(reason).unwrap_or(RunningReason::Unknown),
                }
            }
        }
    }

    /// Takes on a state.
    pub fn set_state(&mut self, (state, reason): (VirtState, u32)) {
        let word = |words: &[&str], at: u32| {
            usize::try_from(at).ok().and_then(|at| words.get(at).copied()).unwrap_or("unknown").to_owned()
        };
        self.reason = Some(word(reasons(state), reason));
        self.state = word(&STATES, state.number());
    }

    /// The live document in it, as `virsh dumpxml` shows it.
    pub fn live(&self) -> Result<Domain, Faults> {
        private::without(&self.domain)
    }

    /// Aliases of host devices that were taken from the host's drivers, to be given back to them.
    pub fn taken(&self) -> Vec<String> {
        private::taken(&self.domain)
    }

    /// The status of a guest with this live document. `before`: the last one written of this run, by whomever; what
    /// Lodge has no need of is taken over from it.
    pub fn of(live: &Domain, facts: &StatusFacts, before: Option<&Self>) -> Self {
        let before = before.filter(|before| before.pid == facts.pid);
        let of_before = before.map(|before| &*before.domain);
        let domain = Box::new(private::with(live, facts.user, &facts.taken, of_before));
        let mut status = match before {
            Some(before) => Self { domain, ..before.clone() },
            None => Self::fresh(domain, facts),
        };
        let newest = private::newest_node(&status.domain);
        let nodename = status.nodename.get_or_insert_default();
        nodename.index = nodename.index.max(newest);
        // libvirtd asks QEMU for these; what it asked before may not be true any more.
        (status.vcpus, status.devices, status.fdset) = (Foreign::default(), Foreign::default(), None);
        status.set_state(facts.state);
        if !status.is_ours() {
            keep(&mut status.foreign, "<lodge/>");
        }
        status
    }

    fn fresh(domain: Box<Domain>, facts: &StatusFacts) -> Self {
        let kept = |xml: &str| {
            let mut kept = Foreign::default();
            keep(&mut kept, xml);
            kept
        };
        let monitor = StatusMonitor {
            path: facts.monitor.clone(),
            kind: Some("unix".to_owned()),
            foreign: Foreign::default(),
        };
        Self {
            pid: facts.pid,
            monitor: Some(monitor),
            lib_dir: Some(StatusPath::new(&facts.lib_dir)),
            channel_dir: Some(StatusPath::new(&facts.channel_dir)),
            qemu_caps: kept(&capabilities(&facts.capabilities)),
            blockjobs: kept("<blockjobs active='no'/>"),
            domain,
            foreign: kept("<agentTimeout>-2</agentTimeout>"),
            ..Self::default()
        }
    }

    /// What makes a status no status of a running guest.
    pub fn faults(&self) -> Option<Fault> {
        let missing = |path: &str, message: &str| Fault {
            line: 0,
            column: 0,
            path: path.to_owned(),
            message: message.to_owned(),
        };
        if self.pid == 0 {
            return Some(missing("/domstatus/@pid", "names no process"));
        }
        match &self.monitor {
            None => Some(missing("/domstatus/monitor", "is missing")),
            Some(monitor) if monitor.kind.as_deref().is_some_and(|kind| kind != "unix") => {
                Some(missing("/domstatus/monitor/@type", "is not `unix`"))
            }
            Some(_) if self.domain.uuid.is_none() => Some(missing("/domstatus/domain/uuid", "is missing")),
            Some(_) => None,
        }
    }
}

fn capabilities(flags: &[String]) -> String {
    let flags = flags.iter().map(|flag| format!("<flag name='{}'/>", escaped(flag)));
    format!("<qemuCaps>{}</qemuCaps>", flags.collect::<Vec<_>>().concat())
}

/// Keeps an element of ours.
fn keep(foreign: &mut Foreign, xml: &str) {
    foreign.push(ForeignItem::element(xml).expect("the element is well-formed"));
}

fn number(at: usize) -> Option<u32> {
    u32::try_from(at).ok()
}

/// virDomainState's words, in the order of the numbers.
const STATES: [&str; 8] =
    ["nostate", "running", "blocked", "paused", "shutdown", "shutoff", "crashed", "pmsuspended"];

/// The words of a state's reasons, in the order of the numbers.
fn reasons(state: VirtState) -> &'static [&'static str] {
    match state {
        VirtState::NoState | VirtState::Blocked | VirtState::PmSuspended => &["unknown"],
        VirtState::Running => &[
            "unknown",
            "booted",
            "migrated",
            "restored",
            "from snapshot",
            "unpaused",
            "migration canceled",
            "save canceled",
            "wakeup",
            "crashed",
            "post-copy",
            "post-copy failed",
        ],
        VirtState::Paused => &[
            "unknown",
            "user",
            "migration",
            "save",
            "dump",
            "ioerror",
            "watchdog",
            "from snapshot",
            "shutdown",
            "snapshot",
            "panicked",
            "starting up",
            "post-copy",
            "post-copy failed",
            "api error",
        ],
        VirtState::Shutdown => &["unknown", "user"],
        VirtState::Shutoff => &[
            "unknown",
            "shutdown",
            "destroyed",
            "crashed",
            "migrated",
            "saved",
            "failed",
            "from snapshot",
            "daemon",
        ],
        VirtState::Crashed => &["unknown", "panicked"],
    }
}
