//! The table of features and models, read once from the two texts beside this file.

use std::collections::HashMap;
use std::sync::OnceLock;

const FEATURES: &str = include_str!("x86_features.txt");
const MODELS: &str = include_str!("x86_models.txt");

/// Where a feature's bit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// A register of a leaf of CPUID: leaf, sub-leaf, `a`, `b`, `c` or `d`.
    Cpuid(u32, u32, char),
    /// A half of a model-specific register: index, whether it is the high one.
    Register(u32, bool),
}

impl Word {
    /// `7.0.ebx` or `m10a.eax`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let first = parts.next()?;
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        if let Some(index) = first.strip_prefix('m') {
            return Some(Self::Register(hex(index)?, parts.next()? == "edx"));
        }
        let (leaf, sub) = (hex(first)?, hex(parts.next()?)?);
        Some(Self::Cpuid(leaf, sub, parts.next()?.chars().nth(1)?))
    }
}

/// A set of features, by the words of the table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bits(Vec<u32>);

impl Bits {
    /// No feature at all.
    pub fn empty() -> Self {
        Self(vec![0; table().words.len()])
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether all of `other` is in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| own & other == *other)
    }

    /// Whether a feature is in it.
    pub fn has(&self, feature: &Feature) -> bool {
        self.0.get(feature.word).is_some_and(|word| word & feature.bit != 0)
    }

    /// Adds a feature.
    pub fn add(&mut self, feature: &Feature) {
        self.set(feature.word, feature.bit);
    }

    /// Takes a feature out.
    pub fn remove(&mut self, feature: &Feature) {
        if let Some(word) = self.0.get_mut(feature.word) {
            *word &= !feature.bit;
        }
    }

    pub(super) fn set(&mut self, at: usize, bits: u32) {
        if let Some(word) = self.0.get_mut(at) {
            *word |= bits;
        }
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own & other).collect())
    }

    /// What is in either.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own | other).collect())
    }

    /// What is in this and not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own & !other).collect())
    }

    /// The names of the features in it, in libvirt's order.
    pub fn names(&self) -> Vec<&'static str> {
        table().features.iter().filter(|feature| self.has(feature)).map(|feature| feature.name).collect()
    }
}

/// A feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// libvirt's name.
    pub name: &'static str,
    /// A guest that has it cannot move to another host.
    pub fixed: bool,
    word: usize,
    bit: u32,
}

/// Family, model and steppings of real processors that a model stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    family: u32,
    model: u32,
    steppings: Option<(u32, u32)>,
}

impl Signature {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let mut number = || parts.next()?.parse().ok();
        let (family, model) = (number()?, number()?);
        let steppings = match parts.next() {
            None => None,
            Some(range) => {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                Some((first.parse().ok()?, last.parse().ok()?))
            }
        };
        Some(Self { family, model, steppings })
    }

    /// Whether a processor is of this sort.
    pub fn matches(&self, family: u32, model: u32, stepping: u32) -> bool {
        self.family == family
            && self.model == model
            && self.steppings.is_none_or(|(first, last)| (first..=last).contains(&stepping))
    }
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// libvirt's and QEMU's name.
    pub name: &'static str,
    /// The short name of who makes it.
    pub vendor: Option<&'static str>,
    /// A host may be told to be one.
    pub for_host: bool,
    /// A guest may be told to be one.
    pub for_guest: bool,
    /// What it stands for.
    pub signatures: Vec<Signature>,
    /// Its features.
    pub bits: Bits,
    /// Features that QEMU once gave it and gives no more.
    pub removed: Vec<&'static str>,
}

/// All features and models.
#[derive(Debug)]
pub struct Table {
    words: Vec<Word>,
    /// In libvirt's order.
    pub features: Vec<Feature>,
    /// Oldest first.
    pub models: Vec<Model>,
    by_name: HashMap<&'static str, usize>,
    models_by_name: HashMap<&'static str, usize>,
}

impl Table {
    fn read() -> Self {
        let mut table = Self {
            words: Vec::new(),
            features: Vec::new(),
            models: Vec::new(),
            by_name: HashMap::new(),
            models_by_name: HashMap::new(),
        };
        for line in lines(FEATURES) {
            table.take_feature(line).expect("the table is part of the program and tested");
        }
        for line in lines(MODELS) {
            table.take_model(line).expect("the table is part of the program and tested");
        }
        table
    }

    fn word(&mut self, text: &str) -> Option<usize> {
        let word = Word::parse(text)?;
        Some(self.words.iter().position(|known| *known == word).unwrap_or_else(|| {
            self.words.push(word);
            self.words.len() - 1
        }))
    }

