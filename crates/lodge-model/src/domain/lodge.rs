//! Lodge's own element inside `<metadata>`: what it knows of a guest beyond libvirt's document.
//!
//! ```xml
//! <lodge:guest xmlns:lodge="https://lodge.dev/xmlns/guest/1">
//!   <lodge:image name="debian-12"/>
//!   <lodge:accelerator fallback="refuse"/>
//!   <lodge:seed/>
//!   <lodge:readiness goal="cloud-init" deadline="600"/>
//!   <lodge:origin kind="template" name="web" version="2"/>
//! </lodge:guest>
//! ```
//!
//! It survives a stay with libvirtd, which keeps metadata it does not know.

use super::Domain;
use crate::xml::words::words;
use crate::xml::{ForeignItem, Value, escaped};
use crate::{Fault, Faults};
use std::fmt::Write as _;

/// The namespace of Lodge's element.
pub const NAMESPACE: &str = "https://lodge.dev/xmlns/guest/1";

words! {
    /// What happens when the accelerator that the document asks for is not usable.
    pub enum AccelFallback { Allow = "allow", Refuse = "refuse" }
}

words! {
    /// What a guest must reach to count as ready.
    pub enum ReadinessGoal { CloudInit = "cloud-init", Agent = "agent", Address = "address", Running = "running" }
}

words! {
    /// What a guest was made of.
    pub enum OriginKind { Domain = "domain", Template = "template" }
}

/// Where a clone came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// What it was made of.
    pub kind: OriginKind,
    /// The name of that.
    pub name: String,
    /// A template's version.
    pub version: Option<u32>,
}

/// When a guest counts as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadinessPolicy {
    /// What it must reach; `None`: what the guest is seen to have.
    pub goal: Option<ReadinessGoal>,
    /// In how many seconds on bare hardware; scaled by the guest's measured speed.
    pub deadline_s: Option<u32>,
}

/// Lodge's element.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LodgeGuest {
    /// The image the guest's disk was cloned from.
    pub image: Option<String>,
    /// Whether QEMU's emulation may stand in for a missing KVM; `None`: the daemon's setting.
    pub accelerator_fallback: Option<AccelFallback>,
    /// Whether the daemon keeps a cloud-init seed for it.
    pub seed: bool,
    /// When it counts as ready.
    pub readiness: ReadinessPolicy,
    /// What it was cloned from.
    pub origin: Option<Origin>,
}

impl Domain {
    /// Lodge's own element of `<metadata>`, or its defaults.
    pub fn lodge(&self) -> Result<LodgeGuest, Faults> {
        let elements = self.metadata.iter().flat_map(|metadata| metadata.elements.elements());
        for xml in elements {
            let Ok(document) = roxmltree::Document::parse(xml) else { continue };
            if document.root_element().has_tag_name((NAMESPACE, "guest")) {
                return read(document.root_element());
            }
        }
        Ok(LodgeGuest::default())
    }

    /// Puts Lodge's own element in place; all other metadata stays as it is. Defaults leave no element.
    pub fn set_lodge(&mut self, guest: &LodgeGuest) {
        let item = (*guest != LodgeGuest::default()).then(|| ForeignItem::element(&write(guest))).flatten();
        if item.is_none() && self.metadata.is_none() {
            return;
        }
        let metadata = self.metadata.get_or_insert_default();
        metadata.elements.retain(|other| !is_ours(other));
        if let Some(item) = item {
            metadata.elements.push(item);
        }
        self.metadata.take_if(|metadata| metadata.elements.is_empty());
    }
}

fn is_ours(item: &ForeignItem) -> bool {
    let ForeignItem::Element { xml, .. } = item else { return false };
    let document = roxmltree::Document::parse(xml);
    document.is_ok_and(|document| document.root_element().has_tag_name((NAMESPACE, "guest")))
}

/// Reads the element. Children it does not know are of a newer Lodge and passed over.
fn read(root: roxmltree::Node<'_, '_>) -> Result<LodgeGuest, Faults> {
    let mut guest = LodgeGuest::default();
    let mut faults = Vec::new();
    for child in root.children().filter(|child| child.tag_name().namespace() == Some(NAMESPACE)) {
        let mut reader = Reading { child, faults: &mut faults };
        match child.tag_name().name() {
            "image" => guest.image = child.attribute("name").map(str::to_owned),
            "accelerator" => guest.accelerator_fallback = reader.attribute("fallback"),
            "seed" => guest.seed = true,
            "readiness" => {
                guest.readiness = ReadinessPolicy {
                    goal: reader.attribute("goal"),
                    deadline_s: reader.attribute("deadline"),
                };
            }
            "origin" => {
                guest.origin =
                    reader.attribute("kind").zip(child.attribute("name")).map(|(kind, name)| Origin {
                        kind,
                        name: name.to_owned(),
                        version: child.attribute("version").and_then(|text| text.parse().ok()),
                    });
            }
            _ => {}
        }
    }
    if faults.is_empty() { Ok(guest) } else { Err(Faults(faults)) }
}

