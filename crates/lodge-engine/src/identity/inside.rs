//! What lies inside a guest's disks, read and changed while the guest is off.
//!
//! ```text
//! open (storage) ─▶ read (a confined process) ─▶ judge and plan (pure) ─▶ edit (another) ─▶ read again ─▶ verify
//! ```
//!
//! Nothing here pretends. What was not changed, or is not as it was planned when it is read again, is told as such.

mod images;
mod recover;
mod report;

use images::ImagesLog;
pub(super) use images::is_in_change;
pub(super) use report::to_fill;

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lodge_api::{IdentityChange, InsideState, PrivateKeys};
use lodge_disk::{
    edit::{EditError, Editor, Recovered},
    source::{DiskImage, Layer, LayerFormat},
};
use lodge_identity::{
    self as catalogue, Address, Catalogue, Fresh, HostFacts, Identity, NicWish, Operations, Purpose,
};
use lodge_model::{
    Kind, MacAddr,
    guest_disk::{Archive, Files, Layout, Wanted},
};
use lodge_qemu::agent::Agent;
use lodge_storage::{ClaimedDisk, DiskUse, Format, OpenDisks, Storage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::alter;
use crate::{
    error::{EngineError, Result},
    guest_disk::Readers,
};

/// What is to become of what lies inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wish {
    /// It stays as it is.
    Keep,
    /// It is another machine.
    Another {
        /// Its host name; none: as it was.
        hostname: Option<String>,
        /// The addresses of its interfaces: before, and from now on.
        macs: Vec<(MacAddr, MacAddr)>,
        /// The addresses of the network that interfaces are to have.
        #[serde(default)]
        addresses: Vec<CardAddress>,
        /// What becomes of private keys that are not its own.
        #[serde(default)]
        private_keys: PrivateKeys,
    },
    /// It has a machine id: one that is there stays, and so does all else.
    Ensured,
    /// It is no machine at all: others are made of it.
    Template {
        /// What becomes of private keys that are not its own.
        #[serde(default)]
        private_keys: PrivateKeys,
    },
    /// These operations of virt-sysprep's and no others.
    Sysprep {
        /// Which.
        operations: Operations,
        /// Its host name; none: as it was.
        hostname: Option<String>,
        /// What becomes of private keys that are not its own.
        #[serde(default)]
        private_keys: PrivateKeys,
        /// What else is to be done, after all that.
        #[serde(default)]
        steps: Vec<catalogue::Step>,
    },
}

/// The address of the network that one interface is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CardAddress {
    pub card: Card,
    pub address: Address,
}

/// Which interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Card {
    /// The one that had this hardware address.
    Mac(MacAddr),
    /// The one that the guest calls so.
    Name(String),
}

/// A disk of a guest that is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GuestDisk {
    pub target: String,
    pub path: PathBuf,
    pub format: Format,
    pub is_encrypted: bool,
}

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InsideReport {
    /// In short.
    pub state: InsideState,
    /// Item by item.
    pub changes: Vec<IdentityChange>,
    /// What was not done.
    pub warnings: Vec<String>,
    /// What stands empty and somebody must fill.
    #[serde(default)]
    pub to_fill: Vec<String>,
}

impl InsideReport {
    /// As the book keeps it.
    pub fn items(&self) -> Value {
        serde_json::json!({ "inside": self.state, "changes": self.changes, "to_fill": self.to_fill })
    }

    /// Refuses to call it done where nothing could be changed.
    pub fn refuse_nothing(&self, name: &str) -> Result<()> {
        if self.state != InsideState::NotReset || !self.changes.is_empty() {
            return Ok(());
        }
        let text = format!("nothing was changed in `{name}`: {}", self.warnings.join("; "));
        Err(EngineError::new(Kind::InvalidInput, text))
    }
}

/// What was read of disks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    pub identity: Identity,
    pub layout: Layout,
    pub files: Files,
    pub gaps: Vec<String>,
}

/// Which initramfs images are looked into, and for what.
#[derive(Clone, Copy)]
enum Archives<'a> {
    None,
    /// All that a plan must know.
    ToPlan,
    /// Those that were changed.
    Of(&'a catalogue::Plan),
}

