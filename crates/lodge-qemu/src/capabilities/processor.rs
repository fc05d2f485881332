//! What one QEMU binary gives guests of the processor, under one accelerator: a further question than
//! [`super::Capabilities`], asked when somebody wants to know (a third of a second) and kept by whoever asks.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::probe::{ProbeError, Throwaway, failed};
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
    /// Displays it was built with: `sdl`, `egl-headless`, `dbus`, …
    pub displays: BTreeSet<String>,
}

impl Processor {
    /// Asks the QEMU at `binary`.
    pub async fn probe(binary: &Path, accelerator: Accelerator) -> Result<Self, ProbeError> {
        let machine = match accelerator {
            Accelerator::Kvm => "none,accel=kvm",
            Accelerator::Tcg => "none,accel=tcg",
        };
        let args = ["-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", machine];
        let qemu = Throwaway::start(binary, &args, Vec::new()).await?;
        match questions(&qemu.monitor, accelerator).await {
            Ok(processor) => {
                let _ = qemu.monitor.quit().await;
                Ok(processor)
            }
            Err(source) => Err(failed(binary, &qemu.output, source)),
        }
    }
}

async fn questions(monitor: &Monitor, accelerator: Accelerator) -> Result<Processor, MonitorError> {
    let name = match accelerator {
        Accelerator::Kvm => "host",
        Accelerator::Tcg => "max",
    };
    let all = expand(monitor, name, false).await?;
    let migratable = expand(monitor, name, true).await?;
    let number =
        |key: &str| all.get(key).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let signature = number("family").zip(number("model")).zip(number("stepping"));
    Ok(Processor {
        models: monitor.cpu_models().await?,
        features: switched_on(&all),
        migratable: switched_on(&migratable),
        vendor: all.get("vendor").and_then(Value::as_str).map(str::to_owned),
        signature: signature.map(|((family, model), stepping)| (family, model, stepping)),
        displays: displays(&monitor.schema().await?),
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

/// The members of the schema's enum of displays; the schema hides types' own names.
fn displays(schema: &Value) -> BTreeSet<String> {
    let members = |kind: &Value| -> BTreeSet<String> {
        let values = kind.get("values").and_then(Value::as_array).into_iter().flatten();
        values.filter_map(|value| value.as_str().map(str::to_owned)).collect()
    };
    let enums = schema.as_array().into_iter().flatten();
    let mut enums = enums.filter(|kind| kind["meta-type"] == "enum").map(members);
    enums.find(|members| members.contains("none") && members.contains("default")).unwrap_or_default()
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
        let told = Processor::probe(binary, Accelerator::Tcg).await.expect("answers");
        eprintln!("{:?} {:?} {:?}", told.vendor, told.signature, told.displays);
        assert!(told.features.contains("sse2") && told.migratable.is_subset(&told.features));
        assert!(told.models.iter().any(|model| model.name == "qemu64"));
        assert!(told.displays.contains("none"), "{:?}", told.displays);
    }
}
