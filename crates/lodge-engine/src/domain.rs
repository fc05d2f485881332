//! Use cases of domains: who may, then the owner's verb, then the view.

mod amend;
mod change;
mod explain;
mod figures;
mod snapshot;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use lodge_api::{
    DefineOptions, DestroyOptions, DomainFilter, DomainView, ManagedSaveOptions, PowerMode, PowerOptions,
    RestoreOptions, SaveOptions, StartOptions, UndefineOptions, UndefineReport, UndefinedFile, XmlOptions,
};
use lodge_domain::{self as verb, DomainError, Handle, Ticket};
use lodge_model::Kind;
use lodge_model::domain::{Domain, DomainKind};
use lodge_model::xml::WriteOptions;

pub use change::Messages;

use crate::{
    Caller, Engine, device,
    error::{EngineError, Result},
    view,
};

impl Engine {
    /// Every domain that passes the filter, by name. Reads snapshots only: no guest can delay it.
    #[crate::boxed]
    pub async fn domains(&self, _caller: &Caller, filter: DomainFilter) -> Result<Vec<DomainView>> {
        let views = self.domains.list().into_iter().map(|snapshot| self.joined(view::domain(&snapshot)));
        let mut views: Vec<DomainView> = views.filter(|view| passes(view, &filter)).collect();
        if filter.identity {
            self.add_machine_ids(&mut views).await?;
        }
        Ok(views)
    }

    /// One domain, by name, UUID or number.
    #[crate::boxed]
    pub async fn domain(&self, _caller: &Caller, dom: &str) -> Result<DomainView> {
        let handle = self.find_domain(dom)?;
        let view = self.view_of(&handle);
        let cpu_time_ns = view.pid.and_then(device::cpu_time_ns);
        Ok(DomainView { cpu_time_ns, ..view })
    }

    /// A domain's document.
    #[crate::boxed]
    pub async fn domain_xml(&self, _caller: &Caller, dom: &str, options: XmlOptions) -> Result<String> {
        let XmlOptions { inactive, migratable, security_info, update_cpu } = options;
        let xml =
            self.find_domain(dom)?.xml(verb::XmlOptions { inactive, migratable, security_info }).await?;
        if update_cpu { self.with_host_cpu(&xml, migratable).await } else { Ok(xml) }
    }

    /// A domain's document with what its processor leaves to the host filled in.
    #[crate::boxed]
    pub async fn with_host_cpu(&self, xml: &str, migratable: bool) -> Result<String> {
        let mut document = Domain::parse(xml).map_err(|faults| DomainError::Document { faults })?;
        let Some(cpu) = document.cpu.as_deref_mut() else { return Ok(xml.to_owned()) };
        self.host.update_guest_cpu(document.kind == DomainKind::Kvm, cpu).await?;
        // What is secret and not to be shown is not in the text any more.
        let inactive = document.id.is_none();
        Ok(document.to_xml(&WriteOptions { inactive, migratable, security_info: true }))
    }

    /// Defines a domain or, with `start`, creates a transient one.
    #[crate::boxed]
    pub async fn define_domain(
        &self,
        caller: &Caller,
        xml: String,
        options: DefineOptions,
    ) -> Result<DomainView> {
        caller.may_change()?;
        let DefineOptions { validate, start, paused, autodestroy } = options;
        if autodestroy {
            return Err(no_autodestroy());
        }
        let handle = if start {
            self.domains
                .create(&xml, verb::CreateOptions { paused, validate, reset_nvram: false }, Ticket::default())
                .await?
        } else {
            self.domains
                .define(&xml, verb::DefineOptions { validate, ..verb::DefineOptions::default() })
                .await?
        };
        Ok(self.view_of(&handle))
    }

