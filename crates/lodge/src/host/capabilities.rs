//! `capabilities domcapabilities cpu-models cpu-baseline cpu-compare` and their hypervisor's twins.

use std::path::{Path, PathBuf};

use clap::Args;
use lodge_client::api::{CpuBaseline, CpuCompare, CpuStanding, GuestSort};

use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

/// The sort of guest that is asked about.
#[derive(Debug, Clone, Args)]
pub struct Sort {
    /// virtualization type (/domain/@type)
    #[arg(long, value_name = "string")]
    virttype: Option<String>,
    /// path to emulator binary (/domain/devices/emulator)
    #[arg(long, alias = "emulatorbin", value_name = "string")]
    emulator: Option<String>,
    /// domain architecture (/domain/os/type/@arch)
    #[arg(long, value_name = "string")]
    arch: Option<String>,
    /// machine type (/domain/os/type/@machine)
    #[arg(long, value_name = "string")]
    machine: Option<String>,
}

impl Sort {
    fn asked(self) -> GuestSort {
        let Self { virttype, emulator, arch, machine } = self;
        GuestSort { emulator, arch, machine, virt_type: virttype }
    }
}

#[derive(Debug, Args)]
pub struct CpuModels {
    /// architecture
    arch: String,
}

#[derive(Debug, Args)]
pub struct HypervisorCpuModels {
    #[command(flatten)]
    sort: Sort,
    /// include all CPU models known to the hypervisor for the architecture
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub struct Baseline {
    /// file containing XML CPU descriptions
    file: PathBuf,
    /// Show features that are part of the CPU model type
    #[arg(long)]
    features: bool,
    /// Do not include features that block migration
    #[arg(long)]
    migratable: bool,
}

#[derive(Debug, Args)]
pub struct GuestBaseline {
    #[command(flatten)]
    baseline: Baseline,
    #[command(flatten)]
    sort: Sort,
}

#[derive(Debug, Args)]
pub struct Compare {
    /// file containing an XML CPU description
    file: PathBuf,
    /// report error if CPUs are incompatible
    #[arg(long)]
    error: bool,
    /// validate the XML document against schema
    #[arg(long)]
    validate: bool,
}

#[derive(Debug, Args)]
pub struct GuestCompare {
    #[command(flatten)]
    compare: Compare,
    #[command(flatten)]
    sort: Sort,
}

pub async fn capabilities(session: &mut Session) -> Result<(), Failure> {
    let xml = session.client().await?.capabilities().await;
    output::print(&xml.what(|| "failed to get capabilities".to_owned())?);
    Ok(())
}

impl Sort {
    /// `domcapabilities`.
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let xml = session.client().await?.domain_capabilities(&self.asked()).await;
        output::print(&xml.what(|| "failed to get emulator capabilities".to_owned())?);
        Ok(())
    }
}

fn lines(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { names.join("\n") + "\n" }
}

impl CpuModels {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let models = session.client().await?.cpu_models(&self.arch).await;
        let models = models.what(|| "failed to get CPU model names".to_owned())?;
        session.show(&models, |models| match models.as_slice() {
            [] => "all CPU models are accepted\n".to_owned(),
            models => lines(models),
        });
        Ok(())
    }
}

impl HypervisorCpuModels {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let models = session.client().await?.guest_cpu_models(&self.sort.asked()).await;
        let mut models = models.what(|| "failed to get the hypervisor's CPU models".to_owned())?;
        models.retain(|model| self.all || model.usable == Some(true));
        session.show(&models, |models| {
            lines(&models.iter().map(|model| model.name.clone()).collect::<Vec<_>>())
        });
        Ok(())
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| invalid(format!("Failed to open file '{}': {error}", file.display())))
}

impl Baseline {
    pub async fn run(self, guest: Option<Sort>, session: &mut Session) -> Result<(), Failure> {
        let question = CpuBaseline {
            document: read(&self.file)?,
            features: self.features,
            migratable: self.migratable,
            guest: guest.map(Sort::asked),
        };
        let cpu = session.client().await?.cpu_baseline(&question).await;
        output::print(&cpu.what(|| format!("failed to find the baseline of {}", self.file.display()))?);
        Ok(())
    }
}

impl GuestBaseline {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        self.baseline.run(Some(self.sort), session).await
    }
}

impl Compare {
    pub async fn run(self, guest: Option<Sort>, session: &mut Session) -> Result<(), Failure> {
        let of = if guest.is_some() { "the CPU provided by hypervisor on the host" } else { "host CPU" };
        let question = CpuCompare {
            document: read(&self.file)?,
            strictly: self.error,
            validate: self.validate,
            guest: guest.map(Sort::asked),
        };
        let file = self.file.display();
        let standing = session.client().await?.cpu_compare(&question).await;
        let standing = standing.what(|| format!("Failed to compare {of} with {file}"))?;
        session.show(&standing, |standing| match standing {
            CpuStanding::Incompatible => format!("CPU described in {file} is incompatible with {of}\n"),
            CpuStanding::Identical => format!("CPU described in {file} is identical to {of}\n"),
            CpuStanding::Superset => {
                let host =
                    if of == "host CPU" { "Host CPU" } else { "The CPU provided by hypervisor on the host" };
                format!("{host} is a superset of CPU described in {file}\n")
            }
        });
        // virsh ends with 1 where the host cannot have it.
        if standing == CpuStanding::Incompatible {
            return Err(Failure::silent(1));
        }
        Ok(())
    }
}

impl GuestCompare {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        self.compare.run(Some(self.sort), session).await
    }
}
