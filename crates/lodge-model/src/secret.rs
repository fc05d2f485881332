//! The secret document: libvirt's `<secret>`. The value itself is never in it.

use crate::markup::Markup;
use uuid::Uuid;

/// What a secret is for, and of which thing: at most one secret has the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretUsage {
    /// For what.
    pub kind: UsageKind,
    /// Of which.
    pub id: String,
}

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UsageKind {
    /// A volume's key, by its path.
    Volume,
    /// A Ceph login, by name.
    Ceph,
    /// An iSCSI login, by target.
    Iscsi,
    /// A TLS key's passphrase, by name.
    Tls,
    /// A virtual TPM's key, by name.
    Vtpm,
}

impl UsageKind {
    const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Volume, "volume", "volume"),
        (Self::Ceph, "ceph", "name"),
        (Self::Iscsi, "iscsi", "target"),
        (Self::Tls, "tls", "name"),
        (Self::Vtpm, "vtpm", "name"),
    ];

    /// libvirt's word, and the element that says of which thing.
    fn words(self) -> (&'static str, &'static str) {
        Self::ALL
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or(("", ""), |(_, word, element)| (word, element))
    }

    /// libvirt's word.
    pub fn as_str(self) -> &'static str {
        self.words().0
    }

    /// libvirt's number (virSecretUsageType); 0 is none.
    pub fn number(self) -> i32 {
        Self::ALL.iter().zip(1..).find(|((kind, ..), _)| *kind == self).map_or(0, |(_, number)| number)
    }

    /// The kind of a number.
    pub fn from_number(number: i32) -> Option<Self> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        Self::ALL.get(at).map(|(kind, ..)| *kind)
    }
}

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The identity.
    pub uuid: Uuid,
    /// It is kept in memory alone.
    pub ephemeral: bool,
    /// Its value is told to nobody.
    pub private: bool,
    /// A text for people.
    pub description: Option<String>,
    /// What it is for.
    pub usage: Option<SecretUsage>,
}

/// Why a document is no secret; the words are libvirt's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// It is no XML, or says what cannot be.
    #[error("{0}")]
    Xml(String),
    /// Something is missing.
    #[error("{0}")]
    Incomplete(String),
    /// Something is in it that a secret does not have.
    #[error("{0}")]
    Schema(String),
}

impl Secret {
    /// Reads a document; one without a UUID gets a new one.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let xml = |message: String| BadSecret::Xml(message);
        crate::xml::bounds::check(text).map_err(|faults| xml(format!("(secret_description): {faults}")))?;
        let settings =
            roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: 1000, ..Default::default() };
        let document = roxmltree::Document::parse_with_options(text, settings)
            .map_err(|error| xml(format!("(secret_description): {error}")))?;
        let root = document.root_element();
        if !root.has_tag_name("secret") {
            let name = root.tag_name().name();
            return Err(xml(format!("expecting root element of 'secret', not '{name}'")));
        }
        let flag = |name: &str| match root.attribute(name) {
            None | Some("no") => Ok(false),
            Some("yes") => Ok(true),
            Some(_) => Err(xml(format!("invalid value of '{name}'"))),
        };
        let child = |name: &str| root.children().find(|node| node.has_tag_name(name));
        let words = |node: roxmltree::Node<'_, '_>| node.text().map(|text| text.trim().to_owned());
        let uuid = match child("uuid").and_then(words) {
            None => Uuid::new_v4(),
            Some(text) => Uuid::parse_str(&text).map_err(|_| xml("malformed uuid element".to_owned()))?,
        };
        Ok(Self {
            uuid,
            ephemeral: flag("ephemeral")?,
            private: flag("private")?,
            description: child("description").and_then(words).filter(|text| !text.is_empty()),
            usage: child("usage").map(usage).transpose()?.flatten(),
        })
    }

    /// Whether a document has nothing but what a secret can have (`--validate`).
    pub fn check_strict(text: &str) -> Result<(), BadSecret> {
        Self::parse(text)?;
        let document = roxmltree::Document::parse(text).map_err(|error| BadSecret::Xml(error.to_string()))?;
        let known = |node: roxmltree::Node<'_, '_>, attributes: &[&str], elements: &[&str]| {
            let name = node.tag_name().name();
            if let Some(odd) = node.attributes().find(|odd| !attributes.contains(&odd.name())) {
                return Err(BadSecret::Schema(format!("<{name}> has no attribute '{}'", odd.name())));
            }
            let mut seen = Vec::new();
            for child in node.children().filter(roxmltree::Node::is_element) {
                let child = child.tag_name().name();
                if !elements.contains(&child) {
                    return Err(BadSecret::Schema(format!("<{name}> has no element <{child}>")));
                }
                if seen.contains(&child) {
                    return Err(BadSecret::Schema(format!("<{child}> is given twice")));
                }
                seen.push(child);
            }
            Ok(())
        };
        let root = document.root_element();
        known(root, &["ephemeral", "private"], &["uuid", "description", "usage"])?;
        let Some(usage) = root.children().find(|node| node.has_tag_name("usage")) else { return Ok(()) };
        let word = usage.attribute("type").unwrap_or_default();
        let kind = UsageKind::ALL.iter().find(|(_, known, _)| *known == word);
        let (.., element) = kind.ok_or_else(|| BadSecret::Schema(format!("<usage> has no type '{word}'")))?;
        known(usage, &["type"], &[*element])
    }

    /// libvirt's text of it.
    pub fn to_xml(&self) -> String {
        let yes = |flag: bool| if flag { "yes" } else { "no" };
        let mut text = Markup::new();
        text.start("secret", &[("ephemeral", &yes(self.ephemeral)), ("private", &yes(self.private))]);
        text.leaf("uuid", &[], self.uuid);
        if let Some(description) = &self.description {
            text.leaf("description", &[], description);
        }
        if let Some(usage) = &self.usage {
            let (word, element) = usage.kind.words();
            text.start("usage", &[("type", &word)]);
            text.leaf(element, &[], &usage.id);
            text.end();
        }
        text.finish()
    }

    /// What it is of, or nothing.
    pub fn usage_id(&self) -> &str {
        self.usage.as_ref().map_or("", |usage| &usage.id)
    }
}

