//! `attach-interface`, `detach-interface`: network cards by their parts.

use clap::Args;
use lodge_client::api::{DomainChange, ErrorKind};
use lodge_model::domain::interface::Interface;
use lodge_model::markup::Markup;
use lodge_model::xml::WriteOptions;

use super::disk::document;
use super::scope::{Lasting, change};
use crate::failure::{Failure, invalid};
use crate::output;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct AttachInterface {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// network interface type
    #[arg(value_name = "type")]
    kind: String,
    /// source of network interface
    #[arg(value_name = "source")]
    source: String,
    /// target network name
    #[arg(long, value_name = "string")]
    target: Option<String>,
    /// MAC address
    #[arg(long, value_name = "string")]
    mac: Option<String>,
    /// script used to bridge network interface
    #[arg(long, value_name = "string")]
    script: Option<String>,
    /// model type
    #[arg(long, value_name = "string")]
    model: Option<String>,
    /// custom alias name of interface device
    #[arg(long, value_name = "string")]
    alias: Option<String>,
    /// control domain's incoming traffics
    #[arg(long, value_name = "string")]
    inbound: Option<String>,
    /// control domain's outgoing traffics
    #[arg(long, value_name = "string")]
    outbound: Option<String>,
    /// print XML document rather than attach the interface
    #[arg(long)]
    print_xml: bool,
    #[command(flatten)]
    lasting: Lasting,
}

impl AttachInterface {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let xml = self.xml()?;
        if self.print_xml {
            output::print(&xml);
            return Ok(());
        }
        let client = session.client().await?;
        let scope = self.lasting.asked(&self.domain, &client).await?;
        let to = DomainChange::AttachDevice { xml };
        let view = change(&client, &self.domain, scope, &to, "Failed to attach interface").await?;
        session.done(&view, |_| "Interface attached successfully\n".to_owned());
        Ok(())
    }

    fn xml(&self) -> Result<String, Failure> {
        let of = match self.kind.as_str() {
            "network" => "network",
            "bridge" => "bridge",
            "direct" => "dev",
            other => return Err(invalid(format!("No support for {other} in command 'attach-interface'"))),
        };
        let mut text = Markup::new();
        text.start("interface", &[("type", &self.kind)]);
        text.empty("source", &[(of, &self.source)]);
        if let Some(target) = &self.target {
            text.empty("target", &[("dev", target)]);
        }
        if let Some(mac) = &self.mac {
            text.empty("mac", &[("address", mac)]);
        }
        if let Some(script) = &self.script {
            text.empty("script", &[("path", script)]);
        }
        if let Some(model) = &self.model {
            text.empty("model", &[("type", model)]);
        }
        if let Some(alias) = &self.alias {
            text.empty("alias", &[("name", alias)]);
        }
        if self.inbound.is_some() || self.outbound.is_some() {
            text.start("bandwidth", &[]);
            for (way, rate) in [("inbound", &self.inbound), ("outbound", &self.outbound)] {
                let Some(rate) = rate else { continue };
                let rate = parts(rate, way)?;
                let shown: Vec<(&str, &dyn std::fmt::Display)> =
                    rate.iter().map(|(name, value)| (*name, value as _)).collect();
                text.empty(way, &shown);
            }
            text.end();
        }
        Ok(text.finish())
    }
}

/// `average,peak,burst,floor`, of which some may be empty.
fn parts(rate: &str, way: &str) -> Result<Vec<(&'static str, u64)>, Failure> {
    let names = ["average", "peak", "burst", "floor"];
    let bad = || invalid(format!("{way} format is incorrect"));
    let words: Vec<&str> = rate.split(',').collect();
    if words.len() > names.len() {
        return Err(bad());
    }
    let mut parts = Vec::new();
    for (name, word) in names.into_iter().zip(words).filter(|(_, word)| !word.is_empty()) {
        parts.push((name, word.parse().map_err(|_| bad())?));
    }
    if !parts.iter().any(|(name, value)| matches!(*name, "average" | "floor") && *value > 0) {
        return Err(invalid(format!("{way} average is mandatory")));
    }
    Ok(parts)
}

#[derive(Debug, Args)]
pub struct DetachInterface {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// network interface type
    #[arg(value_name = "type")]
    kind: String,
    /// MAC address
    #[arg(long, value_name = "string")]
    mac: Option<String>,
    /// print XML document rather than detach the interface
    #[arg(long)]
    print_xml: bool,
    #[command(flatten)]
    lasting: Lasting,
}

impl DetachInterface {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let scope = self.lasting.asked(&self.domain, &client).await?;
        let document = document(&client, &self.domain, scope).await?;
        let card = self.find(&document.devices.interfaces)?;
        let xml = card.to_xml(&WriteOptions { security_info: true, ..WriteOptions::default() });
        if self.print_xml {
            output::print(&xml);
            return Ok(());
        }
        let to = DomainChange::DetachDevice { xml };
        let view = change(&client, &self.domain, scope, &to, "Failed to detach interface").await?;
        session.done(&view, |_| "Interface detached successfully\n".to_owned());
        Ok(())
    }

    fn find<'a>(&self, cards: &'a [Interface]) -> Result<&'a Interface, Failure> {
        let none = |text: String| Failure::new(ErrorKind::NotFound, text);
        let of_kind: Vec<&Interface> = cards.iter().filter(|card| card.kind.as_str() == self.kind).collect();
        match (&self.mac, of_kind.as_slice()) {
            (_, []) => Err(none(format!("No interface found whose type is {}", self.kind))),
            (None, [card]) => Ok(card),
            (None, many) => Err(invalid(format!(
                "Domain has {} interfaces. Please specify which one to detach using --mac",
                many.len()
            ))),
            (Some(mac), cards) => {
                let is_it = |card: &&&Interface| {
                    let own = card.mac.as_ref().map(|own| own.address.to_string());
                    own.is_some_and(|own| own.eq_ignore_ascii_case(mac))
                };
                let found = cards.iter().find(is_it).copied();
                found.ok_or_else(|| none(format!("No interface with MAC address {mac} was found")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_virshs() {
        assert_eq!(parts("100,,300", "inbound").unwrap(), [("average", 100), ("burst", 300)]);
        assert!(
            parts("x", "inbound").is_err()
                && parts(",5", "inbound").is_err()
                && parts("1,2,3,4,5", "inbound").is_err()
        );
    }
}
