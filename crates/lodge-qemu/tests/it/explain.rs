//! `lodge explain` over the documents of lodge-model's corpus, as libvirt has them after a definition.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use expect_test::expect_file;
use lodge_model::domain::Domain;
use lodge_model::xml::{WriteOptions, element_paths};
use lodge_qemu::{Accelerator, Capabilities, Claims, Explanation, Rehearsal, command_line, explain};

use crate::cases::{Fixed, cases, claims, parse};
use crate::documents::RHEL8;

/// QEMU 10.0.2 of Debian, with a machine of every name the corpus has.
fn capabilities(document: &Domain) -> Capabilities {
    let mut all: Capabilities = serde_json::from_str(include_str!("capabilities.json")).unwrap();
    let name = document.os.kind.machine.clone().unwrap_or_default();
    if all.machine(&name).is_none() {
        let mut machine = all.newest("q35").unwrap().clone();
        machine.name = name;
        all.machines.push(machine);
    }
    all
}

fn explained(document: &Domain) -> Option<Explanation> {
    explain(document, &capabilities(document), Accelerator::Tcg, None, &BTreeSet::new()).ok()
}

/// The corpus, all of it under TCG.
fn corpus() -> impl Iterator<Item = (String, Domain)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lodge-model/tests/corpus");
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".out.xml")?.to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let mut document = Domain::parse(&text).unwrap();
        document.kind = lodge_model::domain::DomainKind::Qemu;
        Some((name, document))
    })
}

/// Whether the element an argument names is in the document.
fn is_there(paths: &BTreeSet<String>, element: &str) -> bool {
    let steps = element.split('/').skip(1).filter(|step| !step.starts_with('@'));
    let plain = steps.fold(String::new(), |path, step| {
        let step = step.strip_prefix("qemu:").or(step.strip_prefix("lodge:")).unwrap_or(step);
        path + "/" + step.split("[@").next().unwrap_or(step)
    });
    // A number is left out where an element has no twin, a condition stands for one of several.
    paths.contains(&plain)
        || paths.contains(&plain.replace("[1]", ""))
        || paths.iter().any(|path| path.starts_with(&format!("{plain}[")))
}

#[test]
fn every_argument_has_a_place_in_its_document() {
    let (mut documents, mut wrong) = (0, Vec::new());
    for (name, document) in corpus() {
        let Some(explanation) = explained(&document) else { continue };
        documents += 1;
        let paths = element_paths(&document.to_xml(&WriteOptions::default())).into_iter().collect();
        for explained in &explanation.arguments {
            let element = &explained.argument.element;
            if element != "lodge" && !is_there(&paths, element) {
                wrong.push(format!("{name}: {element} of {}", explained.argument.option));
            }
        }
    }
    assert!(documents >= 200, "of {documents} documents only");
    assert!(wrong.is_empty(), "{} arguments come from nowhere:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_element_without_an_argument_has_a_reason() {
    let mut wrong = BTreeSet::new();
    for (name, document) in corpus() {
        let Some(explanation) = explained(&document) else { continue };
        let untold = explanation.without.iter().filter(|without| without.reason.starts_with("nothing of"));
        wrong.extend(untold.map(|without| format!("{}, as in {name}", without.element)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is explained is what a start says, for the same claims: nothing is added, left out or put elsewhere.
#[test]
fn the_arguments_are_those_of_a_start() {
    let of = |document: &Domain, claims: &Claims| {
        let line = command_line(document, &capabilities(document), claims).unwrap();
        line.words().map(str::to_owned).collect::<Vec<_>>()
    };
    for case in cases() {
        let document = parse(&case.xml);
        let explanation = explained(&document).unwrap_or_else(|| panic!("{} is refused", case.name));
        let words: Vec<_> = explanation
            .arguments
            .iter()
            .flat_map(|explained| [Some(explained.argument.option.clone()), explained.argument.value.clone()])
            .flatten()
            .collect();
        assert_eq!(words, of(&document, &Rehearsal::of(&document, Accelerator::Tcg).claims), "{}", case.name);
        // A start with real descriptors: known again word by word, whatever their numbers are.
        let started = of(&document, &claims(&document, Accelerator::Tcg, &mut Fixed(30)));
        for explained in explanation.as_run(&started).arguments {
            // The chain of backing files and a seed are found at a start, and not in these documents.
            let argument = explained.argument;
            let found_late = ["-add-fd", "-blockdev", "-device"].contains(&argument.option.as_str());
            assert!(argument.element != "unknown" || found_late, "{}: {argument:?}", case.name);
        }
    }
}

#[test]
fn the_seeds_own_document_explained() {
    let mut explanation = explained(&parse(RHEL8)).unwrap();
    let mut text = String::new();
    for explained in explanation.arguments.drain(..) {
        let alias = explained.alias.as_deref().unwrap_or("-");
        let value = explained.argument.value.unwrap_or_default();
        text += &format!("{} {alias}: {} {value}\n", explained.argument.element, explained.argument.option);
    }
    for without in &explanation.without {
        text +=
            &format!("{} {}: {}\n", without.element, without.alias.as_deref().unwrap_or("-"), without.reason);
    }
    expect_file!["snapshots/explained-rhel8.txt"].assert_eq(&text);
}