fn usage(node: roxmltree::Node<'_, '_>) -> Result<Option<SecretUsage>, BadSecret> {
    let word = node
        .attribute("type")
        .ok_or_else(|| BadSecret::Xml("Missing required attribute 'type' in element 'usage'".to_owned()))?;
    if word == "none" {
        return Ok(None);
    }
    let known = UsageKind::ALL.iter().find(|(_, known, _)| *known == word);
    let (kind, word, element) = known.ok_or_else(|| {
        BadSecret::Xml(format!("Invalid value for attribute 'type' in element 'usage': '{word}'."))
    })?;
    let id = node.children().find(|child| child.has_tag_name(*element)).and_then(|child| child.text());
    let id = id.map(str::trim).filter(|id| !id.is_empty()).ok_or_else(|| {
        let what = match kind {
            UsageKind::Volume => "volume path",
            UsageKind::Iscsi => "target",
            UsageKind::Ceph | UsageKind::Tls | UsageKind::Vtpm => "name",
        };
        let word = match kind {
            UsageKind::Ceph => "Ceph",
            UsageKind::Iscsi => "iSCSI",
            UsageKind::Tls => "TLS",
            UsageKind::Vtpm => "vTPM",
            UsageKind::Volume => word,
        };
        BadSecret::Incomplete(format!("{word} usage specified, but {what} is missing"))
    })?;
    Ok(Some(SecretUsage { kind: *kind, id: id.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_written_as_libvirt_writes_it() {
        let text = "<secret private='yes'><uuid>11111111-2222-3333-4444-555555555555</uuid><description>mine\
                    </description><usage type='volume'><volume>/var/lib/x.img</volume></usage></secret>";
        let secret = Secret::parse(text).unwrap();
        let written = "<secret ephemeral='no' private='yes'>\n  <uuid>11111111-2222-3333-4444-555555555555</uuid>\n  \
                       <description>mine</description>\n  <usage type='volume'>\n    <volume>/var/lib/x.img</volume>\n  \
                       </usage>\n</secret>\n";
        assert_eq!(secret.to_xml(), written);
        assert_eq!(Secret::parse(written), Ok(secret));
        for number in 1..=5 {
            assert_eq!(UsageKind::from_number(number).map(UsageKind::number), Some(number));
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_libvirts_words() {
        let why = |text: &str| Secret::parse(text).unwrap_err().to_string();
        assert_eq!(why("<secret private='maybe'/>"), "invalid value of 'private'");
        assert_eq!(
            why("<secret><usage type='foo'/></secret>"),
            "Invalid value for attribute 'type' in element 'usage': 'foo'."
        );
        assert_eq!(
            why("<secret><usage type='volume'/></secret>"),
            "volume usage specified, but volume path is missing"
        );
        assert!(why("<secret").starts_with("(secret_description):"));
    }

    #[test]
    fn validation_refuses_what_a_secret_does_not_have() {
        let why = |text: &str| Secret::check_strict(text).unwrap_err().to_string();
        assert_eq!(why("<secret><bogus/></secret>"), "<secret> has no element <bogus>");
        assert_eq!(why("<secret a='b'/>"), "<secret> has no attribute 'a'");
        assert_eq!(why("<secret><description/><description/></secret>"), "<description> is given twice");
        assert_eq!(why("<secret><usage type='none'/></secret>"), "<usage> has no type 'none'");
        let tls = "<secret><usage type='tls'><name>n</name></usage></secret>";
        assert_eq!(Secret::check_strict(tls), Ok(()));
        assert_eq!(why(&tls.replace("</name>", "</name><target/>")), "<usage> has no element <target>");
    }
}
