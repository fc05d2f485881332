//! Changing a domain that is there, by one document per change.

use lodge_api::{ChangeScope, DomainChange, DomainView, GuestTime, KeyCodes};
use lodge_domain::control::device::{Given, UpdateOptions, attach, detach, update};
use lodge_domain::control::tune::{Setting, scheduler};
use lodge_domain::control::{Change, Refusal, Scope, memory, vcpu};
use lodge_domain::{Affects, Handle, MetadataEdit, MetadataKind};

use crate::guest::Picture;
use crate::{Caller, Engine, error::Result, view};

impl Engine {
    /// Does a change: to the running guest, to the definition, or to both.
    #[crate::boxed]
    pub async fn amend_domain(
        &self,
        caller: &Caller,
        dom: &str,
        scope: ChangeScope,
        change: DomainChange,
    ) -> Result<DomainView> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        let snapshot = handle.snapshot();
        let scope = Scope { live: scope.live, config: scope.config };
        // The state is judged before a device's text is read, as libvirt does it.
        let resolved = scope.resolve(snapshot.is_active(), snapshot.persistent)?;
        if let Some(change) = self.act_or_change(&handle, scope, resolved, change).await? {
            handle.change(change).await?;
        }
        Ok(self.joined(view::domain(&handle.snapshot())))
    }

    /// Does what is an act of its own; the rest is a change of the guest, its definition, or both.
    async fn act_or_change(
        &self,
        handle: &Handle,
        scope: Scope,
        resolved: Scope,
        change: DomainChange,
    ) -> Result<Option<Change>> {
        let text = |kind, text| MetadataEdit {
            kind,
            text,
            uri: None,
            key: None,
            affects: Affects { live: resolved.live, config: resolved.config },
        };
        Ok(Some(match change {
            DomainChange::Name { name } => {
                handle.rename(name).await?;
                return Ok(None);
            }
            DomainChange::Keys { codeset, codes, hold_ms } => {
                self.look_at(handle.clone()).send_keys(number_of(codeset), &codes, hold_ms).await?;
                return Ok(None);
            }
            DomainChange::Time { time } => {
                let time = time.map(|time| (time.seconds, time.nanoseconds));
                self.look_at(handle.clone()).set_time(time).await?;
                return Ok(None);
            }
            DomainChange::Title { text: title } => {
                handle.set_metadata(text(MetadataKind::Title, title)).await?;
                return Ok(None);
            }
            DomainChange::Description { text: description } => {
                handle.set_metadata(text(MetadataKind::Description, description)).await?;
                return Ok(None);
            }
            DomainChange::Metadata { key: None, xml: Some(_), .. } => {
                return Err(Refusal::arg("an element in <metadata> needs a key, the prefix it gets").into());
            }
            DomainChange::Metadata { uri, key, xml } => {
                let element = text(MetadataKind::Element, xml);
                handle.set_metadata(MetadataEdit { uri: Some(uri), key, ..element }).await?;
                return Ok(None);
            }
            DomainChange::Memory { memory_kib } => memory::set(memory_kib, scope),
            DomainChange::MaxMemory { memory_kib } => memory::set_maximum(memory_kib, scope),
            DomainChange::Vcpus { count } => vcpu::set_count(count, scope),
            DomainChange::MaxVcpus { .. } if resolved.live => {
                return Err(Refusal::invalid("cannot adjust maximum vcpus on running domain").into());
            }
            DomainChange::MaxVcpus { count } => vcpu::set_maximum(count),
            DomainChange::AttachDevice { xml } => attach(Given::parse(&xml)?, scope),
            DomainChange::DetachDevice { xml } => detach(Given::parse(&xml)?, scope),
            DomainChange::UpdateDevice { xml, force } => {
                update(Given::parse(&xml)?, UpdateOptions { force }, scope)
            }
            DomainChange::Scheduler { settings } => {
                let settings = settings.into_iter().map(|(name, value)| (name, Setting::Signed(value)));
                scheduler::set(settings.collect(), scope)
            }
        }))
    }

    /// What a guest's clock shows, by its agent.
    #[crate::boxed]
    pub async fn domain_time(&self, _caller: &Caller, dom: &str) -> Result<GuestTime> {
        let (seconds, nanoseconds) = self.look_at(self.find_domain(dom)?).agent()?.time().await?;
        Ok(GuestTime { seconds, nanoseconds })
    }

    /// A picture of one of a guest's screens.
    #[crate::boxed]
    pub async fn domain_screenshot(&self, caller: &Caller, dom: &str, screen: u32) -> Result<Picture> {
        // What stands on a screen is not for those who only look at the host.
        caller.may_change()?;
        Ok(self.look_at(self.find_domain(dom)?).screenshot(screen).await?)
    }
}

/// libvirt's number of a set of key codes.
fn number_of(codes: KeyCodes) -> u32 {
    match codes {
        KeyCodes::Linux => 0,
        KeyCodes::Xt => 1,
        KeyCodes::Atset1 => 2,
        KeyCodes::Usb => 7,
        KeyCodes::Qnum => 9,
    }
}
