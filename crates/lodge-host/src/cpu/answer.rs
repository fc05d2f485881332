//! Comparing processors and finding what they have in common: libvirt's answers and words.

use lodge_model::cpu::{CpuDescription, FeaturePolicy};

use super::decode::{KnownModel, Question, Wanted, decode};
use super::table::{Bits, Model, table};

/// How a described processor stands to a host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The host lacks something of it.
    Incompatible,
    /// The host is the same.
    Identical,
    /// The host has more.
    Superset,
}

/// Why there is no answer. The words are libvirt's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// A model that nobody knows.
    #[error("Unknown CPU model {0}")]
    UnknownModel(String),
    /// A feature that nobody knows.
    #[error("Unknown CPU feature {0}")]
    UnknownFeature(String),
    /// The description has no model.
    #[error("no CPU model specified")]
    NoModel,
    /// There is nothing in common.
    #[error("{0}")]
    NoBaseline(String),
    /// No model of the table fits.
    #[error("Cannot find suitable CPU model for given data")]
    NoFit,
    /// The host itself is not known.
    #[error("unknown host CPU")]
    UnknownHost,
    /// The host lacks something, and the caller wants that to be an error.
    #[error("{0}")]
    Incompatible(String),
}

/// The features of a description that are meant with `policy`; `None`: what the processor has in the end.
pub(super) fn bits_of(cpu: &CpuDescription, policy: Option<FeaturePolicy>) -> Result<Bits, CpuError> {
    use FeaturePolicy::{Disable, Forbid, Force, Optional, Require};
    let with_model = policy.is_none_or(|policy| policy == Require);
    let mut bits = if with_model { model_of(cpu)?.bits.clone() } else { Bits::empty() };
    for (name, own) in &cpu.features {
        let feature = table().own_feature(name).ok_or_else(|| CpuError::UnknownFeature(name.clone()))?;
        match (policy, own) {
            (None | Some(Require), None) | (None, Some(Force | Require)) => bits.add(feature),
            (None, Some(Disable | Forbid)) => bits.remove(feature),
            (Some(policy), own) if *own == Some(policy) => bits.add(feature),
            (Some(_), _) | (None, Some(Optional)) => {}
        }
    }
    Ok(bits)
}

fn model_of(cpu: &CpuDescription) -> Result<&'static Model, CpuError> {
    let name = cpu.model.as_deref().ok_or(CpuError::NoModel)?;
    table().model(name).ok_or_else(|| CpuError::UnknownModel(name.to_owned()))
}

/// How `cpu` stands to `host`. An incompatible one comes with the reason.
pub fn compare(
    host: &CpuDescription,
    cpu: &CpuDescription,
) -> Result<(Comparison, Option<String>), CpuError> {
    use FeaturePolicy::{Disable, Forbid, Force, Optional, Require};
    let no = |why: String| Ok((Comparison::Incompatible, Some(why)));
    if let Some(arch) = cpu.arch.as_deref().filter(|arch| !matches!(*arch, "x86_64" | "i686")) {
        return no(format!("CPU arch {arch} does not match host arch"));
    }
    if let Some(vendor) = cpu.vendor.as_ref().filter(|vendor| host.vendor.as_ref() != Some(*vendor)) {
        return no(format!("host CPU vendor does not match required CPU vendor {vendor}"));
    }
    let of = |policy| bits_of(cpu, Some(policy));
    let (force, optional, disable, forbid) = (of(Force)?, of(Optional)?, of(Disable)?, of(Forbid)?);
    let own = bits_of(host, None)?;
    let forbidden = forbid.and(&own);
    if !forbidden.is_empty() {
        return no(format!("Host CPU provides forbidden features: {}", forbidden.names().join(", ")));
    }
    let required = of(Require)?.without(&force).without(&optional).without(&disable);
    let missing = required.without(&own);
    if !missing.is_empty() {
        return no(format!("Host CPU does not provide required features: {}", missing.names().join(", ")));
    }
    let more = own.without(&optional).without(&required).without(&disable).without(&force);
    if more.is_empty() {
        return Ok((Comparison::Identical, None));
    }
    if cpu.guest && cpu.matching.as_deref() == Some("strict") {
        let names = more.names().join(", ");
        return no(format!("Host CPU does not strictly match guest CPU: Extra features: {names}"));
    }
    Ok((Comparison::Superset, None))
}

/// What a baseline is made with.
#[derive(Debug, Clone, Default)]
pub struct Ground<'a> {
    /// Only these models; `None`: all.
    pub known: Option<&'a [KnownModel]>,
    /// Only these features; `None`: all.
    pub features: Option<Bits>,
    /// Without features that bind a guest to its host.
    pub migratable: bool,
    /// Every feature by name, not only the difference to the model.
    pub expand: bool,
}

