//! What one QEMU binary gives guests of the processor, under one accelerator.
//!
//! Under TCG it is asked with all else, in the same process ([`super::probe`]); under KVM when somebody wants to know, for
//! that needs a process of its own. Kept on disk like [`super::Capabilities`].

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cache;
use super::probe::{self, ProbeError, Throwaway, failed};
use crate::Accelerator;
use crate::qmp::{CpuModel, Monitor, MonitorError};

/// The answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processor {
    /// Its models; what the accelerator cannot give of each is told.
    pub models: Vec<CpuModel>,
    /// Features of the fullest processor a guest can have, by QEMU's names.
    pub features: BTreeSet<String>,
    /// Those of them that do not keep a guest from moving to another host.
    pub migratable: BTreeSet<String>,
    /// Who that processor says has made it.
    pub vendor: Option<String>,
    /// Family, model and stepping that it says.
    pub signature: Option<(u32, u32, u32)>,
    /// What it can tell a guest in the manner of Hyper-V, without `hv-`.
    pub hyperv: BTreeSet<String>,
}

impl Processor {
    /// Asks the QEMU at `binary`, or takes the answer kept in `cache_dir` if nothing has changed since.
    pub async fn probe(
        binary: &Path,
        accelerator: Accelerator,
        cache_dir: Option<&Path>,
    ) -> Result<Self, ProbeError> {
        let key = probe::key(binary, question(accelerator))?;
        if let Some(known) = cache_dir.and_then(|dir| cache::load(dir, &key)) {
            return Ok(known);
        }
        let machine = match accelerator {
            Accelerator::Kvm => "none,accel=kvm",
            Accelerator::Tcg => "none,accel=tcg",
        };
        let qemu = Throwaway::start(binary, &probe::arguments(machine), Vec::new()).await?;
        let found = match monitor_answers(&qemu.monitor, accelerator).await {
            Ok(processor) => processor,
            Err(source) => return Err(failed(binary, &qemu.output, source)),
        };
        let _ = qemu.monitor.quit().await;
        cache::keep(cache_dir, &key, &found);
        Ok(found)
    }
}

/// The name of the question, in the cache.
pub(super) fn question(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Tcg => "tcg",
    }
}

async fn monitor_answers(monitor: &Monitor, accelerator: Accelerator) -> Result<Processor, MonitorError> {
    let models = monitor.cpu_models().await?;
    fullest(monitor, accelerator, models).await
}

/// The answers of a QEMU that runs with this accelerator and has told its `models`.
pub(super) async fn fullest(
    monitor: &Monitor,
    accelerator: Accelerator,
    models: Vec<CpuModel>,
) -> Result<Processor, MonitorError> {
    let name = match accelerator {
        Accelerator::Kvm => "host",
        Accelerator::Tcg => "max",
    };
    let all = match expand(monitor, name, false).await {
        Ok(all) => all,
        // Only a PC's processor is told in full: of others the models are all that is known.
        Err(MonitorError::Refused { .. }) if accelerator == Accelerator::Tcg => {
            return Ok(Processor { models, ..Processor::default() });
        }
        Err(error) => return Err(error),
    };
    let migratable = expand(monitor, name, true).await?;
    let number =
        |key: &str| all.get(key).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let signature = number("family").zip(number("model")).zip(number("stepping"));
    let names = all.as_object().into_iter().flatten().map(|(name, _)| name);
    Ok(Processor {
        models,
        features: switched_on(&all),
        migratable: switched_on(&migratable),
        vendor: all.get("vendor").and_then(Value::as_str).map(str::to_owned),
        signature: signature.map(|((family, model), stepping)| (family, model, stepping)),
        hyperv: names.filter_map(|name| Some(name.strip_prefix("hv-")?.to_owned())).collect(),
    })
}

/// All properties of a model. QEMU names them all only of a model that is told in full.
async fn expand(monitor: &Monitor, name: &str, migratable: bool) -> Result<Value, MonitorError> {
    let model = json!({ "name": name, "props": { "migratable": migratable } });
    let command = "query-cpu-model-expansion";
    let plain: Value = monitor.execute(command, json!({ "type": "static", "model": model })).await?;
    let model = plain.get("model").cloned().unwrap_or(model);
    let mut full: Value = monitor.execute(command, json!({ "type": "full", "model": model })).await?;
    Ok(full.pointer_mut("/model/props").map(Value::take).unwrap_or_default())
}

fn switched_on(properties: &Value) -> BTreeSet<String> {
    let properties = properties.as_object().into_iter().flatten();
    properties.filter(|(_, value)| value.as_bool() == Some(true)).map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_qemu_tells_of_its_fullest_processor() {
        let binary = Path::new("/usr/bin/qemu-system-x86_64");
        if !binary.exists() {
            return eprintln!("skipped: no {}", binary.display());
        }
        let told = Processor::probe(binary, Accelerator::Tcg, None).await.expect("answers");
        eprintln!("{:?} {:?} {:?}", told.vendor, told.signature, told.hyperv);
        assert!(told.features.contains("sse2") && told.migratable.is_subset(&told.features));
        assert!(told.models.iter().any(|model| model.name == "qemu64"));
        assert!(told.hyperv.contains("spinlocks"), "{:?}", told.hyperv);
    }
}