/// Who reads and changes it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    storage: Storage,
    readers: Readers,
    editor: Editor,
    catalogue: Arc<Catalogue>,
    /// Where changes of disks that are somebody's are noted before they happen.
    logs: PathBuf,
}

impl Inside {
    pub fn new(
        storage: &Storage,
        (readers, editor): (Readers, Editor),
        catalogue: Catalogue,
        logs: PathBuf,
    ) -> Self {
        Self { storage: storage.clone(), readers, editor, catalogue: Arc::new(catalogue), logs }
    }

    /// Who reads guests' disks, for whatever reason.
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Where the change of a guest's disks is noted.
    pub fn log_of(&self, guest: &str) -> PathBuf {
        log_of(&self.logs, guest)
    }

    /// The same of disks that are no guest's: with which those are, for they stand in no document.
    pub fn log_of_images(&self, act: &str, disks: &[GuestDisk]) -> Result<ImagesLog> {
        ImagesLog::begin(&self.logs, act, disks)
    }

    /// Reads what makes it this machine.
    pub async fn read(&self, disks: &[GuestDisk]) -> Result<Reading> {
        let open = self.storage.open_to_read(&uses(disks)?).await?;
        self.read_open(open.disks.iter(), &self.catalogue.wanted_to_look(), Archives::None).await
    }