/// The richest processor that every one of `cpus` can give a guest.
pub fn baseline(cpus: &[CpuDescription], ground: &Ground<'_>) -> Result<CpuDescription, CpuError> {
    let refuse = |why: String| Err(CpuError::NoBaseline(why));
    let Some((first, others)) = cpus.split_first() else { return refuse("no CPUs given".to_owned()) };
    let mut bits = bits_of(first, None)?;
    let mut tell_vendor = first.vendor.is_some();
    let mut vendor = first.vendor.clone();
    if let Some(unknown) = vendor.as_deref().filter(|vendor| !is_vendor(vendor)) {
        return refuse(format!("Unknown CPU vendor {unknown}"));
    }
    let mut names: Vec<&str> = cpus.iter().filter_map(|cpu| cpu.model.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    for cpu in others {
        let model = model_of(cpu)?;
        if let (Some(own), Some(models)) = (&cpu.vendor, model.vendor)
            && own != models
        {
            return refuse(format!("CPU vendor {models} of model {} differs from vendor {own}", model.name));
        }
        tell_vendor &= cpu.vendor.is_some();
        let its = cpu.vendor.as_deref().or(model.vendor);
        match (&vendor, its) {
            (None, Some(its)) if !is_vendor(its) => return refuse(format!("Unknown CPU vendor {its}")),
            (None, Some(its)) => vendor = Some(its.to_owned()),
            (Some(vendor), Some(its)) if vendor != its => {
                return refuse("CPU vendors do not match".to_owned());
            }
            (_, None) | (Some(_), Some(_)) => {}
        }
        bits = bits.and(&bits_of(cpu, None)?);
    }
    if let Some(features) = &ground.features {
        bits = bits.and(features);
    }
    if bits.is_empty() {
        return refuse("CPUs are incompatible".to_owned());
    }
    let question =
        Question { bits, vendor: vendor.as_deref(), signature: None, known: ground.known, preferred: &names };
    let choice = decode(&question, Wanted::Guest).ok_or(CpuError::NoFit)?;
    let fallback = if names == [choice.model.name] { "forbid" } else { "allow" };
    let is_fixed = |name: &str| table().own_feature(name).is_some_and(|feature| feature.fixed);
    let mut features = choice.features;
    features.retain(|(name, _)| !ground.migratable || !is_fixed(name));
    if ground.expand {
        features = expand(choice.model, features);
    }
    Ok(CpuDescription {
        guest: true,
        model: Some(choice.model.name.to_owned()),
        fallback: Some(fallback.to_owned()),
        vendor: vendor.filter(|_| tell_vendor),
        features,
        ..CpuDescription::default()
    })
}

type Features = Vec<(String, Option<FeaturePolicy>)>;

/// All of the model's features by name, with the difference over them, in the order of the alphabet.
fn expand(model: &Model, difference: Features) -> Features {
    let mut all: Features = model
        .bits
        .names()
        .into_iter()
        .filter(|name| !difference.iter().any(|(other, _)| other == name))
        .map(|name| (name.to_owned(), Some(FeaturePolicy::Require)))
        .collect();
    all.extend(difference);
    all.sort();
    all
}

fn is_vendor(name: &str) -> bool {
    matches!(name, "Intel" | "AMD" | "Hygon")
}

#[cfg(test)]
mod tests {
    use lodge_model::cpu::CpuKind;

    use super::*;

    fn host(model: &str, features: &[&str]) -> CpuDescription {
        let features: Vec<String> = features.iter().map(|name| format!("<feature name='{name}'/>")).collect();
        let features = features.concat();
        let text = format!("<cpu><arch>x86_64</arch><model>{model}</model>{features}</cpu>");
        CpuDescription::parse(&text, CpuKind::Host).expect("a description")
    }

    fn model_of_baseline(cpus: &[CpuDescription]) -> (String, Vec<String>) {
        let told = baseline(cpus, &Ground::default()).expect("something in common");
        let spell = |(name, policy): &(String, Option<FeaturePolicy>)| match policy {
            Some(FeaturePolicy::Disable) => format!("-{name}"),
            _ => format!("+{name}"),
        };
        (told.model.clone().expect("a model"), told.features.iter().map(spell).collect())
    }

    /// What libvirt 11.3 answers to the same descriptions.
    #[test]
    fn baselines_are_those_of_libvirt() {
        let of = |cpus: &[CpuDescription]| model_of_baseline(cpus);
        assert_eq!(of(&[host("Haswell", &[])]), ("Haswell".to_owned(), vec![]));
        assert_eq!(
            of(&[host("KnightsMill-v1", &["rdrand"]), host("Opteron_G3-v1", &["bus-lock-detect"])]),
            ("kvm64".to_owned(), ["+popcnt", "+lahf_lm", "+abm", "+rdtscp"].map(str::to_owned).to_vec())
        );
        assert_eq!(
            of(&[host("n270", &[]), host("Nehalem-IBRS", &[]), host("Icelake-Server-v2", &["svm", "ss"])]),
            ("n270".to_owned(), ["-monitor", "-vme"].map(str::to_owned).to_vec())
        );
        assert_eq!(
            of(&[host("pentium3", &["cmt", "vmx-invept-single-context"])]),
            ("pentium3".to_owned(), vec!["+vmx-invept-single-context".to_owned()])
        );
        let refused = baseline(&[host("nope", &[])], &Ground::default());
        assert_eq!(refused, Err(CpuError::UnknownModel("nope".to_owned())));
    }

    #[test]
    fn a_comparison_says_what_is_missing() {
        let own = host("Haswell-noTSX", &["hypervisor"]);
        let against = |text: &str| {
            compare(&own, &CpuDescription::parse(text, CpuKind::Unsaid).expect("a description"))
                .expect("compared")
        };
        let lacking = "<cpu match='exact'><model>Haswell</model></cpu>";
        let why = "Host CPU does not provide required features: hle, rtm".to_owned();
        assert_eq!(against(lacking), (Comparison::Incompatible, Some(why)));
        assert_eq!(against("<cpu match='exact'><model>Westmere</model></cpu>"), (Comparison::Superset, None));
        let same = "<cpu match='exact'><model>Haswell-noTSX</model><feature policy='require' name='hypervisor'/></cpu>";
        assert_eq!(against(same), (Comparison::Identical, None));
        let strict = "<cpu match='strict'><model>Haswell-noTSX</model></cpu>";
        assert_eq!(against(strict).0, Comparison::Incompatible);
        let forbid = "<cpu match='exact'><model>Westmere</model><feature policy='forbid' name='avx'/></cpu>";
        let why = "Host CPU provides forbidden features: avx".to_owned();
        assert_eq!(against(forbid), (Comparison::Incompatible, Some(why)));
    }
}