struct Reading<'a, 'input> {
    child: roxmltree::Node<'a, 'input>,
    faults: &'a mut Vec<Fault>,
}

impl Reading<'_, '_> {
    fn attribute<T: Value>(&mut self, name: &str) -> Option<T> {
        let text = self.child.attribute(name)?;
        let path = || format!("/domain/metadata/guest/{}/@{name}", self.child.tag_name().name());
        T::read_value(text).map_err(|message| self.faults.push(Fault::at(path(), message))).ok()
    }
}

fn write(guest: &LodgeGuest) -> String {
    let mut out = format!("<lodge:guest xmlns:lodge=\"{NAMESPACE}\">");
    if let Some(image) = &guest.image {
        let _ = write!(out, "<lodge:image name=\"{}\"/>", escaped(image));
    }
    if let Some(fallback) = guest.accelerator_fallback {
        let _ = write!(out, "<lodge:accelerator fallback=\"{fallback}\"/>");
    }
    if guest.seed {
        out.push_str("<lodge:seed/>");
    }
    let ReadinessPolicy { goal, deadline_s } = guest.readiness;
    if goal.is_some() || deadline_s.is_some() {
        out.push_str("<lodge:readiness");
        if let Some(goal) = goal {
            let _ = write!(out, " goal=\"{goal}\"");
        }
        if let Some(deadline_s) = deadline_s {
            let _ = write!(out, " deadline=\"{deadline_s}\"");
        }
        out.push_str("/>");
    }
    if let Some(Origin { kind, name, version }) = &guest.origin {
        let _ = write!(out, "<lodge:origin kind=\"{kind}\" name=\"{}\"", escaped(name));
        if let Some(version) = version {
            let _ = write!(out, " version=\"{version}\"");
        }
        out.push_str("/>");
    }
    out.push_str("</lodge:guest>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::WriteOptions;
    use expect_test::expect;

    const OTHERS: &str =
        r#"<domain type="kvm"><name>n</name><metadata><a:b xmlns:a="urn:a">x</a:b></metadata></domain>"#;

    #[test]
    fn our_element_stands_beside_others() {
        let mut domain = Domain::parse(OTHERS).unwrap();
        assert_eq!(domain.lodge(), Ok(LodgeGuest::default()));
        let guest = LodgeGuest {
            image: Some("debian-12 \"<&".to_owned()),
            accelerator_fallback: Some(AccelFallback::Refuse),
            seed: true,
            readiness: ReadinessPolicy { goal: Some(ReadinessGoal::CloudInit), deadline_s: Some(600) },
            origin: Some(Origin { kind: OriginKind::Template, name: "web".to_owned(), version: Some(2) }),
        };
        domain.set_lodge(&guest);
        domain.set_lodge(&guest);
        let text = domain.to_xml(&WriteOptions::STORED);
        expect![[r#"
            <domain type='kvm'>
              <name>n</name>
              <metadata>
                <a:b xmlns:a="urn:a">x</a:b>
                <lodge:guest xmlns:lodge="https://lodge.dev/xmlns/guest/1">
                  <lodge:image name="debian-12 &quot;&lt;&amp;"/>
                  <lodge:accelerator fallback="refuse"/>
                  <lodge:seed/>
                  <lodge:readiness goal="cloud-init" deadline="600"/>
                  <lodge:origin kind="template" name="web" version="2"/>
                </lodge:guest>
              </metadata>
              <memory unit='KiB'>0</memory>
            </domain>
        "#]]
        .assert_eq(&text);
        let mut domain = Domain::parse(&text).unwrap();
        assert_eq!(domain.lodge(), Ok(guest));
        assert!(domain.unsupported().is_empty());
        domain.set_lodge(&LodgeGuest::default());
        assert_eq!(domain, Domain::parse(OTHERS).unwrap());
    }

    #[test]
    fn a_bad_word_in_our_element_is_a_fault() {
        let text = format!(
            "<domain type='kvm'><metadata><x:guest xmlns:x='{NAMESPACE}'><x:accelerator fallback='maybe'/></x:guest></metadata></domain>"
        );
        let faults = Domain::parse(&text).unwrap().lodge().unwrap_err();
        assert_eq!(faults.0[0].path, "/domain/metadata/guest/accelerator/@fallback");
    }
}