    /// Undefines a domain, or says what would go.
    #[crate::boxed]
    pub async fn undefine_domain(
        &self,
        caller: &Caller,
        dom: &str,
        options: UndefineOptions,
    ) -> Result<UndefineReport> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        self.undefine(&handle, options).await
    }

    pub(crate) async fn undefine(&self, handle: &Handle, options: UndefineOptions) -> Result<UndefineReport> {
        if let Some(wanted) = options.storage.clone() {
            return self.undefine_with(handle, &wanted, options).await;
        }
        let UndefineOptions {
            nvram,
            keep_nvram,
            tpm,
            keep_tpm,
            managed_save,
            snapshots_metadata,
            remove_all_storage,
            dry_run,
            storage: _,
        } = options;
        let options = verb::UndefineOptions {
            nvram,
            keep_nvram,
            tpm,
            keep_tpm,
            managed_save,
            snapshots_metadata,
            remove_all_storage,
            dry_run,
        };
        let domain = handle.name().to_string();
        // Asked for first, while the files have a size.
        let doomed = handle.undefine(verb::UndefineOptions { dry_run: true, ..options }).await?;
        let size = |path: &Path| path.symlink_metadata().map(|meta| meta.len()).unwrap_or_default();
        let sizes: HashMap<PathBuf, u64> =
            doomed.files.iter().map(|file| (file.path.clone(), size(&file.path))).collect();
        let undefined = if dry_run { doomed } else { handle.undefine(options).await? };
        let gone = undefined.files.into_iter().map(|file| UndefinedFile {
            size_bytes: sizes.get(&file.path).copied().unwrap_or_default(),
            path: file.path.display().to_string(),
            what: file.what,
            removed: true,
            kept_because: None,
        });
        let kept = undefined.kept.into_iter().map(|file| UndefinedFile {
            size_bytes: size(&file.path),
            path: file.path.display().to_string(),
            what: "disk".to_owned(),
            removed: false,
            kept_because: Some(file.why),
        });
        Ok(UndefineReport { domain, dry_run, files: gone.chain(kept).collect() })
    }

    /// Starts a domain; its saved memory, if any, is taken up.
    #[crate::boxed]
    pub async fn start_domain(
        &self,
        caller: &Caller,
        dom: &str,
        options: StartOptions,
    ) -> Result<DomainView> {
        caller.may_change()?;
        let StartOptions { paused, force_boot, bypass_cache, autodestroy } = options;
        if autodestroy {
            return Err(no_autodestroy());
        }
        let handle = self.find_domain(dom)?;
        handle
            .start(
                verb::StartOptions { paused, force_boot, bypass_cache, reset_nvram: false },
                Ticket::default(),
            )
            .await?;
        Ok(self.view_of(&handle))
    }

    /// Stops a domain at once.
    #[crate::boxed]
    pub async fn destroy_domain(
        &self,
        caller: &Caller,
        dom: &str,
        options: DestroyOptions,
    ) -> Result<DomainView> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        let before = self.view_of(&handle);
        handle.destroy(verb::DestroyOptions { graceful: options.graceful }).await?;
        Ok(self.view_after(&handle, before))
    }

    /// Asks the guest to shut down.
    #[crate::boxed]
    pub async fn shutdown_domain(
        &self,
        caller: &Caller,
        dom: &str,
        options: PowerOptions,
    ) -> Result<DomainView> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        handle.shutdown(power(options)).await?;
        Ok(self.view_of(&handle))
    }

    /// Asks the guest to reboot.
    #[crate::boxed]
    pub async fn reboot_domain(
        &self,
        caller: &Caller,
        dom: &str,
        options: PowerOptions,
    ) -> Result<DomainView> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        handle.reboot(power(options)).await?;
        Ok(self.view_of(&handle))
    }

    /// Holds a domain's processors.
    #[crate::boxed]
    pub async fn suspend_domain(&self, caller: &Caller, dom: &str) -> Result<DomainView> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        handle.suspend().await?;
        Ok(self.view_of(&handle))
    }

    /// Lets them run again.
    #[crate::boxed]
    pub async fn resume_domain(&self, caller: &Caller, dom: &str) -> Result<DomainView> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        handle.resume().await?;
        Ok(self.view_of(&handle))
    }

    /// The reset button.
    #[crate::boxed]
    pub async fn reset_domain(&self, caller: &Caller, dom: &str) -> Result<DomainView> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        handle.reset().await?;
        Ok(self.view_of(&handle))
    }

    /// Saves a domain's memory to a file and stops it.
    #[crate::boxed]
    pub async fn save_domain(&self, caller: &Caller, dom: &str, options: SaveOptions) -> Result<DomainView> {
        caller.may_change()?;
        let SaveOptions { file, paused, running, bypass_cache, xml } = options;
        let options = verb::SaveOptions { bypass_cache, resumption: resumption(paused, running)?, xml };
        let handle = self.find_domain(dom)?;
        let before = self.view_of(&handle);
        handle.save(absolute(&file)?, options, Ticket::default()).await?;
        Ok(self.view_after(&handle, before))
    }

    /// Starts a domain from such a file.
    #[crate::boxed]
    pub async fn restore_domain(&self, caller: &Caller, options: RestoreOptions) -> Result<DomainView> {
        caller.may_change()?;
        let RestoreOptions { file, paused, running, bypass_cache, xml } = options;
        let options = verb::RestoreOptions {
            bypass_cache,
            resumption: resumption(paused, running)?,
            xml,
            reset_nvram: false,
        };
        let handle = self.domains.restore(&absolute(&file)?, options, Ticket::default()).await?;
        Ok(self.view_of(&handle))
    }

    /// Saves a domain's memory where the next start finds it, and stops it.
    #[crate::boxed]
    pub async fn managed_save(
        &self,
        caller: &Caller,
        dom: &str,
        options: ManagedSaveOptions,
    ) -> Result<DomainView> {
        caller.may_change()?;
        let ManagedSaveOptions { paused, running, bypass_cache } = options;
        let options = verb::SaveOptions { bypass_cache, resumption: resumption(paused, running)?, xml: None };
        let handle = self.find_domain(dom)?;
        handle.managed_save(options, Ticket::default()).await?;
        Ok(self.view_of(&handle))
    }

    /// Drops what that saved.
    #[crate::boxed]
    pub async fn remove_managed_save(&self, caller: &Caller, dom: &str) -> Result<DomainView> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        handle.remove_managed_save().await?;
        Ok(self.view_of(&handle))
    }

    /// Whether a domain starts with the daemon.
    #[crate::boxed]
    pub async fn set_domain_autostart(
        &self,
        caller: &Caller,
        dom: &str,
        enabled: bool,
    ) -> Result<DomainView> {
        caller.may_change()?;
        let handle = self.find_domain(dom)?;
        handle.set_autostart(enabled).await?;
        Ok(self.view_of(&handle))
    }

    pub(crate) fn find_domain(&self, dom: &str) -> Result<Handle> {
        Ok(self.domains.find(dom)?)
    }

    pub(crate) fn view_of(&self, handle: &Handle) -> DomainView {
        self.joined(view::domain(&handle.snapshot()))
    }

    /// A transient domain is gone when it stops: then what it was is told, as shut off.
    fn view_after(&self, handle: &Handle, before: DomainView) -> DomainView {
        if before.persistent {
            return self.view_of(handle);
        }
        DomainView { id: None, pid: None, state: lodge_api::DomainState::ShutOff, ..before }
    }

    /// Adds what other resources know: addresses and readiness.
    fn joined(&self, view: DomainView) -> DomainView {
        if !view.state.is_active() {
            return view;
        }
        let Some(followed) = self.followers.view(lodge_model::DomainId(view.uuid)) else { return view };
        DomainView { readiness: Some(followed.phase), addresses: followed.addresses, ..view }
    }
}

