//! Changing a domain that is there, by one document per change.

use lodge_api::{ChangeScope, DomainChange, DomainView};
use lodge_domain::control::device::{Given, UpdateOptions, attach, detach, update};
use lodge_domain::control::tune::{Setting, scheduler};
use lodge_domain::control::{Change, Refusal, Scope, memory, vcpu};

use crate::{Caller, Engine, error::Result, view};

impl Engine {
    /// Does a change: to the running guest, to the definition, or to both.
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
        handle.change(change_of(change, scope, resolved)?).await?;
        Ok(self.joined(view::domain(&handle.snapshot())))
    }
}

fn change_of(change: DomainChange, scope: Scope, resolved: Scope) -> std::result::Result<Change, Refusal> {
    Ok(match change {
        DomainChange::Memory { memory_kib } => memory::set(memory_kib, scope),
        DomainChange::MaxMemory { memory_kib } => memory::set_maximum(memory_kib, scope),
        DomainChange::Vcpus { count } => vcpu::set_count(count, scope),
        DomainChange::MaxVcpus { .. } if resolved.live => {
            return Err(Refusal::invalid("cannot adjust maximum vcpus on running domain"));
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
    })
}
