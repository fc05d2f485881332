//! How guests' processors are run on this host: proven once at the start, never guessed from a device node.

use lodge_host::KvmVerdict;
use lodge_qemu::{Accelerator, Capabilities, Speed, speed};
use lodge_store::Db;
use serde::{Deserialize, Serialize};

/// KVM or TCG, why, and how fast that is.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// Guests run under KVM.
    pub kvm: bool,
    /// Why, or why not.
    pub why: String,
    /// How many times slower than the bare host.
    pub speed: Speed,
    fallback: bool,
}

impl Choice {
    /// `kvm` or `tcg`.
    pub fn name(&self) -> &'static str {
        if self.kvm { "kvm" } else { "tcg" }
    }

    /// The same in the words of those who start guests.
    pub fn for_domains(&self) -> lodge_domain::Accelerator {
        lodge_domain::Accelerator { kvm: self.kvm, reason: self.why.clone(), fallback: self.fallback }
    }
}

/// Runs guest code under KVM and, once per boot and QEMU, times QEMU itself.
pub(crate) async fn choose(capabilities: &Capabilities, db: &Db, fallback: bool) -> Choice {
    let verdict = lodge_host::kvm_verdict().await;
    let kvm = verdict.is_usable() && capabilities.kvm;
    let why = match &verdict {
        KvmVerdict::Usable { .. } if !capabilities.kvm => "this QEMU is built without KVM".to_owned(),
        verdict => verdict.why(),
    };
    let speed = measured(capabilities, db, kvm).await;
    tracing::info!(
        accelerator = if kvm { "kvm" } else { "tcg" },
        why,
        slower = speed.factor,
        "accelerator chosen"
    );
    Choice { kvm, why, speed, fallback }
}

#[derive(Serialize, Deserialize)]
struct Measured {
    of: String,
    factor: f64,
}

/// The measurement takes a good part of a second, so one per boot, QEMU and accelerator is kept.
async fn measured(capabilities: &Capabilities, db: &Db, kvm: bool) -> Speed {
    const KEY: &str = "speed";
    let assumed = if kvm { Speed::NATIVE } else { Speed::ASSUMED_TCG };
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let of = format!("{} {} {} {kvm}", capabilities.binary.display(), capabilities.package, boot.trim());
    if let Ok(Some(bytes)) = db.value(KEY).await
        && let Ok(kept) = serde_json::from_slice::<Measured>(&bytes)
        && kept.of == of
    {
        return Speed { factor: kept.factor };
    }
    let accelerator = if kvm { Accelerator::Kvm } else { Accelerator::Tcg };
    match speed::measure(&capabilities.binary, accelerator).await {
        Ok(speed) => {
            let kept = serde_json::to_vec(&Measured { of, factor: speed.factor }).unwrap_or_default();
            if let Err(error) = db.set_value(KEY, kept).await {
                tracing::warn!(%error, "measured speed not kept");
            }
            speed
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                assumed = assumed.factor,
                "speed not measured"
            );
            assumed
        }
    }
}
