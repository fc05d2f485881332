//! `<cpu>` on its own: what clients send to be compared, and what the host tells of its processor.
//!
//! A host's description has `<arch>` and features without a policy; a guest's has a mode or `match` and policies.
//! Deliberately absent: what models and features mean (`lodge-host` has the table of them), and the guest's
//! `<cpu>` inside a domain document ([`crate::domain`]).

use crate::markup::Markup;
use crate::xml::{bounds, words::words};
use crate::{Fault, Faults};

words! {
    /// What a guest wants of a feature.
    pub enum FeaturePolicy { Require = "require", Force = "force", Optional = "optional", Disable = "disable", Forbid = "forbid" }
}

/// Whose processor a description is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuKind {
    /// A host's: it has what it has.
    Host,
    /// A guest's: it wants.
    Guest,
    /// To be told by the description itself.
    Unsaid,
}

/// A processor as told to or by a client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuDescription {
    /// It is a guest's.
    pub guest: bool,
    /// The machine's sort, such as `x86_64`.
    pub arch: Option<String>,
    /// `custom`, `host-model`, …
    pub mode: Option<String>,
    /// `exact`, `minimum`, `strict`.
    pub matching: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// `allow` or `forbid`: whether a near model will do.
    pub fallback: Option<String>,
    /// The vendor's short name.
    pub vendor: Option<String>,
    /// Features with what is wanted of them; a host's have no policy.
    pub features: Vec<(String, Option<FeaturePolicy>)>,
}

/// Why a description is not taken: libvirt's code differs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCpu {
    /// It is no XML, or says what no `<cpu>` can.
    #[error("{0}")]
    Xml(String),
    /// It is XML, but contradicts itself.
    #[error("{0}")]
    Unsupported(String),
    /// It has what no `<cpu>` has.
    #[error("{0}")]
    Schema(String),
}

/// Elements of a `<cpu>`.
const ELEMENTS: [&str; 14] = [
    "arch",
    "model",
    "vendor",
    "microcode",
    "signature",
    "counter",
    "topology",
    "maxphysaddr",
    "feature",
    "pages",
    "numa",
    "cache",
    "blockers",
    "vcpus",
];

/// Attributes of a `<cpu>`.
const ATTRIBUTES: [&str; 5] = ["mode", "match", "check", "migratable", "deprecated_features"];

impl CpuDescription {
    /// Finds what no `<cpu>` can have.
    pub fn validate(text: &str) -> Result<(), BadCpu> {
        bounds::check(text).map_err(|faults| BadCpu::Xml(format!("(CPU_definition):{faults}")))?;
        let document = roxmltree::Document::parse(text)
            .map_err(|error| BadCpu::Xml(format!("(CPU_definition):{error}")))?;
        let root = document.root_element();
        let element = root.children().filter(roxmltree::Node::is_element).map(|node| node.tag_name().name());
        if let Some(name) = element.into_iter().find(|name| !ELEMENTS.contains(name)) {
            return Err(BadCpu::Schema(format!("Did not expect element {name} there")));
        }
        match root.attributes().find(|attribute| !ATTRIBUTES.contains(&attribute.name())) {
            Some(attribute) => {
                Err(BadCpu::Schema(format!("Invalid attribute {} for element cpu", attribute.name())))
            }
            None => Ok(()),
        }
    }