    async fn read_open<'a>(
        &self,
        disks: impl Iterator<Item = &'a ClaimedDisk>,
        wanted: &[Wanted],
        archives: Archives<'_>,
    ) -> Result<Reading> {
        let images = disks.map(|disk| image(disk, false)).collect::<Result<Vec<_>>>()?;
        let mut reader = self.readers.start(images).await?;
        let lodge_disk::worker::Disks { layout, .. } = reader.worker.layout().await?;
        let mut files = reader.worker.files(wanted).await?;
        let asked = match archives {
            Archives::None => None,
            Archives::ToPlan => self.catalogue.archives(&layout, &files),
            Archives::Of(plan) => self.catalogue.archives_of(plan),
        };
        let (paths, words) = asked.unwrap_or_default();
        for path in paths {
            let read = reader.worker.archive(&path, &words).await;
            // What is not known of it is told where it matters; all else is known.
            let archive = read.unwrap_or_else(|error| Archive {
                fault: Some(crate::error::chain_of(&error)),
                ..Archive::default()
            });
            files.archives.insert(path, archive);
        }
        let identity = self.catalogue.read(&layout, &files, &HostFacts::default());
        let gaps = files.gaps.iter().map(|gap| format!("{}: {}", gap.place, gap.why)).collect();
        Ok(Reading { identity, layout, files, gaps })
    }

    /// Makes what lies on the disks what was wished, and says what became of it. The disks are nobody's yet: after a
    /// failure they are to be thrown away.
    pub async fn change(&self, name: &str, disks: &[GuestDisk], wish: &Wish) -> Result<InsideReport> {
        self.change_disks(name, disks, wish, None).await
    }

    /// The same to disks that have been there: a crash leaves all of it or nothing, and who needs their bytes as they are is
    /// not harmed.
    pub async fn change_standing(
        &self,
        name: &str,
        disks: &[GuestDisk],
        wish: &Wish,
        log: &Path,
    ) -> Result<InsideReport> {
        self.change_disks(name, disks, wish, Some(log)).await
    }

    async fn change_disks(
        &self,
        name: &str,
        disks: &[GuestDisk],
        wish: &Wish,
        log: Option<&Path>,
    ) -> Result<InsideReport> {
        if *wish == Wish::Keep {
            return Ok(InsideReport { state: InsideState::Kept, ..InsideReport::default() });
        }
        if let Some(report) = report::of_unreadable(disks) {
            if let Wish::Another { addresses, .. } = wish {
                report::refuse_unplaced(addresses, &catalogue::Plan::default())?;
            }
            if *wish == Wish::Ensured {
                return Err(report::not_ensured(name, &report.warnings.join("; ")));
            }
            if matches!(wish, Wish::Template { .. }) {
                return Err(report::unproven(name, &report.warnings.join("; ")));
            }
            return Ok(report);
        }
        let (what, uses) = ("a change of its identity", uses(disks)?);
        let open = match log {
            Some(_) => self.storage.open_standing_to_edit(what, &uses).await?,
            None => self.storage.open_to_edit(what, &uses).await?,
        };
        let before = self.read_open(open.disks.iter(), &self.wanted_to_plan(wish), wish.archives()).await?;
        if *wish == Wish::Ensured
            && let Some(report) = report::of_ensured(name, &before)?
        {
            return Ok(report);
        }
        let plan = self.plan(&before, wish)?;
        if !plan.edits.is_empty() {
            self.edit(&open, plan.edits.clone(), log).await?;
        }
        let after = self.read_open(open.disks.iter(), &self.catalogue.wanted(), Archives::Of(&plan)).await?;
        let mut verdicts = catalogue::verify(&before.identity, &after.identity, &plan);
        verdicts.extend(catalogue::verify_archives(&after.files, &plan));
        report::refuse_bad(name, &verdicts)?;
        if matches!(wish, Wish::Template { .. }) {
            report::refuse_unclean(name, &self.catalogue.clean(&after.identity), &after)?;
        }
        Ok(report::of(&before, &after, &plan, wish))
    }

    /// The same in a guest that runs, by its agent, as far as that goes beneath running programs: what lies on devices stays.
    pub async fn change_running(
        &self,
        name: &str,
        agent: &Agent,
        wish: &Wish,
        patience: Duration,
    ) -> Result<InsideReport> {
        if *wish == Wish::Keep {
            return Ok(InsideReport { state: InsideState::Kept, ..InsideReport::default() });
        }
        let before = self.ask(agent, &self.wanted_to_plan(wish), patience).await?;
        let plan = self.plan(&before, wish)?;
        let (script, passed_over) = alter::script(&plan.edits);
        let ran = agent.run_with("/bin/sh", &[], script.as_bytes(), patience).await?;
        let after = self.ask(agent, &self.catalogue.wanted(), patience).await?;
        let verdicts = catalogue::verify(&before.identity, &after.identity, &plan);
        let mut report = report::of(&before, &after, &plan, wish);
        for change in &mut report.changes {
            "read back by the guest's agent".clone_into(&mut change.verified);
        }
        let bad: Vec<_> = verdicts.iter().filter(|verdict| !verdict.is_good).collect();
        // An address that its source has too is told among the warnings; it runs on with it.
        let shares_address = plan.flagged.iter().any(|flag| flag.kind == catalogue::Kind::STATIC_ADDRESS);
        if !bad.is_empty() || !passed_over.is_empty() || shares_address || ran.exit_code != Some(0) {
            report.state = InsideState::NotReset;
        }
        for verdict in bad {
            report
                .changes
                .retain(|change| change.place != verdict.place || change.item != verdict.kind.to_string());
            report
                .warnings
                .push(format!("{} {} was not changed: {}", verdict.kind, verdict.place, verdict.found));
        }
        report
            .warnings
            .extend(passed_over.iter().map(|path| format!("{path} cannot be changed while it runs")));
        if ran.exit_code != Some(0) {
            let said: String = String::from_utf8_lossy(&ran.stderr).escape_debug().take(300).collect();
            report.warnings.push(format!("not all could be written in `{name}`: {said}"));
        }
        Ok(report)
    }

    async fn ask(&self, agent: &Agent, wanted: &[Wanted], patience: Duration) -> Result<Reading> {
        let files = super::running::read(agent, wanted, patience).await?;
        let layout = Layout::default();
        let identity = self.catalogue.read(&layout, &files, &HostFacts::default());
        let gaps = files.gaps.iter().map(|gap| format!("{}: {}", gap.place, gap.why)).collect();
        Ok(Reading { identity, layout, files, gaps })
    }

    /// What a change would be.
    pub async fn foretell(&self, disks: &[GuestDisk], wish: &Wish) -> Result<InsideReport> {
        if let Some(report) = report::of_unreadable(disks) {
            return Ok(report);
        }
        let open = self.storage.open_to_read(&uses(disks)?).await?;
        let before = self.read_open(open.disks.iter(), &self.wanted_to_plan(wish), wish.archives()).await?;
        let plan = self.plan(&before, wish)?;
        Ok(report::foretold(&before, &plan, wish))
    }

    fn wanted_to_plan(&self, wish: &Wish) -> Vec<Wanted> {
        let mut wanted = self.catalogue.wanted();
        wanted.extend(self.catalogue.wanted_to_plan());
        if let Wish::Sysprep { steps, .. } = wish {
            wanted.extend(catalogue::wanted_of_steps(steps));
        }
        wanted
    }

    fn plan(&self, before: &Reading, wish: &Wish) -> Result<catalogue::Plan> {
        let fresh = Fresh::new(random()?);
        let (purpose, hostname) = match wish {
            Wish::Keep => (Purpose::Keep, None),
            Wish::Another { hostname, macs, .. } if macs.is_empty() => (Purpose::Reset, hostname.clone()),
            Wish::Another { hostname, .. } => (Purpose::Clone, hostname.clone()),
            Wish::Ensured => (Purpose::Reset, None),
            Wish::Template { .. } => (Purpose::Generalise, None),
            Wish::Sysprep { hostname, .. } => (Purpose::Generalise, hostname.clone()),
        };
        let mut asked = catalogue::Wish::new(purpose, fresh);
        asked.host_name = hostname;
        if let Wish::Another { macs, addresses, .. } = wish {
            asked.nics = nics(macs, addresses);
        }
        asked.private_keys = wish.private_keys();
        match wish {
            Wish::Sysprep { operations, steps, .. } => {
                asked.operations = operations.clone();
                asked.steps.clone_from(steps);
            }
            Wish::Ensured => asked.operations = Operations::Only(["machine-id".to_owned()].into()),
            Wish::Keep | Wish::Another { .. } | Wish::Template { .. } => {}
        }
        let plan = self.catalogue.plan(&before.identity, &before.layout, &before.files, &asked);
        let plan = plan.map_err(|error| EngineError::of(Kind::Conflict, error.hint(), error))?;
        if let Wish::Another { addresses, .. } = wish {
            report::refuse_unplaced(addresses, &plan)?;
        }
        Ok(plan)
    }

    async fn edit(
        &self,
        open: &OpenDisks,
        edits: Vec<lodge_model::guest_disk::Edit>,
        log: Option<&Path>,
    ) -> Result<()> {
        let Some(log) = log else {
            let edited = self.editor.edit(writable(open)?, edits, None).await;
            return edited.map(drop).map_err(told);
        };
        let images = writable(open)?;
        let mut edited = self.editor.edit(images, edits, Some(new_log(log)?)).await.map(drop);
        if let Err(error) = edited {
            // It may have failed while the disks were written: then the log alone knows what belongs there. If it
            // cannot be followed now, it stays for the next daemon.
            edited = match self.follow(open, log).await? {
                Recovered::Applied => Ok(()),
                Recovered::Dropped => Err(error),
            };
        }
        // Not needed any more: all of it is on the disks, or nothing.
        lodge_sys::fs::remove_durable(log).map_err(|error| log_error("remove", log, &error))?;
        edited.map_err(told)
    }

    /// Brings disks to where a log says that they belong, if it is whole.
    async fn follow(&self, open: &OpenDisks, log: &Path) -> Result<Recovered> {
        let file = File::options().read(true).write(true).open(log);
        let file = file.map_err(|error| log_error("open", log, &error))?;
        self.editor.recover(writable(open)?, file).await.map_err(|error| {
            let next = format!(
                "the disks may be half changed: do not start the guest; restarting the daemon tries `{}` again",
                log.display()
            );
            EngineError::of(report::kind_of(&error), Some(next), error)
        })
    }
}

