//! One domain, as the engine holds it: the verbs, and what can be read without asking anybody.
//!
//! Each verb is a message to the domain's owner and its answer; what it does is in the file of its name.
//! Reading ([`Handle::snapshot`], [`Handle::xml`]) asks no task and no guest.

use std::path::PathBuf;
use std::sync::Arc;

use lodge_model::DomainId;
use lodge_model::domain::Domain;
use lodge_model::snapshot::tree::SnapshotTree;
use lodge_qemu::qmp::Monitor;

use crate::act::{Act, Reply};
use crate::define;
use crate::domains::Shared;
use crate::error::DomainError;
use crate::index::Entry;
use crate::mailbox;
use crate::metadata::MetadataEdit;
use crate::options::{
    DestroyOptions, DumpOptions, PowerOptions, SaveOptions, SleepMode, SnapshotCreateOptions,
    SnapshotDeleteOptions, SnapshotRevertOptions, StartOptions, Ticket, UndefineOptions, Undefined,
    XmlOptions,
};
use crate::save::{self, SavedImage};
use crate::snapshot::Snapshot;

/// A hold on one domain. It stays valid when the domain goes; its verbs then answer `NoSuchDomain`.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
}

impl Handle {
    pub(crate) fn new(shared: &Arc<Shared>, entry: Arc<Entry>) -> Self {
        Self { shared: Arc::clone(shared), entry }
    }

    /// Its UUID.
    pub fn id(&self) -> DomainId {
        self.entry.id
    }

    /// Its name.
    pub fn name(&self) -> Arc<str> {
        self.entry.name()
    }

