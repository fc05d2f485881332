//! Which model fits a set of features, and what is to be added to or taken from it.

use lodge_model::cpu::FeaturePolicy;

use super::table::{Bits, Model, table};

/// Features that QEMU has no switch for: no guest is told to have or lack them.
const NOT_FOR_GUESTS: [&str; 8] = [
    "cmt",
    "mbm_total",
    "mbm_local",
    "osxsave",
    "ospke",
    "vmx-ept-uc",
    "vmx-ept-wb",
    "vmx-invvpid-single-context",
];

/// For whom a model is sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The host itself: no model with a feature the host lacks.
    Host,
    /// A guest: features of the model may be switched off.
    Guest,
}

/// A model as the hypervisor knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownModel {
    /// Its name.
    pub name: String,
    /// Features the hypervisor cannot give of it, by libvirt's names.
    pub blockers: Vec<String>,
}

/// What is to be described.
#[derive(Debug, Clone, Default)]
pub struct Question<'a> {
    /// The features.
    pub bits: Bits,
    /// Who made the processor.
    pub vendor: Option<&'a str>,
    /// Family, model, stepping of the real processor, where one is known.
    pub signature: Option<(u32, u32, u32)>,
    /// Only these models; `None`: all.
    pub known: Option<&'a [KnownModel]>,
    /// A single one: this model, if it can be. Several: these are better than others with more to be switched off.
    pub preferred: &'a [&'a str],
}

/// The answer: a model, and the difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The model.
    pub model: &'static Model,
    /// The difference. A host's features have no policy.
    pub features: Vec<(String, Option<FeaturePolicy>)>,
}

/// The model nearest to a set of features. Newer models are looked at first; one that stands for the very processor
/// comes before all that do not; then the one with the shorter list of differences.
pub fn decode(question: &Question<'_>, wanted: Wanted) -> Option<Choice> {
    let mut best: Option<Choice> = None;
    for model in table().models.iter().rev() {
        let known = match question.known {
            None => None,
            Some(list) => match list.iter().find(|known| known.name == model.name) {
                Some(known) => Some(known),
                None => continue,
            },
        };
        let of_another =
            question.vendor.is_some() && model.vendor.is_some() && question.vendor != model.vendor;
        let admitted = match wanted {
            Wanted::Host => model.for_host,
            Wanted::Guest => model.for_guest,
        };
        if of_another || !admitted {
            continue;
        }
        let Some(mut choice) = describe(&question.bits, model, known, wanted) else { continue };
        let preferred = question.preferred.contains(&model.name);
        if preferred && question.preferred.len() == 1 {
            drop_unsaid(&mut choice.features);
            return Some(choice);
        }
        if best.as_ref().is_none_or(|best| is_better(&choice, best, question.signature, preferred)) {
            best = Some(choice);
        }
    }
    if let Some(best) = best.as_mut().filter(|_| wanted == Wanted::Guest) {
        drop_unsaid(&mut best.features);
    }
    best
}

fn drop_unsaid(features: &mut Vec<(String, Option<FeaturePolicy>)>) {
    features.retain(|(name, _)| !NOT_FOR_GUESTS.contains(&name.as_str()));
}

fn is_better(choice: &Choice, best: &Choice, signature: Option<(u32, u32, u32)>, preferred: bool) -> bool {
    if let Some((family, model, stepping)) = signature {
        let stands = |choice: &Choice| {
            choice.model.signatures.iter().any(|signature| signature.matches(family, model, stepping))
        };
        match (stands(best), stands(choice)) {
            (true, false) => return false,
            (false, true) => return true,
            (true, true) | (false, false) => {}
        }
    }
    let ((mine, off), (other, other_off)) = (weight(choice), weight(best));
    mine < other || ((mine == other || preferred) && off < other_off)
}

/// How far a model is from the features: in all, and by what is to be switched off. A guest may trip over a feature
/// that its model has and it has not, so each of these weighs more than the one before, beginning with 2. Of those,
/// only the first half counts so: that is how libvirt counts, and its choices are kept in guests' documents.
fn weight(choice: &Choice) -> (usize, usize) {
    let is_off = |(_, policy): &&(String, Option<FeaturePolicy>)| *policy == Some(FeaturePolicy::Disable);
    let counted = choice.features.iter().filter(is_off).count().div_ceil(2);
    let penalty = (2..2 + counted).sum();
    (choice.features.len() - counted + penalty, penalty)
}

/// `bits` told as `model` and a difference.
fn describe(
    bits: &Bits,
    model: &'static Model,
    known: Option<&KnownModel>,
    wanted: Wanted,
) -> Option<Choice> {
    let extra = bits.without(&model.bits);
    let mut lacking = model.bits.without(bits);
    for feature in known.iter().flat_map(|known| &known.blockers).filter_map(|name| table().own_feature(name))
    {
        // QEMU's model may have more than the table's, and cannot give it: it must be switched off by name.
        if !extra.has(feature) {
            lacking.add(feature);
        }
    }
    if wanted == Wanted::Host {
        let features = || extra.names().into_iter().map(|name| (name.to_owned(), None)).collect();
        return lacking.is_empty().then(|| Choice { model, features: features() });
    }
    let with = |policy| move |name: &str| (name.to_owned(), Some(policy));
    let mut features: Vec<_> = extra.names().into_iter().map(with(FeaturePolicy::Require)).collect();
    features.extend(lacking.names().into_iter().map(with(FeaturePolicy::Disable)));
    for name in &model.removed {
        if !features.iter().any(|(known, _)| known == name) {
            features.push(((*name).to_owned(), Some(FeaturePolicy::Disable)));
        }
    }
    Some(Choice { model, features })
}
