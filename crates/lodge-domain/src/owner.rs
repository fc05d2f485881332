//! The owner task of a domain: the one writer of its state.
//!
//! ```text
//!  QEMU's events, its end ──▶ ┌───────┐ ◀── the job's end (polled here, never waited for)
//!  requests (bounded) ──────▶ │ Owner │ ──▶ snapshot, documents, events
//!  tick ────────────────────▶ └───────┘
//! ```
//!
//! What the host says goes before what people ask. An act that takes time is a *job*: a future that the owner
//! polls beside its mailbox, and whose result is a closure that the owner applies to itself. There is one job at
//! a time; what comes meanwhile waits its turn (bounded, with a deadline), but `destroy` goes before all and
//! aborts the job. A panic ends this task only: [`supervise`] logs it, observes the host and begins anew.
//!
//! Deliberately absent: what the verbs do (a file each), and any lock.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use lodge_model::JobId;
use lodge_model::domain::lifecycle::{self, State};
use lodge_qemu::qmp::MonitorError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::act::{Act, Answer, Begin, Ended, Reply, Work};
use crate::domains::Shared;
use crate::error::DomainError;
use crate::event::EventKind;
use crate::index::{Documents, Entry};
use crate::mailbox::{self, Message};
use crate::options::Ticket;
use crate::snapshot::{RunningJob, Snapshot};
use crate::vmm::Vmm;
use crate::{facts, handover, recover};

/// How many requests may wait for the job at work.
const WAITING_MAX: usize = 32;
/// How long a request waits for the job at work unless its ticket says otherwise; libvirt's job wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often the owner of a running guest looks after it.
const TICK: Duration = Duration::from_secs(3);

struct Job {
    what: &'static str,
    id: Option<JobId>,
    since: SystemTime,
    work: Work,
    cancel: CancellationToken,
    reply: Option<oneshot::Sender<Answer>>,
}

struct Waiting {
    message: Message,
    until: Instant,
}

/// A domain's owner.
pub(crate) struct Owner {
    pub shared: Arc<Shared>,
    pub entry: Arc<Entry>,
    pub state: State,
    pub since: SystemTime,
    pub vmm: Option<Box<Vmm>>,
    /// The domain is neither defined nor running: its owner ends with the job at work.
    pub vanished: bool,
    /// The note of the last start's end, on its way to the disk.
    pub noted: Option<JoinHandle<()>>,
    job: Option<Job>,
    waiting: VecDeque<Waiting>,
}

/// Runs the owner, and begins anew after a panic. Ends when there is nothing left to do.
pub(crate) async fn supervise(shared: Arc<Shared>, entry: Arc<Entry>, mut mailbox: mpsc::Receiver<Message>) {
    let mut panics: u32 = 0;
    loop {
        let run = async {
            let mut owner = Owner::new(Arc::clone(&shared), Arc::clone(&entry));
            if panics > 0 {
                // QEMU's monitor takes one client at a time.
                entry.monitor.store(None);
                owner.begin(Act::Settle, &Ticket::default(), None);
            }
            owner.run(&mut mailbox).await;
            owner.vanished
        };
        match AssertUnwindSafe(run).catch_unwind().await {
            Ok(true) => {
                shared.index.remove(&entry);
                return mailbox::close(&entry, &mut mailbox);
            }
            Ok(false) if shared.closing.is_cancelled() => return,
            Ok(false) if mailbox::retire(&entry, &mailbox) => return,
            Ok(false) => {}
            Err(panic) => {
                let words = panic.downcast_ref::<&str>().copied();
                let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                tracing::error!(domain = %entry.name(), words, "a domain's owner failed; it begins anew");
                // What panics at once would panic again at once.
                tokio::time::sleep(Duration::from_millis(50) * panics.min(100)).await;
                panics += 1;
            }
        }
    }
}

impl Owner {
    fn new(shared: Arc<Shared>, entry: Arc<Entry>) -> Self {
        let known = entry.snapshot.load_full();
        Self {
            shared,
            state: known.state,
            since: known.since,
            vmm: None,
            vanished: false,
            noted: None,
            job: None,
            waiting: VecDeque::new(),
            entry,
        }
    }

