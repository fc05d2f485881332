//! QEMU's JSON objects, in the order written: `{"driver":"virtio-blk-pci","bus":"pci.4",…}`.

use std::fmt::Write;

use serde_json::Value;

/// An object under construction.
#[derive(Debug, Clone)]
pub(super) struct Props(Vec<(String, Value)>);

impl Props {
    /// A device of this type.
    pub(super) fn driver(name: &str) -> Self {
        Self(Vec::new()).with("driver", name)
    }

    /// An object (`-object`) of this type.
    pub(super) fn object(kind: &str, id: &str) -> Self {
        Self(Vec::new()).with("qom-type", kind).with("id", id)
    }

    /// One without a first word.
    pub(super) fn plain() -> Self {
        Self(Vec::new())
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    pub(super) fn maybe(mut self, name: &str, value: Option<impl Into<Value>>) -> Self {
        if let Some(value) = value {
            self.set(name, value);
        }
        self
    }

    pub(super) fn nested(self, name: &str, props: &Self) -> Self {
        self.with(name, props.value())
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// A property that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name)?.1.as_str()
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Sets a property whether it is there or not.
    pub(super) fn replace(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn value(&self) -> Value {
        Value::Object(self.0.iter().cloned().collect())
    }

    pub(super) fn to_json(&self) -> String {
        let mut text = String::from("{");
        for (at, (name, value)) in self.0.iter().enumerate() {
            let gap = if at == 0 { "" } else { "," };
            let _ = write!(text, "{gap}{}:{value}", Value::from(name.as_str()));
        }
        text + "}"
    }
}

/// Text inside an option's value: a comma is doubled, see qemu(1).
pub(super) fn escaped(text: &str) -> String {
    text.replace(',', ",,")
}
