//! Which model fits a set of features, and what is to be added to or taken from it.

use lodge_model::cpu::FeaturePolicy;

use super::table::{Bits, Model, table};

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
    /// This model, if it can be.
    pub preferred: Option<&'a str>,
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
        let Some(choice) = describe(&question.bits, model, known, wanted) else { continue };
        if question.preferred == Some(model.name) {
            return Some(choice);
        }
        if best.as_ref().is_none_or(|best| is_better(&choice, best, question.signature)) {
            best = Some(choice);
        }
    }
    best
}

fn is_better(choice: &Choice, best: &Choice, signature: Option<(u32, u32, u32)>) -> bool {
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
    let off = |choice: &Choice| {
        choice.features.iter().filter(|(_, policy)| *policy == Some(FeaturePolicy::Disable)).count()
    };
    let (mine, other) = (choice.features.len(), best.features.len());
    mine < other || (mine == other && off(choice) < off(best))
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