    /// How it stands.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.entry.snapshot.load_full()
    }

    /// `virsh dumpxml`. A hand edit of the file is taken in first.
    pub async fn xml(&self, options: XmlOptions) -> Result<String, DomainError> {
        // The live document has no file that others edit.
        if options.inactive || !self.snapshot().is_active() {
            self.refresh().await?;
        }
        define::render(&self.entry, options)
    }

    /// The document that counts now: the live one where the guest runs, else the definition.
    pub fn document(&self) -> Result<Domain, DomainError> {
        define::parse_current(&self.entry)
    }

    /// The definition; none for a transient guest.
    pub fn definition(&self) -> Result<Option<Domain>, DomainError> {
        define::parse_inactive(&self.entry)
    }

    /// The texts of its documents: the definition's and the live one's. The same text is the same `Arc`.
    pub fn texts(&self) -> [Option<Arc<str>>; 2] {
        let documents = self.entry.documents.load();
        [documents.inactive.clone(), documents.live.clone()]
    }

    /// The document that counts now in short.
    pub fn digest(&self) -> Result<Arc<crate::digest::Digest>, DomainError> {
        crate::digest::current(&self.entry)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The directory of its run.
    pub(crate) fn directory(&self) -> PathBuf {
        self.shared.config.store.root().guest(self.entry.id.0)
    }

    /// The monitor of the running QEMU, for reading figures. Changing anything through it behind the owner's
    /// back is a fault of the caller.
    pub fn monitor(&self) -> Option<Arc<Monitor>> {
        self.entry.monitor.load_full()
    }

    /// What is counted of the running QEMU.
    pub fn counters(&self) -> Option<Arc<crate::control::tune::perf::Counters>> {
        self.entry.counters.load_full()
    }

    /// What was counted of the running guest's use of caches and of the way to memory.
    pub fn resource_usage(&self) -> Vec<crate::control::tune::resctrl::Usage> {
        crate::control::tune::resctrl::usage(&self.directory())
    }

    /// The cgroup of the running guest, below each hierarchy.
    pub fn cgroup(&self) -> PathBuf {
        crate::stop::cgroup_of(&self.shared, self.entry.id)
    }

    /// `virsh start`.
    pub async fn start(&self, options: StartOptions, ticket: Ticket) -> Result<(), DomainError> {
        self.ask(Act::Start(options), ticket).await
    }

    /// `virsh destroy`.
    pub async fn destroy(&self, options: DestroyOptions) -> Result<(), DomainError> {
        self.ask(Act::Destroy(options), Ticket::default()).await
    }

    /// `virsh shutdown`: asks the guest; returns when it was asked, not when it is down.
    pub async fn shutdown(&self, options: PowerOptions) -> Result<(), DomainError> {
        self.ask(Act::Shutdown(options), Ticket::default()).await
    }

    /// `virsh reboot`: asks the guest; returns when it was asked.
    pub async fn reboot(&self, options: PowerOptions) -> Result<(), DomainError> {
        self.ask(Act::Reboot(options), Ticket::default()).await
    }

    /// `virsh reset`: the reset button.
    pub async fn reset(&self) -> Result<(), DomainError> {
        self.ask(Act::Reset, Ticket::default()).await
    }

    /// `virsh suspend`.
    pub async fn suspend(&self) -> Result<(), DomainError> {
        self.ask(Act::Suspend, Ticket::default()).await
    }

    /// `virsh resume`.
    pub async fn resume(&self) -> Result<(), DomainError> {
        self.ask(Act::Resume, Ticket::default()).await
    }

    /// `virsh save`: memory to `file`, then the guest stops.
    pub async fn save(&self, file: PathBuf, options: SaveOptions, ticket: Ticket) -> Result<(), DomainError> {
        self.ask(Act::Save { file, options }, ticket).await
    }

    /// `virsh managedsave`: the next start goes on from there.
    pub async fn managed_save(&self, options: SaveOptions, ticket: Ticket) -> Result<(), DomainError> {
        self.ask(Act::ManagedSave(options), ticket).await
    }

    /// `virsh managedsave-remove`. Fine if there is none.
    pub async fn remove_managed_save(&self) -> Result<(), DomainError> {
        self.ask(Act::RemoveManagedSave, Ticket::default()).await
    }

    /// `virsh undefine`. A running guest goes on and becomes transient.
    pub async fn undefine(&self, options: UndefineOptions) -> Result<Undefined, DomainError> {
        match mailbox::ask(&self.shared, &self.entry, Act::Undefine(options), Ticket::default()).await {
            Ok(Reply::Undefined(report)) => Ok(report),
            Ok(Reply::Done | Reply::Snapshot(_)) => Ok(Undefined::default()),
            Err(error) => Err(gone(error)),
        }
    }

    /// `virsh autostart`.
    pub async fn set_autostart(&self, enabled: bool) -> Result<(), DomainError> {
        self.ask(Act::SetAutostart(enabled), Ticket::default()).await
    }

    /// Changes the running guest, the definition, or both.
    pub async fn change(&self, change: crate::control::Change) -> Result<(), DomainError> {
        self.refresh().await?;
        self.ask(Act::Change(Box::new(change)), Ticket::default()).await
    }

    /// `virsh autostart --once`: the mark goes when it was followed.
    pub async fn set_autostart_once(&self, enabled: bool) -> Result<(), DomainError> {
        self.ask(Act::SetAutostartOnce(enabled), Ticket::default()).await
    }

    /// `virsh domrename`.
    pub async fn rename(&self, new: String) -> Result<(), DomainError> {
        self.ask(Act::Rename(new), Ticket::default()).await
    }

    /// `virsh metadata --set`, `virsh desc`.
    pub async fn set_metadata(&self, edit: MetadataEdit) -> Result<(), DomainError> {
        self.ask(Act::SetMetadata(edit), Ticket::default()).await
    }

    /// `virsh dump`.
    pub async fn dump(&self, file: PathBuf, options: DumpOptions, ticket: Ticket) -> Result<(), DomainError> {
        self.ask(Act::Dump { file, options }, ticket).await
    }

    /// `virsh dompmsuspend`: asks the guest's agent.
    pub async fn sleep(&self, mode: SleepMode) -> Result<(), DomainError> {
        self.ask(Act::Sleep(mode), Ticket::default()).await
    }

    /// `virsh dompmwakeup`.
    pub async fn wakeup(&self) -> Result<(), DomainError> {
        self.ask(Act::Wakeup, Ticket::default()).await
    }

    /// Its snapshots, as they stood when this was called.
    pub fn snapshots(&self) -> Arc<SnapshotTree> {
        self.entry.snapshots.load_full()
    }

    /// `virsh snapshot-create`: says its name.
    pub async fn create_snapshot(
        &self,
        xml: String,
        options: SnapshotCreateOptions,
        ticket: Ticket,
    ) -> Result<String, DomainError> {
        self.refresh().await?;
        let act = Act::SnapshotCreate { xml, options };
        match mailbox::ask(&self.shared, &self.entry, act, ticket).await.map_err(gone)? {
            Reply::Snapshot(name) => Ok(name),
            Reply::Done | Reply::Undefined(_) => Err(DomainError::OwnerFailed { name: self.name() }),
        }
    }

    /// `virsh snapshot-revert`.
    pub async fn revert_to_snapshot(
        &self,
        name: String,
        options: SnapshotRevertOptions,
        ticket: Ticket,
    ) -> Result<(), DomainError> {
        self.ask(Act::SnapshotRevert { name, options }, ticket).await
    }

    /// `virsh snapshot-delete`.
    pub async fn delete_snapshot(
        &self,
        name: String,
        options: SnapshotDeleteOptions,
    ) -> Result<(), DomainError> {
        self.ask(Act::SnapshotDelete { name, options }, Ticket::default()).await
    }

    /// `virsh domjobabort`.
    pub async fn abort_job(&self) -> Result<(), DomainError> {
        self.ask(Act::AbortJob, Ticket::default()).await
    }

    /// Where its managed save image is, or would be.
    pub fn managed_save_path(&self) -> PathBuf {
        save::managed_path(&self.shared, &self.name())
    }

    /// Reads what the managed save image says of itself.
    pub async fn managed_save_image(&self) -> Result<SavedImage, DomainError> {
        if !self.snapshot().managed_save {
            return Err(DomainError::NoManagedSave { name: self.name() });
        }
        save::read_saved_image(&save::managed_path(&self.shared, &self.name())).await
    }

    /// `virsh managedsave-define`.
    pub async fn edit_managed_save(
        &self,
        xml: Option<String>,
        running: Option<bool>,
    ) -> Result<(), DomainError> {
        self.ask(Act::EditManagedSave { xml, running }, Ticket::default()).await
    }

    pub(crate) async fn forget_completed_job(&self) -> Result<(), DomainError> {
        self.ask(Act::ForgetCompletedJob, Ticket::default()).await
    }

    /// Takes a hand edit of the definition's file in, if there is one.
    pub async fn refresh(&self) -> Result<(), DomainError> {
        match define::edited_file(&self.shared, &self.entry).await? {
            Some(found) => self.ask(Act::Refresh(Box::new(found)), Ticket::default()).await,
            None => Ok(()),
        }
    }

    async fn ask(&self, act: Act, ticket: Ticket) -> Result<(), DomainError> {
        let answer = mailbox::ask(&self.shared, &self.entry, act, ticket).await;
        answer.map(|_| ()).map_err(gone)
    }
}

/// A domain that went while the request was on its way is no domain to the caller.
fn gone(error: DomainError) -> DomainError {
    match error {
        DomainError::Vanished { name } => DomainError::NoSuchDomain { wanted: name.to_string() },
        other => other,
    }
}