    fn take_feature(&mut self, line: &'static str) -> Option<()> {
        let mut parts = line.split(' ');
        let name = parts.next()?;
        let word = self.word(parts.next()?)?;
        let bit = u32::from_str_radix(parts.next()?, 16).ok()?;
        let at = self.features.len();
        let mut fixed = false;
        for rest in parts {
            fixed |= rest == "fixed";
            if let Some(other) = rest.strip_prefix("qemu=") {
                self.by_name.insert(other, at);
            }
        }
        self.by_name.insert(name, at);
        self.features.push(Feature { name, fixed, word, bit });
        Some(())
    }

    fn take_model(&mut self, line: &'static str) -> Option<()> {
        let mut parts = line.split(' ');
        let name = parts.next()?;
        let vendor = parts.next().filter(|vendor| *vendor != "-");
        let uses = parts.next()?;
        let signatures = match parts.next()? {
            "-" => Vec::new(),
            list => list.split(',').map(Signature::parse).collect::<Option<_>>()?,
        };
        let mut bits = Bits(vec![0; self.words.len()]);
        let mut removed = Vec::new();
        for rest in parts {
            if let Some(name) = rest.strip_prefix('-') {
                removed.push(name);
                continue;
            }
            let (word, value) = rest.split_once('=')?;
            bits.set(self.word(word)?, u32::from_str_radix(value, 16).ok()?);
        }
        self.models_by_name.insert(name, self.models.len());
        let (for_host, for_guest) = (uses.contains('h'), uses.contains('g'));
        self.models.push(Model { name, vendor, for_host, for_guest, signatures, bits, removed });
        Some(())
    }

    /// A feature by libvirt's or QEMU's name. QEMU's properties may be written with either `-` or `_`.
    pub fn feature(&self, name: &str) -> Option<&Feature> {
        let find = |name: &str| self.by_name.get(name).and_then(|at| self.features.get(*at));
        find(name).or_else(|| find(&name.replace('_', "-"))).or_else(|| find(&name.replace('-', "_")))
    }

    /// A feature by libvirt's own name.
    pub fn own_feature(&self, name: &str) -> Option<&Feature> {
        self.by_name.get(name).and_then(|at| self.features.get(*at)).filter(|feature| feature.name == name)
    }

    /// A model by name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models_by_name.get(name).and_then(|at| self.models.get(*at))
    }

    /// The set of features that a reader of words tells.
    pub fn gather(&self, mut read: impl FnMut(Word) -> u32) -> Bits {
        // Bits that no feature stands for would never compare equal.
        let mut known = vec![0; self.words.len()];
        for feature in &self.features {
            if let Some(word) = known.get_mut(feature.word) {
                *word |= feature.bit;
            }
        }
        Bits(self.words.iter().zip(known).map(|(word, mask)| read(*word) & mask).collect())
    }

    /// The model-specific registers that features stand in.
    pub fn registers(&self) -> Vec<u32> {
        let mut found: Vec<u32> = self
            .words
            .iter()
            .filter_map(|word| match word {
                Word::Register(index, _) => Some(*index),
                Word::Cpuid(..) => None,
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// The table.
pub fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(Table::read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let table = table();
        assert!(table.features.len() > 300 && table.models.len() >= 150);
        for feature in &table.features {
            assert_eq!(feature.bit.count_ones(), 1, "{}", feature.name);
        }
        for model in &table.models {
            assert!(!model.bits.is_empty(), "{}", model.name);
            for name in &model.removed {
                assert!(table.own_feature(name).is_some(), "{name}");
            }
        }
        assert_eq!(table.models.first().map(|model| model.name), Some("486"));
        assert_eq!(table.feature("sse3").map(|feature| feature.name), Some("pni"));
        assert_eq!(table.feature("tsc-adjust").map(|feature| feature.name), Some("tsc_adjust"));
    }

    #[test]
    fn a_model_has_the_features_of_its_line() {
        let haswell = table().model("Haswell").unwrap();
        let aes = table().own_feature("aes").unwrap();
        let sse4a = table().own_feature("sse4a").unwrap();
        assert!(haswell.bits.has(aes) && !haswell.bits.has(sse4a));
        assert!(haswell.signatures.iter().any(|signature| signature.matches(6, 60, 3)));
        let skylake = table().model("Skylake-Server").unwrap();
        assert!(skylake.signatures.iter().any(|signature| signature.matches(6, 85, 4)));
        assert!(!skylake.signatures.iter().any(|signature| signature.matches(6, 85, 7)));
    }
}
