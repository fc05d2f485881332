//! Filling in what a guest's `<cpu>` leaves to its host (`virsh dumpxml --update-cpu`), as libvirt does it: the host's
//! model in place of `host-model`, a yes or a no in place of `optional`.
//!
//! Pure. Deliberately absent: `host-passthrough` and `maximum`, which name no model on any host.

use lodge_model::cpu::CpuDescription;
use lodge_model::domain::cpu::{Cpu, CpuFeature, CpuMatch, CpuMode, CpuModel, Fallback, FeaturePolicy};

use super::answer::{CpuError, bits_of};
use super::table::table;

/// Fills `cpu` in. `host`: the fullest processor that such a guest can have here.
pub fn update(cpu: &mut Cpu, host: Option<&CpuDescription>) -> Result<(), CpuError> {
    match cpu.mode {
        Some(CpuMode::HostModel) => update_model(cpu, host.ok_or(CpuError::UnknownHost)?),
        Some(CpuMode::HostPassthrough | CpuMode::Maximum) => Ok(()),
        Some(CpuMode::Custom) | None if cpu.matching == Some(CpuMatch::Minimum) => {
            let text = "filling in a CPU of match='minimum' is not supported";
            Err(CpuError::Incompatible(text.to_owned()))
        }
        Some(CpuMode::Custom) | None => update_optional(cpu, host),
    }
}

fn update_model(cpu: &mut Cpu, host: &CpuDescription) -> Result<(), CpuError> {
    let name = host.model.clone().ok_or(CpuError::NoModel)?;
    let vendor_id = cpu.model.take().and_then(|model| model.vendor_id);
    cpu.model = Some(CpuModel {
        fallback: Some(Fallback::Forbid),
        name: Some(name),
        vendor_id,
        ..CpuModel::default()
    });
    (cpu.mode, cpu.matching) = (Some(CpuMode::Custom), Some(CpuMatch::Exact));
    cpu.vendor.clone_from(&host.vendor);
    let own = std::mem::take(&mut cpu.features);
    cpu.features = host.features.iter().map(|(name, policy)| of_host(name, *policy)).collect();
    for feature in own {
        match cpu.features.iter_mut().find(|known| known.name == feature.name) {
            Some(known) => *known = feature,
            None => cpu.features.push(feature),
        }
    }
    Ok(())
}

fn of_host(name: &str, policy: Option<lodge_model::cpu::FeaturePolicy>) -> CpuFeature {
    let policy = match policy {
        Some(lodge_model::cpu::FeaturePolicy::Disable) => FeaturePolicy::Disable,
        _ => FeaturePolicy::Require,
    };
    CpuFeature { policy: Some(policy), name: name.to_owned(), ..CpuFeature::default() }
}

fn update_optional(cpu: &mut Cpu, host: Option<&CpuDescription>) -> Result<(), CpuError> {
    let mut optional =
        cpu.features.iter_mut().filter(|feature| feature.policy == Some(FeaturePolicy::Optional)).peekable();
    if optional.peek().is_none() {
        return Ok(());
    }
    let bits = bits_of(host.ok_or(CpuError::UnknownHost)?, None)?;
    for feature in optional {
        let known = table().feature(&feature.name);
        let known = known.ok_or_else(|| CpuError::UnknownFeature(feature.name.clone()))?;
        let policy = if bits.has(known) { FeaturePolicy::Require } else { FeaturePolicy::Disable };
        feature.policy = Some(policy);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lodge_model::domain::Domain;

    use super::*;

    fn updated(cpu: &str) -> Result<String, CpuError> {
        let host = CpuDescription {
            guest: true,
            model: Some("EPYC".to_owned()),
            vendor: Some("AMD".to_owned()),
            features: vec![
                ("la57".to_owned(), Some(lodge_model::cpu::FeaturePolicy::Require)),
                ("sha-ni".to_owned(), Some(lodge_model::cpu::FeaturePolicy::Disable)),
            ],
            ..CpuDescription::default()
        };
        let xml = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os>{cpu}</domain>"
        );
        let mut cpu = Domain::parse(&xml).expect("a document").cpu.expect("a processor");
        update(&mut cpu, Some(&host))?;
        let model = cpu.model.as_ref().and_then(|model| model.name.clone()).unwrap_or_default();
        let feature = |feature: &CpuFeature| {
            format!(" {}={}", feature.name, feature.policy.map_or("?", FeaturePolicy::as_str))
        };
        let mode = cpu.mode.map_or("none", CpuMode::as_str);
        Ok(format!("{mode} {model}{}", cpu.features.iter().map(feature).collect::<String>()))
    }

    #[test]
    fn the_hosts_model_takes_the_place_and_the_guests_word_counts() {
        let own = "<cpu mode='host-model'><feature policy='disable' name='la57'/><feature policy='force' name='svm'/></cpu>";
        assert_eq!(updated(own).unwrap(), "custom EPYC la57=disable sha-ni=disable svm=force");
        assert_eq!(updated("<cpu mode='host-passthrough'/>").unwrap(), "host-passthrough ");
    }

    #[test]
    fn optional_becomes_yes_or_no() {
        let own = "<cpu mode='custom'><model>EPYC</model><feature policy='optional' name='la57'/>\
                   <feature policy='optional' name='sha-ni'/></cpu>";
        assert_eq!(updated(own).unwrap(), "custom EPYC la57=require sha-ni=disable");
        assert!(updated("<cpu mode='custom' match='minimum'><model>EPYC</model></cpu>").is_err());
    }
}
