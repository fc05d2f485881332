//! The kernel's table of all cards' rules: of the bridge family, one per root.
//!
//! ```text
//!  prerouting  ─▶ map frames-out:  card ─▶ its chain       postrouting ─▶ map frames-in   (-200: frames)
//!              ─▶ map packets-out: card ─▶ its chain                   ─▶ map packets-in  (-150: behind connections)
//! ```
//!
//! A map leads from a card's name to its chain, so that a card costs the same beside ten others or ten thousand, and one
//! without a filter costs a look into the map. Every change is one transaction. What the kernel named the rules is kept,
//! so that a rule that others put in, took away or replaced is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use lodge_sys::tool::Tool;
use serde_json::Value;

use super::rules::{Card, MAPS};
use super::{FilterError, Result, expression};
use crate::firewall::nft;

/// Base chains: name, hook, priority, what it looks up, in which map. Connections are known behind -200.
const BASES: [(&str, &str, i32, &str, &str); 4] = [
    ("prerouting", "prerouting", -200, "iifname", MAPS[0]),
    ("postrouting", "postrouting", -200, "oifname", MAPS[1]),
    ("prerouting-packets", "prerouting", -150, "iifname", MAPS[2]),
    ("postrouting-packets", "postrouting", -150, "oifname", MAPS[3]),
];
/// How long loading a module may take.
const MODULE: Duration = Duration::from_secs(10);

/// The kernel's names of rules, by chain.
type Handles = BTreeMap<String, Vec<u64>>;

/// What is in the kernel, as far as it is known.
#[derive(Debug)]
pub(super) struct Kernel {
    table: String,
    cards: BTreeMap<String, Card>,
    state: State,
    /// The kernel knows connections on bridges.
    has_connections: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Nobody has looked yet, or others had their hands in it.
    Unknown,
    /// There is no table.
    None,
    /// It holds the cards, by these names.
    Made(Handles),
}

impl Kernel {
    /// `cards`: those that are to have rules. What the kernel has is not known until they are loaded.
    pub fn new(tag: &str, is_system: bool, cards: BTreeMap<String, Card>) -> Self {
        let table = if is_system { "lodge_filter".to_owned() } else { format!("lodge_filter_{tag}") };
        Self { table, cards, state: State::Unknown, has_connections: false }
    }