    /// The processors that a document tells of, each as a `<cpu>` of its own: `<cpu>` itself or several of them, a
    /// domain's, a host's, the host's model in `<domainCapabilities>`.
    pub fn all_in(text: &str) -> Result<Vec<String>, BadCpu> {
        let text = text.trim_start();
        let declared = text.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>"));
        let text = format!("<container>{}</container>", declared.map_or(text, |(_, rest)| rest));
        let settings = roxmltree::ParsingOptions {
            allow_dtd: false,
            nodes_limit: crate::xml::NODES_MAX,
            ..Default::default()
        };
        let document = roxmltree::Document::parse_with_options(&text, settings)
            .map_err(|error| BadCpu::Xml(format!("(CPU_definition):{error}")))?;
        let mut found = Vec::new();
        for root in document.root_element().children() {
            let path: &[&str] = match root.tag_name().name() {
                "cpu" => &[],
                "domain" => &["cpu"],
                "capabilities" => &["host", "cpu"],
                "domainCapabilities" => &["cpu", "mode"],
                _ => continue,
            };
            let mut nodes = vec![root];
            for name in path {
                nodes = nodes.iter().flat_map(roxmltree::Node::children).collect();
                nodes.retain(|node| node.has_tag_name(*name));
            }
            for node in nodes {
                if node.has_tag_name("cpu") {
                    found.extend(text.get(node.range()).map(str::to_owned));
                } else if node.attribute("name") == Some("host-model")
                    && node.attribute("supported") == Some("yes")
                {
                    let inside = node.children().filter_map(|child| text.get(child.range()));
                    found.push(format!("<cpu>{}</cpu>", inside.collect::<String>()));
                }
            }
        }
        Ok(found)
    }

    /// Reads `<cpu>`.
    pub fn parse(text: &str, kind: CpuKind) -> Result<Self, BadCpu> {
        bounds::check(text).map_err(|faults| BadCpu::Xml(format!("(CPU_definition):{faults}")))?;
        let settings = roxmltree::ParsingOptions {
            allow_dtd: false,
            nodes_limit: crate::xml::NODES_MAX,
            ..Default::default()
        };
        let document = roxmltree::Document::parse_with_options(text, settings)
            .map_err(|error| BadCpu::Xml(format!("(CPU_definition):{error}")))?;
        let root = document.root_element();
        if !root.has_tag_name("cpu") {
            return Err(BadCpu::Xml("XML does not contain expected 'cpu' element".to_owned()));
        }
        let child = |name: &str| root.children().find(|node| node.has_tag_name(name));
        let text = |name: &str| {
            child(name)
                .and_then(|node| node.text())
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
        };
        let own = |name: &str| root.attribute(name).map(str::to_owned);
        let arch = text("arch");
        // What says both is neither a host's nor a guest's.
        if kind == CpuKind::Unsaid && arch.is_some() && root.has_attribute("match") {
            return Err(BadCpu::Xml(
                "'arch' element cannot be used inside 'cpu' element with 'match' attribute'".to_owned(),
            ));
        }
        let guest = match kind {
            CpuKind::Guest => true,
            CpuKind::Host => false,
            CpuKind::Unsaid => arch.is_none(),
        };
        if !guest && root.has_attribute("mode") {
            return Err(BadCpu::Unsupported("Attribute mode is only allowed for guest CPU".to_owned()));
        }
        let mut made = Self {
            guest,
            arch: arch.filter(|_| !guest),
            mode: own("mode"),
            matching: own("match"),
            model: text("model"),
            fallback: child("model").and_then(|node| node.attribute("fallback")).map(str::to_owned),
            vendor: text("vendor"),
            features: Vec::new(),
        };
        for feature in root.children().filter(|node| node.has_tag_name("feature")) {
            made.take_feature(feature.attribute("name"), feature.attribute("policy"))?;
        }
        if made.model.is_none() && !made.features.is_empty() && made.mode.is_none() {
            return Err(BadCpu::Xml("Non-empty feature list specified without CPU model".to_owned()));
        }
        Ok(made)
    }

    fn take_feature(&mut self, name: Option<&str>, policy: Option<&str>) -> Result<(), BadCpu> {
        let name = name
            .filter(|name| !name.is_empty())
            .ok_or_else(|| BadCpu::Xml("Invalid CPU feature name".to_owned()))?;
        if self.features.iter().any(|(known, _)| known == name) {
            return Err(BadCpu::Xml(format!("CPU feature '{name}' specified more than once")));
        }
        let policy = match policy {
            _ if !self.guest => None,
            None => Some(FeaturePolicy::Require),
            Some(word) => {
                Some(word.parse().map_err(|_| BadCpu::Xml("Invalid CPU feature policy".to_owned()))?)
            }
        };
        self.features.push((name.to_owned(), policy));
        Ok(())
    }

