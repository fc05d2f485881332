//! How the owner carries a [`Change`] out.

use std::sync::Arc;

use lodge_model::domain::Domain;
use lodge_model::domain::lifecycle::State;
use lodge_model::xml::WriteOptions;
use tokio_util::sync::CancellationToken;

use super::{Change, Edit, Refusal, Running, Scope};
use crate::act::{Answer, Begin, Reply, ended};
use crate::block_job;
use crate::define::{blocking, summary_of};
use crate::domains::Shared;
use crate::error::DomainError;
use crate::observe;
use crate::owner::Owner;
use crate::record::replace;
use crate::stop::cgroup_of;
use crate::vmm::LIVE_XML;

/// How the live document is kept.
pub(crate) const LIVE: WriteOptions =
    WriteOptions { inactive: false, security_info: true, migratable: false };

/// Does what `change` says.
pub(crate) fn amend(owner: &mut Owner, change: Change) -> Begin {
    match prepare(owner, change) {
        Ok(begin) => begin,
        Err(error) => Begin::Now(Err(error)),
    }
}

fn prepare(owner: &mut Owner, change: Change) -> Result<Begin, DomainError> {
    let Change { what, scope, config, live } = change;
    let active = owner.vmm.is_some();
    let Scope { live: wants_live, config: wants_config } = scope.resolve(active, owner.is_persistent())?;
    let lacks = |which| Refusal::unsupported(format!("'{what}' is not supported for the {which}"));
    let edited = match (wants_config, config) {
        (false, _) => None,
        (true, Some(edit)) => Some(edit_definition(owner, edit)?),
        (true, None) => return Err(lacks("persistent configuration").into()),
    };
    let running = match (wants_live, live) {
        (false, _) => None,
        (true, Some(act)) => Some((running(owner)?, act)),
        (true, None) => return Err(lacks("running guest").into()),
    };
    Ok(job(owner, what, edited, running))
}

/// The definition as it is to be; judged, so that keeping it is all that is left.
fn edit_definition(owner: &Owner, edit: Edit) -> Result<Arc<Domain>, DomainError> {
    let definition = crate::define::parse_inactive(&owner.entry)?;
    let mut domain = definition.ok_or_else(Refusal::not_running)?;
    edit(&mut domain)?;
    complete(&owner.shared, &mut domain)?;
    Ok(Arc::new(domain))
}

/// Completes and checks a document after an edit.
pub(super) fn complete(shared: &Shared, domain: &mut Domain) -> Result<(), Refusal> {
    let platform = shared.platform(domain.os.kind.arch.as_deref());
    domain.complete(platform)?;
    domain.check()?;
    Ok(())
}

pub(crate) fn running(owner: &Owner) -> Result<Running, DomainError> {
    let monitor = owner.monitor()?;
    let document = crate::define::parse_current(&owner.entry)?;
    let vmm = owner.vmm.as_deref().ok_or_else(Refusal::not_running)?;
    Ok(Running {
        document,
        monitor,
        shared: Arc::clone(&owner.shared),
        id: owner.entry.id,
        pid: vmm.record.pid,
        cgroup: cgroup_of(&owner.shared, owner.entry.id),
        dir: vmm.dir.clone(),
        entry: Arc::clone(&owner.entry),
        definition: None,
        tell: Vec::new(),
        ended_jobs: Vec::new(),
    })
}

fn job(
    owner: &Owner,
    what: &'static str,
    edited: Option<Arc<Domain>>,
    running: Option<(Running, super::LiveAct)>,
) -> Begin {
    let (cancel, name) = (CancellationToken::new(), owner.name());
    let token = cancel.clone();
    let definitions = owner.shared.config.store.domains().clone();
    let work = async move {
        let mut changed = None;
        if let Some((running, act)) = running {
            let (guest, outcome) = tokio::select! {
                biased;
                end = act(running) => end,
                () = token.cancelled() => {
                    return ended(move |_| Err(DomainError::Aborted { act: what, name }));
                }
            };
            if let Err(refusal) = outcome {
                // What happened before it failed is told and kept: the document is the guest's.
                return ended(move |owner| {
                    take_live(owner, guest);
                    Err(refusal.into())
                });
            }
            changed = Some(guest);
        }
        let kept = match edited {
            None => Ok(None),
            Some(domain) => {
                let xml: Arc<str> = domain.to_xml(&WriteOptions::STORED).into();
                let text = Arc::clone(&xml);
                let written = blocking(move || definitions.put(&name, &text)).await;
                written.map(|_| Some((xml, domain))).map_err(DomainError::Definition)
            }
        };
        ended(move |owner| end(owner, changed, kept))
    };
    Begin::Job { work: Box::pin(work), cancel }
}

type Kept = Option<(Arc<str>, Arc<Domain>)>;

fn end(owner: &mut Owner, changed: Option<Running>, kept: Result<Kept, DomainError>) -> Answer {
    if let Some(guest) = changed {
        take_live(owner, guest);
    }
    if let Some((xml, domain)) = kept? {
        owner.take_definition(xml, &domain);
        owner.publish_snapshot();
    }
    Ok(Reply::Done)
}

/// The guest's document is as the act left it.
pub(crate) fn take_live(owner: &mut Owner, guest: Running) {
    let Running { document, definition, tell, ended_jobs, dir, .. } = guest;
    if let Some((xml, domain)) = definition {
        owner.take_definition(xml, &domain);
    }
    let text: Arc<str> = document.to_xml(&LIVE).into();
    let Some(vmm) = owner.vmm.as_deref() else { return };
    if owner.entry.documents.load().live.as_deref() != Some(&*text) {
        if let Err(error) = replace(&vmm.dir.join(LIVE_XML), text.as_bytes()) {
            tracing::warn!(domain = %owner.name(), %error, "the live document could not be kept");
        }
        let summary = Arc::new(summary_of(&document));
        owner.set_documents(|documents| documents.live = Some(text));
        owner.amend_snapshot(|snapshot| snapshot.summary = summary);
        owner.publish_snapshot();
    }
    for job in ended_jobs {
        block_job::forget(&dir, &job);
    }
    // It may go on after an act on a disk that a daemon before held it for; see `heard::due`.
    if matches!(owner.state, State::Paused { .. }) {
        observe::look_again(owner);
    }
    for event in tell {
        owner.shared.publish(&owner.entry, event);
    }
}