    /// Makes the rules those of these cards, whatever they were.
    pub async fn load<'a>(&mut self, cards: impl Iterator<Item = (&'a str, &'a Card)>) -> Result<()> {
        self.cards = cards.map(|(port, card)| (port.to_owned(), card.clone())).collect();
        let cards = self.cards.clone();
        self.load_all(&cards).await
    }

    async fn load_all(&mut self, cards: &BTreeMap<String, Card>) -> Result<()> {
        self.state = State::Unknown;
        for card in cards.values() {
            self.refuse_connections(card).await?;
        }
        let script = whole(&self.table, cards);
        let said = self.run(&script).await?;
        self.state = if cards.is_empty() {
            State::None
        } else {
            State::Made(self.proven(&said, cards.values()).await?)
        };
        Ok(())
    }

    /// The names of the rules that these cards were given: as nft said, or as the kernel lists them. Rules that are not
    /// there let everything through, so nobody takes nft's word that all went well.
    async fn proven<'a>(&self, said: &str, cards: impl Iterator<Item = &'a Card>) -> Result<Handles> {
        let wanted: Vec<(&str, usize)> = cards
            .flat_map(|card| card.chains.iter().map(|(chain, rules)| (chain.as_str(), rules.len())))
            .collect();
        let has_all = |handles: &Handles| {
            wanted.iter().all(|(chain, count)| handles.get(*chain).map_or(0, Vec::len) == *count)
        };
        let echoed = handles_in(said);
        if has_all(&echoed) {
            return Ok(echoed);
        }
        let listed = self.listing().await?.and_then(|listing| found(&listing)).map(|found| found.rules);
        listed.filter(has_all).ok_or_else(|| FilterError::Kernel {
            detail: "nft ended well, and the rules are not there".to_owned(),
        })
    }

    /// Takes away what an earlier daemon left. A host without nft, or a user without rights, has nothing.
    pub async fn clear(&mut self) {
        match self.listing().await {
            Ok(None) => {}
            Ok(Some(_)) => {
                if let Err(error) = self.load_all(&BTreeMap::new()).await {
                    tracing::warn!(error = %crate::error::chain(&error), "rules of an earlier daemon were not taken away");
                }
            }
            Err(error) => {
                tracing::debug!(error = %crate::error::chain(&error), "no look at the rules of cards");
            }
        }
        self.state = State::None;
    }

    /// Gives cards these rules, or none; all of it or nothing.
    pub async fn change(&mut self, changes: &[(&str, Option<&Card>)]) -> Result<()> {
        let mut wanted: Option<BTreeMap<String, Card>> = None;
        for (port, card) in changes {
            check_name(port)?;
            if let Some(card) = card {
                self.refuse_connections(card).await?;
            }
        }
        let is_news = |(port, card): &&(&str, Option<&Card>)| self.cards.get(*port) != *card;
        if matches!(self.state, State::Made(_) | State::None)
            && !changes.iter().any(|change| is_news(&change))
        {
            return Ok(());
        }
        if let State::Made(handles) = &self.state {
            let goes = changes.iter().filter(|(port, card)| card.is_none() && self.cards.contains_key(*port));
            let comes = changes.iter().any(|(_, card)| card.is_some());
            if comes || goes.count() < self.cards.len() {
                let script = difference(&self.table, &self.cards, changes);
                match self.run(&script).await {
                    Ok(said) => {
                        let proven = self.proven(&said, changes.iter().filter_map(|(_, card)| *card)).await?;
                        let mut handles = handles.clone();
                        for (port, card) in changes {
                            for (chain, _) in self.cards.get(*port).iter().flat_map(|card| &card.chains) {
                                handles.remove(chain);
                            }
                            match card {
                                Some(card) => drop(self.cards.insert((*port).to_owned(), (*card).clone())),
                                None => drop(self.cards.remove(*port)),
                            }
                        }
                        handles.extend(proven);
                        self.state = State::Made(handles);
                        return Ok(());
                    }
                    // The transaction was not done; if all is as it was, it is the change that is no good.
                    Err(error) if self.is_as_made().await? => return Err(error),
                    Err(error) => {
                        tracing::debug!(error = %crate::error::chain(&error), "the rules of cards are made anew");
                    }
                }
            } else {
                wanted = Some(BTreeMap::new());
            }
        }
        let wanted = wanted.unwrap_or_else(|| {
            let mut all = self.cards.clone();
            for (port, card) in changes {
                match card {
                    Some(card) => drop(all.insert((*port).to_owned(), (*card).clone())),
                    None => drop(all.remove(*port)),
                }
            }
            all
        });
        self.load_all(&wanted).await?;
        self.cards = wanted;
        Ok(())
    }

    /// Are the rules those of these many cards, as they were made?
    pub async fn is_intact(&mut self, cards: usize) -> Result<bool> {
        match &self.state {
            State::None => Ok(cards == 0),
            State::Unknown if cards == 0 => {
                let is_gone = self.listing().await?.is_none();
                if is_gone {
                    self.state = State::None;
                }
                Ok(is_gone)
            }
            State::Unknown => Ok(false),
            State::Made(_) => {
                let intact = cards == self.cards.len() && self.is_as_made().await?;
                if !intact {
                    self.state = State::Unknown;
                }
                Ok(intact)
            }
        }
    }

    async fn is_as_made(&self) -> Result<bool> {
        let State::Made(handles) = &self.state else { return Ok(false) };
        let Some(listing) = self.listing().await? else { return Ok(false) };
        Ok(found(&listing).is_some_and(|found| found == self.expected(handles)))
    }

    /// What a listing is to have.
    fn expected(&self, handles: &Handles) -> Found {
        let mut expected = Found::default();
        for (name, ..) in BASES {
            expected.chains.insert(name.to_owned());
        }
        for (port, card) in &self.cards {
            expected.chains.extend(card.chains.iter().map(|(name, _)| name.clone()));
            let ways = card.ways.iter();
            expected.ways.extend(ways.map(|(map, chain)| ((*map).to_owned(), port.clone(), chain.clone())));
        }
        expected.rules.clone_from(handles);
        expected
    }

    async fn listing(&self) -> Result<Option<String>> {
        match nft(&["-j", "list", "table", "bridge", &self.table], "").await {
            Ok(text) => Ok(Some(text)),
            Err(crate::NetworkError::Firewall { detail }) if detail.contains("No such file or directory") => {
                Ok(None)
            }
            Err(error) => Err(kernel(&error)),
        }
    }

    async fn run(&self, script: &str) -> Result<String> {
        // Not in JSON: nft would read its input as such first, and a pipe is read once.
        nft(&["-e", "-a", "-f", "-"], script).await.map_err(|error| kernel(&error))
    }

    /// States of connections are known on bridges only with nf_conntrack_bridge.
    async fn refuse_connections(&mut self, card: &Card) -> Result<()> {
        let Some(rule) = &card.needs_connections else { return Ok(()) };
        if self.has_connections {
            return Ok(());
        }
        // A kernel that has it built in, or lacks it, has no such module.
        drop(Tool::new("modprobe", MODULE).args(["-q", "nf_conntrack_bridge"]).run().await);
        let probe =
            format!("table bridge {} {{\n\tchain probe {{\n\t\tct state established\n\t}}\n}}\n", self.table);
        match nft(&["-c", "-f", "-"], &probe).await {
            Ok(_) => {
                self.has_connections = true;
                Ok(())
            }
            Err(_) => Err(FilterError::Unsupported {
                filter: rule.rsplit('\'').nth(1).unwrap_or_default().to_owned(),
                what: format!(
                    "{rule} counts connections, which this kernel does not on bridges (nf_conntrack_bridge): it"
                ),
                hint: "statematch='false' lets the rule look at packets alone; what answers them then needs a rule of its own",
            }),
        }
    }
}

