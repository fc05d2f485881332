//! A device as somebody gave it.

use lodge_model::domain::devices::Devices;

use crate::control::{Refusal, Sort};

/// A device's text, read.
#[derive(Debug, Clone)]
pub struct Given {
    /// Its element: `disk`, `interface` …
    pub element: String,
    /// It alone.
    pub devices: Devices,
}

impl Given {
    /// Reads a device's text.
    pub fn parse(xml: &str) -> Result<Self, Refusal> {
        if xml.trim().is_empty() {
            let text = "at line 1: Document is empty\n(null)\n^";
            return Err(Refusal::new(Sort::XmlMalformed, text).of_domain());
        }
        match Devices::parse_one(xml) {
            Ok(Some((element, devices))) => Ok(Self { element, devices }),
            Ok(None) => {
                let name = xml.trim().trim_start_matches('<');
                let end = name.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
                let name = &name[..end.unwrap_or(name.len())];
                let text = format!("unknown device type '{name}'");
                Err(Refusal::new(Sort::ConfigUnsupported, text).of_domain())
            }
            Err(faults) => {
                let malformed = faults.0.first().is_some_and(|fault| fault.path.is_empty());
                let (sort, text) = match faults.0.first().filter(|_| malformed) {
                    Some(fault) => {
                        (Sort::XmlMalformed, format!("at line {}: {}", fault.line.max(1), fault.message))
                    }
                    None => (Sort::Xml, faults.to_string()),
                };
                Err(Refusal::new(sort, text).of_domain())
            }
        }
    }
}