impl Wish {
    /// An initramfs is only looked into where devices get other ids.
    fn archives(&self) -> Archives<'_> {
        match self {
            Self::Another { .. } | Self::Sysprep { .. } => Archives::ToPlan,
            Self::Keep | Self::Ensured | Self::Template { .. } => Archives::None,
        }
    }

    fn private_keys(&self) -> catalogue::PrivateKeys {
        let wished = match self {
            Self::Keep | Self::Ensured => PrivateKeys::Keep,
            Self::Another { private_keys, .. }
            | Self::Template { private_keys }
            | Self::Sysprep { private_keys, .. } => *private_keys,
        };
        match wished {
            PrivateKeys::Keep => catalogue::PrivateKeys::Keep,
            PrivateKeys::Remove => catalogue::PrivateKeys::Remove,
            PrivateKeys::Refuse => catalogue::PrivateKeys::Refuse,
        }
    }
}

/// What is wanted of each interface. One that is only known by its name comes first: it says what it is about.
fn nics(macs: &[(MacAddr, MacAddr)], addresses: &[CardAddress]) -> Vec<NicWish> {
    let named = addresses.iter().filter_map(|wanted| match &wanted.card {
        Card::Name(name) => Some(NicWish {
            interface: Some(name.clone()),
            address: wanted.address.clone(),
            ..NicWish::default()
        }),
        Card::Mac(_) => None,
    });
    let of = |mac: MacAddr| addresses.iter().find(|wanted| wanted.card == Card::Mac(mac));
    let known = macs.iter().map(|(old, new)| NicWish {
        old_mac: Some(old.to_string()),
        new_mac: Some(new.to_string()),
        address: of(*old).map(|wanted| wanted.address.clone()).unwrap_or_default(),
        ..NicWish::default()
    });
    named.chain(known).collect()
}

