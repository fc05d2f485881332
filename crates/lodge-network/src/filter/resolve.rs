//! From a filter and its parameters to a plain list of rules: filters that it takes in are gone through, variables have
//! their values. Pure.
//!
//! As libvirt does it (virNWFilterIncludeDefToRuleInst, virNWFilterVarCombIter): what is said outside counts before what
//! a filter says inside; the lists of one iterator go together, those of different ones in all combinations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lodge_model::nwfilter::{Access, Entry, NwFilter, Parameters, Place, Rule, Value};

use super::{Filter, FilterError, Result};

/// All filters, by name.
pub(super) type Set = BTreeMap<String, Arc<Filter>>;

/// Most rules of one card: more are a mistake, or somebody's malice.
const RULES_MAX: usize = 10_000;
/// Deepest nesting of filters.
const DEPTH_MAX: usize = 64;

/// A rule without variables, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Flat {
    pub filter: String,
    pub chain: String,
    /// What sort of frames the chain sees.
    pub sort: &'static str,
    pub chain_priority: i32,
    pub rule: Rule,
}

/// What a filter still needs.
#[derive(Debug)]
pub(super) enum Needs {
    /// It is all there.
    Nothing(Vec<Flat>),
    /// The guest's address, which may be learned.
    Address,
}

/// The rules of a filter with these variables.
pub(super) fn flatten(filters: &Set, name: &str, variables: &Parameters) -> Result<Needs> {
    let top = filters.get(name).ok_or_else(|| FilterError::Missing(name.to_owned()))?;
    let mut walk = Walk { filters, rules: Vec::new(), missing: BTreeSet::new(), steps: 0 };
    walk.filter(&top.document, variables, 0)?;
    if walk.missing.is_empty() {
        return Ok(Needs::Nothing(walk.rules));
    }
    let learning = variables.first("CTRL_IP_LEARNING").unwrap_or("any");
    if !["any", "dhcp", "none"].contains(&learning) {
        return Err(FilterError::Learning { filter: name.to_owned(), value: learning.to_owned() });
    }
    if learning != "none" && walk.missing.iter().eq(["IP"]) {
        return Ok(Needs::Address);
    }
    Err(unresolved(walk.missing.iter().map(String::as_str)))
}

/// Nobody says what these variables are.
pub(super) fn unresolved<'a>(names: impl IntoIterator<Item = &'a str>) -> FilterError {
    let names: Vec<&str> = names.into_iter().collect();
    FilterError::Variables(format!(
        "Cannot instantiate filter due to unresolvable variables or unavailable list elements: {}",
        names.join(", ")
    ))
}

struct Walk<'a> {
    filters: &'a Set,
    rules: Vec<Flat>,
    missing: BTreeSet<String>,
    steps: usize,
}