    /// Until there is nothing left to do: no guest, no job, nobody waiting.
    async fn run(&mut self, mailbox: &mut mpsc::Receiver<Message>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.take_turn();
            handover::keep(self);
            let resting = self.vmm.is_none() && self.job.is_none() && self.waiting.is_empty();
            if resting && (self.vanished || mailbox.is_empty()) {
                return;
            }
            let closing = self.shared.closing.clone();
            if closing.is_cancelled() && self.job.is_none() {
                if let Some(noted) = self.noted.take() {
                    // Or the next daemon would take up a start that is over.
                    let _ = noted.await;
                }
                return;
            }
            let tied_to = self.vmm.as_deref().and_then(|vmm| vmm.tied_to.clone());
            let let_go = async move {
                match tied_to {
                    Some(caller) => caller.cancelled().await,
                    None => std::future::pending().await,
                }
            };
            let patience = self.waiting.iter().map(|waiting| waiting.until).min();
            tokio::select! {
                biased;
                fact = facts::next(&mut self.vmm) => facts::take(self, fact),
                () = let_go => facts::caller_went(self),
                end = next_end(&mut self.job) => self.finish(end),
                message = mailbox.recv() => match message {
                    Some(message) => self.receive(message),
                    None => return,
                },
                () = sleep_until(patience) => self.give_up_waiting(),
                () = closing.cancelled(), if !closing.is_cancelled() => {}
                _ = tick.tick(), if self.vmm.is_some() => facts::tick(self),
            }
        }
    }

    /// Begins what can begin now: first what the guest's end asks for, then what people wait for.
    fn take_turn(&mut self) {
        while self.job.is_none() {
            if let Some((what, work)) = facts::due(self) {
                self.set_job(what, Begin::job(work), &Ticket::default(), None);
            } else if let Some(waiting) = self.waiting.pop_front() {
                let Message { act, ticket, reply } = waiting.message;
                self.begin(act, &ticket, Some(reply));
            } else {
                return;
            }
        }
    }

    fn receive(&mut self, message: Message) {
        let urgent = matches!(message.act, Act::Destroy(_));
        let Some(job) = &self.job else {
            return self.begin(message.act, &message.ticket, Some(message.reply));
        };
        if matches!(message.act, Act::AbortJob) {
            let _ = message.reply.send(self.abort_job());
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            let _ = message.reply.send(Err(DomainError::Crowded { name: self.name() }));
            return;
        }
        message.ticket.tell(&format!("waiting until `{}` is done", job.what), None);
        let until = Instant::now() + message.ticket.patience.unwrap_or(PATIENCE);
        let waiting = Waiting { message, until };
        if urgent {
            job.cancel.cancel();
            self.waiting.push_front(waiting);
        } else {
            self.waiting.push_back(waiting);
        }
    }

    fn give_up_waiting(&mut self) {
        let now = Instant::now();
        let (what, since) = self.job.as_ref().map_or(("", SystemTime::now()), |job| (job.what, job.since));
        let (expired, kept): (Vec<_>, VecDeque<_>) = (Vec::new(), VecDeque::new());
        let (expired, kept) =
            self.waiting.drain(..).fold((expired, kept), |(mut expired, mut kept), waiting| {
                if waiting.until <= now {
                    expired.push(waiting);
                } else {
                    kept.push_back(waiting);
                }
                (expired, kept)
            });
        self.waiting = kept;
        for waiting in expired {
            let error =
                DomainError::Busy { name: self.name(), what, age: since.elapsed().unwrap_or_default() };
            let _ = waiting.message.reply.send(Err(error));
        }
    }

    /// Does a request, or makes it the job at work.
    fn begin(&mut self, act: Act, ticket: &Ticket, reply: Option<oneshot::Sender<Answer>>) {
        let what = act.word();
        let begin = self.dispatch(act, ticket);
        self.set_job(what, begin, ticket, reply);
    }

    /// One arm per verb; what it does is in the file of its name.
    fn dispatch(&mut self, act: Act, ticket: &Ticket) -> Begin {
        use crate::{define, dump, metadata, power, rename, restore, save, snapshots, start, stop, undefine};
        match act {
            Act::Settle => recover::settle(self),
            Act::Refresh(found) => define::refresh(self, &found),
            Act::Define { domain, managed_save } => define::define(self, domain, managed_save),
            Act::Undefine(options) => undefine::undefine(self, options),
            Act::Start(options) => start::start(self, options, ticket),
            Act::Create { domain, options } => start::create(self, &domain, options, ticket),
            Act::Restore { domain, file, options } => restore::restore(self, &domain, file, &options, ticket),
            Act::Destroy(options) => stop::destroy(self, options),
            Act::Shutdown(options) => power::shutdown(self, options),
            Act::Reboot(options) => power::reboot(self, options),
            Act::Reset => power::reset(self),
            Act::Suspend => power::suspend(self),
            Act::Resume => power::resume(self),
            Act::GoOn(places) => crate::room::go_on(self, places),
            Act::Save { file, options } => save::save(self, file, options, ticket),
            Act::ManagedSave(options) => save::managed_save(self, options, ticket),
            Act::RemoveManagedSave => save::remove_managed_save(self),
            Act::SetAutostart(enabled) => define::set_autostart(self, enabled),
            Act::Change(change) => crate::control::amend(self, *change),
            Act::SetAutostartOnce(enabled) => define::set_autostart_once(self, enabled),
            Act::Rename(new) => rename::rename(self, new),
            Act::SetMetadata(edit) => metadata::set(self, edit),
            Act::Dump { file, options } => dump::dump(self, file, options, ticket),
            Act::Sleep(mode) => power::sleep(self, mode),
            Act::Wakeup => power::wakeup(self),
            Act::AbortJob => Begin::Now(Err(DomainError::NoJob { name: self.name() })),
            Act::ForgetCompletedJob => {
                self.amend_snapshot(|snapshot| snapshot.completed_job = None);
                Begin::Now(Ok(Reply::Done))
            }
            Act::EditManagedSave { xml, running } => save::edit_managed_save(self, xml, running),
            Act::SnapshotCreate { xml, options } => snapshots::create(self, xml, options, ticket),
            Act::SnapshotRevert { name, options } => snapshots::revert(self, &name, options, ticket),
            Act::SnapshotDelete { name, options } => snapshots::delete(self, name, options),
        }
    }

    fn set_job(
        &mut self,
        what: &'static str,
        begin: Begin,
        ticket: &Ticket,
        reply: Option<oneshot::Sender<Answer>>,
    ) {
        match begin {
            Begin::Now(answer) => self.answer(what, answer, reply),
            Begin::Job { work, cancel } => {
                self.job = Some(Job { what, id: ticket.id, since: SystemTime::now(), work, cancel, reply });
                self.publish_snapshot();
            }
        }
    }

    fn finish(&mut self, end: Ended) {
        let Some(job) = self.job.take() else { return };
        let answer = end(self);
        self.publish_snapshot();
        self.answer(job.what, answer, job.reply);
    }

    fn answer(&self, what: &'static str, answer: Answer, reply: Option<oneshot::Sender<Answer>>) {
        if let Err(error) = &answer {
            let error = crate::error::chain(error);
            tracing::debug!(domain = %self.entry.name(), act = what, error, "request refused or failed");
        }
        if let Some(reply) = reply {
            // Who asked may have gone; the act is done all the same.
            let _ = reply.send(answer);
        }
    }

    /// What QEMU answered; if it did not obey, it is asked how it stands.
    pub fn heard<T>(&mut self, act: &'static str, answer: Result<T, MonitorError>) -> Result<T, DomainError> {
        answer.map_err(|source| {
            crate::observe::look_again(self);
            DomainError::Monitor { act, name: self.name(), source }
        })
    }

    /// Its name.
    pub fn name(&self) -> Arc<str> {
        self.entry.name()
    }

    /// The word of the job at work.
    pub fn job_word(&self) -> Option<&'static str> {
        self.job.as_ref().map(|job| job.what)
    }

    /// Aborts the job at work, as far as it can be aborted.
    pub fn cancel_job(&self) {
        if let Some(job) = &self.job {
            job.cancel.cancel();
        }
    }

    /// Breaks off what can be broken off: a start, a save, a dump.
    fn abort_job(&self) -> Answer {
        let name = self.name();
        match &self.job {
            Some(job)
                if matches!(job.what, "save" | "managedsave" | "dump" | "start" | "create" | "restore") =>
            {
                job.cancel.cancel();
                Ok(Reply::Done)
            }
            _ => Err(DomainError::NoJob { name }),
        }
    }

    /// A definition of it is kept.
    pub fn is_persistent(&self) -> bool {
        self.entry.documents.load().inactive.is_some()
    }

    /// Moves on by `event` and tells `tell`. Where state and event disagree, the host is asked for the truth.
    pub fn advance(&mut self, event: lifecycle::Event, tell: Option<EventKind>) {
        match lifecycle::advance(self.state, event) {
            Ok(state) => self.set_state(state, tell),
            Err(state) => {
                tracing::debug!(domain = %self.name(), ?state, ?event, "state and event disagree");
                crate::observe::look_again(self);
            }
        }
    }

    /// Takes on a state that was advanced to or observed, tells it, and logs it: one line per change.
    pub fn set_state(&mut self, state: State, tell: Option<EventKind>) {
        if state != self.state {
            let ((to, reason), (from, _)) = (state.words(), self.state.words());
            tracing::info!(domain = %self.name(), from, to, reason, "domain changed state");
            self.since = SystemTime::now();
        }
        self.state = state;
        if let Some(vmm) = &mut self.vmm {
            vmm.note_state(state);
        }
        self.publish_snapshot();
        if let Some(event) = tell {
            self.shared.publish(&self.entry, event);
        }
    }

    /// Replaces the documents and everything that follows from them.
    pub fn set_documents(&mut self, change: impl FnOnce(&mut Documents)) {
        let mut documents = Documents::clone(&self.entry.documents.load());
        change(&mut documents);
        self.entry.documents.store(Arc::new(documents));
    }

    /// Changes the snapshot beyond what follows from the owner's own fields.
    pub fn amend_snapshot(&mut self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = self.snapshot();
        change(&mut snapshot);
        self.entry.snapshot.store(Arc::new(snapshot));
    }

    /// Lets readers see how it stands.
    pub fn publish_snapshot(&mut self) {
        self.amend_snapshot(|_| ());
    }

    fn snapshot(&self) -> Snapshot {
        let old = self.entry.snapshot.load();
        Snapshot {
            state: self.state,
            since: self.since,
            persistent: self.is_persistent(),
            vmm: self.vmm.as_ref().map(|vmm| vmm.view()),
            job: self.job.as_ref().map(|job| RunningJob { id: job.id, what: job.what, since: job.since }),
            silent_since: self.vmm.as_ref().and_then(|vmm| vmm.silent_since),
            ..Snapshot::clone(&old)
        }
    }
}

/// The job's end; never, if there is no job.
async fn next_end(job: &mut Option<Job>) -> Ended {
    match job {
        Some(job) => job.work.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