fn passes(view: &DomainView, filter: &DomainFilter) -> bool {
    let wants = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
    wants(filter.active, view.id.is_some())
        && wants(filter.persistent, view.persistent)
        && wants(filter.autostart, view.autostart)
        && wants(filter.managed_save, view.managed_save)
        && wants(filter.snapshots, view.snapshots > 0)
        && (filter.state.is_empty() || filter.state.contains(&view.state))
}

fn power(options: PowerOptions) -> verb::PowerOptions {
    let mode = |mode| match mode {
        PowerMode::Acpi => verb::PowerMode::Acpi,
        PowerMode::Agent => verb::PowerMode::Agent,
    };
    verb::PowerOptions { modes: options.mode.into_iter().map(mode).collect() }
}

fn resumption(paused: bool, running: bool) -> Result<verb::Resumption> {
    match (paused, running) {
        (false, false) => Ok(verb::Resumption::AsBefore),
        (true, false) => Ok(verb::Resumption::Paused),
        (false, true) => Ok(verb::Resumption::Running),
        (true, true) => {
            Err(EngineError::new(Kind::InvalidInput, "`paused` and `running` exclude each other"))
        }
    }
}

/// The daemon has no working directory of the caller's, so a file is named in full.
pub(crate) fn absolute(file: &str) -> Result<PathBuf> {
    let path = PathBuf::from(file);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(EngineError::new(Kind::InvalidInput, format!("`{file}` is not an absolute path")))
}

fn no_autodestroy() -> EngineError {
    EngineError::new(Kind::Unsupported, "autodestroy is not supported yet")
        .with_hint("leave --autodestroy out")
}
