//! `placement='auto'`: numad is asked, at each start, which of the host's cells are best for the guest. Its processors and
//! its memory are theirs for the run; the documents go on saying that they are chosen.
//!
//! Deliberately absent: advice of our own where numad is not installed. libvirt refuses such a start, and so does Lodge.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use lodge_model::Kind;
use lodge_model::domain::Domain;
use lodge_model::domain::processors::Processors;
use lodge_store::saga::Failure;
use lodge_sys::tool::{Tool, ToolError};

/// It looks at the host for some seconds if its daemon does not run.
const PATIENCE: Duration = Duration::from_mins(1);

/// What was advised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advice {
    cells: Processors,
    processors: Processors,
}

impl Advice {
    /// Asks for it, if the document wants any.
    pub async fn of(document: &Domain) -> Result<Option<Self>, Failure> {
        if !document.wants_advice() {
            return Ok(None);
        }
        let vcpus = document.vcpu.as_ref().map_or(1, |vcpu| vcpu.current.unwrap_or(vcpu.count));
        let words = format!("{vcpus}:{}", document.memory.size.kib().div_ceil(1024));
        let said = Tool::new("numad", PATIENCE).args(["-w", words.as_str()]).run().await;
        let said =
            said.map_err(|error| refused(&error.to_string(), matches!(error, ToolError::Missing { .. })))?;
        let said = String::from_utf8_lossy(&said);
        let cells = Processors::parse(said.trim()).filter(|cells| !cells.numbers().is_empty());
        let cells = cells.ok_or_else(|| refused(&format!("`{}` is no list of cells", said.trim()), false))?;
        let processors = processors_of(&cells, Path::new("/sys/devices/system/node"));
        Ok(Some(Self { cells, processors }))
    }
}

/// The document as if it said what was advised.
pub(super) fn taken<'a>(document: &'a Domain, advice: Option<&Advice>) -> Cow<'a, Domain> {
    let Some(advice) = advice else { return Cow::Borrowed(document) };
    let mut document = document.clone();
    document.take_advice(&advice.cells.to_string(), &advice.processors.to_string());
    Cow::Owned(document)
}

fn refused(why: &str, is_missing: bool) -> Failure {
    let text = format!("/domain/vcpu/@placement: Failed to query numad for the advisory nodeset: {why}");
    let failure = Failure::new(Kind::Internal, text);
    if is_missing {
        return failure.with_hint("install the package numad, or use placement='static'".to_owned());
    }
    failure
}

/// The host's processors that are of these cells.
fn processors_of(cells: &Processors, directory: &Path) -> Processors {
    let lists = cells.numbers().iter().map(|cell| {
        let list = std::fs::read_to_string(directory.join(format!("node{cell}/cpulist"))).unwrap_or_default();
        list.trim().to_owned()
    });
    let lists: Vec<String> = lists.filter(|list| !list.is_empty()).collect();
    Processors::parse(&lists.join(",")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processors_are_those_of_the_cells() {
        let host = tempfile::tempdir().unwrap();
        for (cell, list) in [(0, "0-1\n"), (1, "2-3,6\n"), (2, "\n")] {
            let directory = host.path().join(format!("node{cell}"));
            std::fs::create_dir(&directory).unwrap();
            std::fs::write(directory.join("cpulist"), list).unwrap();
        }
        let of = |cells: &str| processors_of(&Processors::parse(cells).unwrap(), host.path()).to_string();
        assert_eq!(of("0"), "0-1");
        assert_eq!(of("0-2"), "0-3,6");
    }

    #[test]
    fn what_is_advised_is_taken_where_it_was_asked_for() {
        let text = "<domain type='qemu'><name>n</name><memory>1</memory><vcpu placement='auto'>2</vcpu>\
                    <numatune><memory mode='interleave' placement='auto'/></numatune></domain>";
        let document = Domain::parse(text).unwrap();
        let parse = |list| Processors::parse(list).unwrap();
        let advice = Advice { cells: parse("1"), processors: parse("2-3") };
        let taken = taken(&document, Some(&advice));
        assert_eq!(taken.vcpu.as_ref().unwrap().cpuset.as_deref(), Some("2-3"));
        let tree = taken.numatune.tree("numatune").unwrap();
        let memory = tree.child("memory").unwrap();
        assert_eq!((memory.attribute("mode"), memory.attribute("nodeset")), (Some("interleave"), Some("1")));
        assert!(document.wants_advice() && !taken.wants_advice());
    }
}