    /// The features as elements, into `text`.
    pub fn write_features(&self, text: &mut Markup) {
        for (name, policy) in &self.features {
            match policy {
                Some(policy) => text.empty("feature", &[("policy", policy), ("name", name)]),
                None => text.empty("feature", &[("name", name)]),
            }
        }
    }

    /// What a guest is to ask for: the answer to a baseline.
    pub fn to_guest_xml(&self) -> String {
        let mut text = Markup::new();
        let word =
            |word: &Option<String>, otherwise: &str| word.clone().unwrap_or_else(|| otherwise.to_owned());
        text.start(
            "cpu",
            &[("mode", &word(&self.mode, "custom")), ("match", &word(&self.matching, "exact"))],
        );
        if let Some(model) = &self.model {
            text.leaf("model", &[("fallback", &word(&self.fallback, "allow"))], model);
        }
        if let Some(vendor) = &self.vendor {
            text.leaf("vendor", &[], vendor);
        }
        self.write_features(&mut text);
        text.finish()
    }
}

impl From<BadCpu> for Faults {
    fn from(bad: BadCpu) -> Self {
        Self(vec![Fault::at("/cpu", bad.to_string())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_found_in_all_that_has_them() {
        let found = |text: &str| CpuDescription::all_in(text).unwrap();
        let cpu = "<cpu><model>x</model></cpu>";
        assert_eq!(found(cpu), [cpu]);
        assert_eq!(found(&format!("<?xml version='1.0'?>\n{cpu}\n{cpu}")), [cpu, cpu]);
        assert_eq!(found(&format!("<domain><name>a</name>{cpu}</domain>")), [cpu]);
        assert_eq!(found(&format!("<capabilities><host>{cpu}</host></capabilities>")), [cpu]);
        let own = "<domainCapabilities><cpu><mode name='custom' supported='yes'><model>y</model></mode>\
                   <mode name='host-model' supported='yes'><model>x</model></mode></cpu></domainCapabilities>";
        assert_eq!(found(own), [cpu]);
        assert!(found("<cpus><cpu/></cpus>").is_empty());
        assert!(CpuDescription::all_in("<cpu>").is_err());
    }

    #[test]
    fn a_host_is_told_from_a_guest() {
        let host = "<cpu><arch>x86_64</arch><model>Haswell</model><feature name='aes'/></cpu>";
        let host = CpuDescription::parse(host, CpuKind::Unsaid).unwrap();
        assert!(!host.guest);
        assert_eq!(host.features, [("aes".to_owned(), None)]);
        let guest = "<cpu match='exact'><model>qemu64</model><feature policy='disable' name='aes'/><feature name='avx'/></cpu>";
        let guest = CpuDescription::parse(guest, CpuKind::Unsaid).unwrap();
        assert!(guest.guest);
        assert_eq!(
            guest.to_guest_xml(),
            "<cpu mode='custom' match='exact'>\n  <model fallback='allow'>qemu64</model>\n  <feature policy='disable' name='aes'/>\n  \
             <feature policy='require' name='avx'/>\n</cpu>\n"
        );
        let both = "<cpu mode='custom'><model>x</model></cpu>";
        assert!(matches!(CpuDescription::parse(both, CpuKind::Host), Err(BadCpu::Unsupported(_))));
        let neither = "<cpu match='exact'><arch>x86_64</arch><model>x</model></cpu>";
        assert!(matches!(CpuDescription::parse(neither, CpuKind::Unsaid), Err(BadCpu::Xml(_))));
        assert!(CpuDescription::parse("<domain/>", CpuKind::Unsaid).is_err());
        assert!(CpuDescription::parse("<cpu>", CpuKind::Unsaid).is_err());
    }
}