/// Where the change of a guest's disks is noted, among the notes of all.
pub(super) fn log_of(logs: &Path, guest: &str) -> PathBuf {
    logs.join(format!("{guest}.redo"))
}

fn told(error: EditError) -> EngineError {
    EngineError::of(report::kind_of(&error), None, error)
}

fn writable(open: &OpenDisks) -> Result<Vec<DiskImage>> {
    open.disks.iter().map(|disk| image(disk, true)).collect()
}

/// 32 bytes of the kernel's randomness.
fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| EngineError::new(Kind::Internal, format!("cannot read /dev/urandom: {error}")))?;
    Ok(bytes)
}

/// A log for its owner only: it holds private keys.
fn new_log(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|error| log_error("make", path, &error))?;
    }
    let made = File::options().read(true).write(true).create_new(true).mode(0o600).open(path);
    let file = made.map_err(|error| log_error("make", path, &error))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    lodge_sys::fs::sync_dir(directory).map_err(|error| log_error("make", path, &error))?;
    Ok(file)
}

fn log_error(act: &str, path: &Path, error: &std::io::Error) -> EngineError {
    EngineError::new(Kind::Internal, format!("cannot {act} the log `{}`: {error}", path.display()))
}

fn uses(disks: &[GuestDisk]) -> Result<Vec<DiskUse>> {
    let used = |disk: &GuestDisk| DiskUse {
        target: disk.target.clone(),
        path: Some(disk.path.clone()),
        format: disk.format,
        read_only: false,
        shareable: false,
        optional: false,
        backing: Vec::new(),
        served_after: None,
        locked: Vec::new(),
    };
    match disks.iter().find(|disk| disk.is_encrypted) {
        Some(disk) => {
            let text = format!("disk {} is encrypted, and what lies in it cannot be read", disk.target);
            Err(EngineError::new(Kind::Unsupported, text))
        }
        None => Ok(disks.iter().map(used).collect()),
    }
}

/// A disk as those who read and edit know it. Their descriptors are their own.
fn image(disk: &ClaimedDisk, writable: bool) -> Result<DiskImage> {
    let layer = |file: &lodge_storage::ClaimedFile| {
        let own = file.fd.try_clone().map_err(|error| {
            EngineError::new(Kind::Exhausted, format!("cannot hand `{}` on: {error}", file.path.display()))
        })?;
        let format = match file.format {
            Format::Raw => LayerFormat::Raw,
            Format::Qcow2 => LayerFormat::Qcow2,
        };
        Ok(Layer { file: File::from(own), format })
    };
    let layers = disk.chain.iter().map(layer).collect::<Result<Vec<_>>>()?;
    Ok(DiskImage { name: disk.target.clone(), layers, writable })
}
