//! Use cases of domains.

use lodge_api::{
    AddressSource, BlockView, DefineOptions, DestroyOptions, DomainFilter, DomainView, InterfaceAddresses,
    LogQuery, ManagedSaveOptions, NicView, PowerOptions, RestoreOptions, SaveOptions, StartOptions,
    UndefineOptions, UndefineReport, XmlOptions,
};

use crate::{Caller, Engine, error::Result, open::not_yet};

/// A guest's serial console: bytes both ways. Dropped, it is free for the next.
pub struct Console {
    /// The host's end of the pty.
    pub pty: tokio::fs::File,
    /// Resolves when somebody took the console over.
    pub taken: tokio::sync::oneshot::Receiver<()>,
}

impl Engine {
    /// Every domain that passes the filter, by name.
    pub async fn domains(&self, _caller: &Caller, _filter: DomainFilter) -> Result<Vec<DomainView>> {
        Err(not_yet())
    }
    /// One domain, by name, UUID or number.
    pub async fn domain(&self, _caller: &Caller, _dom: &str) -> Result<DomainView> {
        Err(not_yet())
    }
    /// A domain's document.
    pub async fn domain_xml(&self, _caller: &Caller, _dom: &str, _options: XmlOptions) -> Result<String> {
        Err(not_yet())
    }
    /// Defines a domain or, with `start`, creates a transient one.
    pub async fn define_domain(
        &self,
        _caller: &Caller,
        _xml: String,
        _options: DefineOptions,
    ) -> Result<DomainView> {
        Err(not_yet())
    }
    /// Undefines a domain, or says what would go.
    pub async fn undefine_domain(
        &self,
        _caller: &Caller,
        _dom: &str,
        _options: UndefineOptions,
    ) -> Result<UndefineReport> {
        Err(not_yet())
    }
    /// Starts a domain; its saved memory, if any, is taken up.
    pub async fn start_domain(
        &self,
        _caller: &Caller,
        _dom: &str,
        _options: StartOptions,
    ) -> Result<DomainView> {
        Err(not_yet())
    }
    /// Stops a domain at once.
    pub async fn destroy_domain(
        &self,
        _caller: &Caller,
        _dom: &str,
        _options: DestroyOptions,
    ) -> Result<DomainView> {
        Err(not_yet())
    }
    /// Asks the guest to shut down.
    pub async fn shutdown_domain(
        &self,
        _caller: &Caller,
        _dom: &str,
        _options: PowerOptions,
    ) -> Result<DomainView> {
        Err(not_yet())
    }
    /// Asks the guest to reboot.
    pub async fn reboot_domain(
        &self,
        _caller: &Caller,
        _dom: &str,
        _options: PowerOptions,
    ) -> Result<DomainView> {
        Err(not_yet())
    }
    /// Holds a domain's processors.
    pub async fn suspend_domain(&self, _caller: &Caller, _dom: &str) -> Result<DomainView> {
        Err(not_yet())
    }
    /// Lets them run again.
    pub async fn resume_domain(&self, _caller: &Caller, _dom: &str) -> Result<DomainView> {
        Err(not_yet())
    }
    /// The reset button.
    pub async fn reset_domain(&self, _caller: &Caller, _dom: &str) -> Result<DomainView> {
        Err(not_yet())
    }
    /// Saves a domain's memory to a file and stops it.
    pub async fn save_domain(
        &self,
        _caller: &Caller,
        _dom: &str,
        _options: SaveOptions,
    ) -> Result<DomainView> {
        Err(not_yet())
    }
    /// Starts a domain from such a file.
    pub async fn restore_domain(&self, _caller: &Caller, _options: RestoreOptions) -> Result<DomainView> {
        Err(not_yet())
    }
    /// Saves a domain's memory where the next start finds it, and stops it.
    pub async fn managed_save(
        &self,
        _caller: &Caller,
        _dom: &str,
        _options: ManagedSaveOptions,
    ) -> Result<DomainView> {
        Err(not_yet())
    }
    /// Drops what that saved.
    pub async fn remove_managed_save(&self, _caller: &Caller, _dom: &str) -> Result<DomainView> {
        Err(not_yet())
    }
    /// Whether a domain starts with the daemon.
    pub async fn set_domain_autostart(
        &self,
        _caller: &Caller,
        _dom: &str,
        _enabled: bool,
    ) -> Result<DomainView> {
        Err(not_yet())
    }
    /// A domain's addresses, as one source knows them.
    pub async fn domain_interfaces(
        &self,
        _caller: &Caller,
        _dom: &str,
        _source: AddressSource,
    ) -> Result<Vec<InterfaceAddresses>> {
        Err(not_yet())
    }
    /// A domain's disks: of what runs, or of its definition.
    pub async fn domain_blocks(&self, _caller: &Caller, _dom: &str) -> Result<Vec<BlockView>> {
        Err(not_yet())
    }
    /// A domain's network cards.
    pub async fn domain_nics(&self, _caller: &Caller, _dom: &str) -> Result<Vec<NicView>> {
        Err(not_yet())
    }
    /// A domain's log.
    pub async fn domain_log(&self, _caller: &Caller, _dom: &str, _query: LogQuery) -> Result<String> {
        Err(not_yet())
    }
    /// A domain's serial console.
    pub async fn domain_console(&self, _caller: &Caller, _dom: &str, _force: bool) -> Result<Console> {
        Err(not_yet())
    }
}
