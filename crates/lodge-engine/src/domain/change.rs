//! Domains for fronts that know the verbs themselves: libvirt's wire has all of them, with options REST has not.

use lodge_domain::{DomainError, Domains, Handle};
use lodge_model::domain::cpu::CpuMode;

use crate::{Caller, Engine, error::Result};

/// What libvirt would warn of, in its words (`virDomainTaintMessage…`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Messages {
    /// What makes a running guest hard to support.
    pub tainted: Vec<String>,
    /// What a later QEMU will not have.
    pub deprecated: Vec<String>,
}

impl Engine {
    /// All domains, for one who may change them.
    pub fn domains_for(&self, caller: &Caller) -> Result<&Domains> {
        caller.may_change()?;
        Ok(&self.domains)
    }

    /// The command that a document would become, for a person to read.
    #[crate::boxed]
    pub async fn domain_command_line(&self, xml: &str) -> std::result::Result<String, DomainError> {
        self.domains.native_command(xml).await
    }

    /// What there is to warn of about a guest.
    pub fn domain_messages(&self, handle: &Handle) -> std::result::Result<Messages, DomainError> {
        let document = handle.document()?;
        let mut messages = Messages::default();
        let machine = document.os.kind.machine.as_deref().unwrap_or_default();
        if self.capabilities.machine(machine).is_some_and(|machine| machine.deprecated) {
            messages.deprecated.push(format!("machine type '{machine}'"));
        }
        // Only a guest that runs is tainted.
        if !handle.snapshot().is_active() {
            return Ok(messages);
        }
        if document.qemu_commandline.is_some() {
            messages.tainted.push("custom configuration parameters specified".to_owned());
        }
        // Said past the daemon to its QEMU or its agent.
        messages.tainted.extend(self.look_at(handle.clone()).taints().into_iter().map(str::to_owned));
        let mode = document.cpu.as_deref().and_then(|cpu| cpu.mode);
        if mode == Some(CpuMode::HostPassthrough) {
            messages.tainted.push("potentially unsafe use of host CPU passthrough".to_owned());
        }
        if !messages.deprecated.is_empty() {
            messages.tainted.push("use of deprecated configuration settings".to_owned());
        }
        Ok(messages)
    }
}