fn kernel(error: &crate::NetworkError) -> FilterError {
    let detail = match error {
        crate::NetworkError::Firewall { detail } => detail.clone(),
        other => crate::error::chain(other),
    };
    FilterError::Kernel { detail }
}

/// A name that nft's text can hold, and that is one interface's.
fn check_name(port: &str) -> Result<()> {
    let is_plain = !port.is_empty()
        && port.len() <= 15
        && port.chars().all(|letter| letter.is_ascii_graphic() && !"\"\\*/".contains(letter));
    if is_plain { Ok(()) } else { Err(FilterError::NoPort { port: port.to_owned() }) }
}

/// A script that puts the rules of these cards in the place of whatever the table holds; without any the table goes.
fn whole(table: &str, cards: &BTreeMap<String, Card>) -> String {
    let mut text = format!("table bridge {table}\ndelete table bridge {table}\n");
    if cards.is_empty() {
        return text;
    }
    writeln!(text, "table bridge {table} {{").expect("a String takes all");
    for map in MAPS {
        write!(text, "\tmap {map} {{\n\t\ttype ifname : verdict\n\t}}\n").expect("a String takes all");
    }
    for (name, hook, priority, key, map) in BASES {
        write!(
            text,
            "\tchain {name} {{\n\t\ttype filter hook {hook} priority {priority}; policy accept;\n\
             \t\t{key} vmap @{map}\n\t}}\n"
        )
        .expect("a String takes all");
    }
    text.push_str("}\n");
    for (port, card) in cards {
        add(&mut text, table, port, card);
    }
    text
}