impl Walk<'_> {
    fn filter(&mut self, filter: &NwFilter, variables: &Parameters, depth: usize) -> Result<()> {
        let too = |what: &str| FilterError::Unsupported {
            filter: filter.name.clone(),
            what: what.to_owned(),
            hint: "split it: a card can have a filter with fewer rules",
        };
        if depth > DEPTH_MAX {
            return Err(too("such a depth of filters"));
        }
        for entry in &filter.entries {
            self.steps += 1;
            if self.steps > RULES_MAX || self.rules.len() > RULES_MAX {
                return Err(too("such a number of rules"));
            }
            match entry {
                Entry::Rule(rule) => self.rule(filter, rule, variables)?,
                Entry::Reference(reference) => {
                    let next = self.filters.get(&reference.filter);
                    let next = next.ok_or_else(|| FilterError::Missing(reference.filter.clone()))?;
                    let inner = variables.over(&reference.parameters);
                    self.filter(&Arc::clone(next).document, &inner, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn rule(&mut self, filter: &NwFilter, rule: &Rule, variables: &Parameters) -> Result<()> {
        let Some(combinations) = self.combinations(rule, variables)? else { return Ok(()) };
        for combination in combinations {
            let mut rule = rule.clone();
            for item in &mut rule.items {
                let Value::Variable(access) = &item.value else { continue };
                let text = combination.get(access).copied().unwrap_or_default();
                let name = item.field.name;
                let value = Value::parse(text, &item.field.form);
                item.value = value.ok_or_else(|| {
                    FilterError::Variables(format!(
                        "filter '{}': '{text}', the value of {access}, cannot be that of {name}",
                        filter.name
                    ))
                })?;
            }
            self.rules.push(Flat {
                filter: filter.name.clone(),
                chain: filter.chain.clone(),
                sort: filter.chain_sort(),
                chain_priority: filter.priority,
                rule,
            });
            if self.rules.len() > RULES_MAX {
                break;
            }
        }
        Ok(())
    }

    /// Each set of values that the variables of a rule have together; `None`: one of them is missing.
    fn combinations<'p>(
        &mut self,
        rule: &Rule,
        variables: &'p Parameters,
    ) -> Result<Option<Vec<BTreeMap<Access, &'p str>>>> {
        let accesses: BTreeSet<&Access> = rule
            .items
            .iter()
            .filter_map(|item| match &item.value {
                Value::Variable(access) => Some(access),
                _ => None,
            })
            .collect();
        let mut fixed: BTreeMap<Access, &'p str> = BTreeMap::new();
        let mut iterators: BTreeMap<u32, Vec<(&Access, &'p [String])>> = BTreeMap::new();
        let mut is_missing = false;
        for access in accesses {
            let values = variables.0.get(&access.name).map_or(&[][..], Vec::as_slice);
            match access.place {
                Place::Iterator(number) if !values.is_empty() => {
                    iterators.entry(number).or_default().push((access, values));
                }
                Place::Element(number) if (number as usize) < values.len() => {
                    fixed.insert(access.clone(), &values[number as usize]);
                }
                Place::Iterator(_) => {
                    is_missing = true;
                    self.missing.insert(access.name.clone());
                }
                Place::Element(_) => {
                    is_missing = true;
                    self.missing.insert(access.to_string().trim_start_matches('$').to_owned());
                }
            }
        }
        if is_missing {
            return Ok(None);
        }
        let mut all = vec![fixed];
        for lists in iterators.values() {
            let (_, first) = lists[0];
            if lists.iter().any(|(_, values)| values.len() != first.len()) {
                return Err(FilterError::Variables(
                    "Cardinality of list items must be the same for processing them in parallel".to_owned(),
                ));
            }
            let rows: BTreeSet<Vec<&str>> = (0..first.len())
                .map(|at| lists.iter().map(|(_, values)| values[at].as_str()).collect())
                .collect();
            if all.len().saturating_mul(rows.len()) > RULES_MAX {
                return Err(FilterError::Variables(
                    "the lists of a rule have too many combinations".to_owned(),
                ));
            }
            all = all
                .iter()
                .flat_map(|known| {
                    rows.iter().map(|row| {
                        let mut known = known.clone();
                        known.extend(
                            lists.iter().map(|(access, _)| (*access).clone()).zip(row.iter().copied()),
                        );
                        known
                    })
                })
                .collect();
        }
        Ok(Some(all))
    }
}

/// Whether `of` is `name` or takes it in, at whatever depth.
pub(super) fn uses(filters: &Set, of: &str, name: &str) -> bool {
    reached(filters, [of]).contains(name)
}

/// Whether a filter takes itself in.
pub(super) fn loops(filters: &Set, name: &str) -> bool {
    let Some(filter) = filters.get(name) else { return false };
    let within = filter.document.references().map(|reference| reference.filter.as_str());
    reached(filters, within).contains(name)
}

fn reached<'a>(filters: &'a Set, from: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&str> = from.into_iter().collect();
    while let Some(name) = next.pop() {
        if found.insert(name)
            && let Some(filter) = filters.get(name)
        {
            next.extend(filter.document.references().map(|reference| reference.filter.as_str()));
        }
    }
    found
}