/// A script that makes these changes.
fn difference(table: &str, cards: &BTreeMap<String, Card>, changes: &[(&str, Option<&Card>)]) -> String {
    let mut text = String::new();
    for (port, _) in changes {
        let Some(old) = cards.get(*port) else { continue };
        for (map, _) in &old.ways {
            writeln!(text, "delete element bridge {table} {map} {{ \"{port}\" }}")
                .expect("a String takes all");
        }
        for act in ["flush", "delete"] {
            for (chain, _) in &old.chains {
                writeln!(text, "{act} chain bridge {table} {chain}").expect("a String takes all");
            }
        }
    }
    for (port, card) in changes {
        if let Some(card) = card {
            add(&mut text, table, port, card);
        }
    }
    text
}

fn add(text: &mut String, table: &str, port: &str, card: &Card) {
    let same = format!("@{}", expression::SAME);
    if card.chains.iter().flat_map(|(_, rules)| rules).any(|rule| rule.contains(&same)) {
        let pairs: BTreeSet<String> = (0..4u32)
            .flat_map(|byte| (0..256u32).map(move |value| std::net::Ipv4Addr::from(value << (8 * byte))))
            .map(|address| format!("{address} . {address}"))
            .collect();
        let pairs = Vec::from_iter(pairs).join(", ");
        writeln!(
            text,
            "add set bridge {table} {name} {{ type ipv4_addr . ipv4_addr; }}\n\
             add element bridge {table} {name} {{ {pairs} }}",
            name = expression::SAME
        )
        .expect("a String takes all");
    }
    for (chain, _) in &card.chains {
        writeln!(text, "add chain bridge {table} {chain}").expect("a String takes all");
    }
    for (chain, rules) in &card.chains {
        for rule in rules {
            writeln!(text, "add rule bridge {table} {chain} {rule}").expect("a String takes all");
        }
    }
    for (map, chain) in &card.ways {
        writeln!(text, "add element bridge {table} {map} {{ \"{port}\" : goto {chain} }}")
            .expect("a String takes all");
    }
}

/// What of a listing matters.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    chains: BTreeSet<String>,
    ways: BTreeSet<(String, String, String)>,
    rules: Handles,
}

/// How the kernel named the rules that it was given, as nft echoes them: `add rule bridge TABLE CHAIN … # handle 7`.
fn handles_in(said: &str) -> Handles {
    let mut handles = Handles::new();
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().take(5).collect();
        let handle = line.rsplit_once("# handle ").and_then(|(_, handle)| handle.trim().parse().ok());
        if let (["add", "rule", "bridge", _, chain], Some(handle)) = (words.as_slice(), handle) {
            handles.entry((*chain).to_owned()).or_default().push(handle);
        }
    }
    handles
}

fn found(listing: &str) -> Option<Found> {
    let listing: Value = serde_json::from_str(listing).ok()?;
    let mut found = Found::default();
    for object in listing.get("nftables")?.as_array()? {
        if let Some(chain) = object.get("chain") {
            found.chains.insert(chain["name"].as_str()?.to_owned());
        } else if let Some(rule) = object.get("rule") {
            let rules = found.rules.entry(rule["chain"].as_str()?.to_owned()).or_default();
            rules.push(rule["handle"].as_u64()?);
        } else if let Some(map) = object.get("map") {
            let name = map["name"].as_str()?;
            for element in map.get("elem").and_then(Value::as_array).into_iter().flatten() {
                let [port, verdict] = element.as_array()?.as_slice() else { return None };
                let chain = verdict.pointer("/goto/target")?.as_str()?;
                found.ways.insert((name.to_owned(), port.as_str()?.to_owned(), chain.to_owned()));
            }
        }
    }
    Some(found)
}
