//! Network filters with the text that libvirtd 11.3 has of them after `virsh nwfilter-define`.
//!
//! `NAME.in.xml` is what was defined, `NAME.out.xml` what `virsh nwfilter-dumpxml` printed. What libvirtd refuses is
//! `NAME.refused.xml`, its words `NAME.refused.txt`.

use std::fs;

use lodge_model::nwfilter::{BadFilter, NwFilter};

use crate::corpus::{difference, documents, documents_ending};

const DIRECTORY: &str = "nwfilters";

/// Where the text here is another than libvirtd's, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("comments", "the end of a line in a comment stays one; libvirt writes it so that it is read as a blank"),
    ("ipset", "libvirt drops a set of addresses whose flags are said, so that the rule fits every packet"),
];

/// What is refused in other words, and why.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("chain-rootx", "libvirt does not say why"),
    ("loop-self", "other filters are the store's to know"),
    ("slash", "the name of a file is the store's to judge"),
    ("root-element", "the front's words"),
];

#[test]
fn a_defined_filter_reads_as_libvirts() {
    let mut wrong = Vec::new();
    for (name, path) in documents(DIRECTORY, 50) {
        let text = fs::read_to_string(&path).expect("the document can be read");
        let expected = fs::read_to_string(path.with_file_name(format!("{name}.out.xml"))).unwrap();
        let found = match NwFilter::parse(&text) {
            Ok(filter) => {
                let uuid = NwFilter::parse(&expected).unwrap().uuid;
                let filter = NwFilter { uuid: filter.uuid.or(uuid), ..filter };
                let again = NwFilter::parse(&filter.to_xml()).unwrap();
                // libvirt does not write the priority 0, and reads its absence as the chain's usual one.
                if name != "priority-zero" {
                    assert_eq!(again.to_xml(), filter.to_xml(), "{name} changes when it is read again");
                }
                difference(&filter.to_xml(), &expected)
            }
            Err(error) => Some(error.to_string()),
        };
        match (found, DIFFERENCES.iter().any(|(known, _)| *known == name)) {
            (Some(_), true) | (None, false) => {}
            (Some(difference), false) => wrong.push(format!("{name}, {difference}")),
            (None, true) => wrong.push(format!("{name}: no difference any more; take it off the list")),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_filter_that_libvirtd_refuses_is_refused_in_its_words() {
    let mut wrong = Vec::new();
    for (name, path) in documents_ending(DIRECTORY, ".refused.xml", 50) {
        let text = fs::read_to_string(&path).expect("the document can be read");
        let words = fs::read_to_string(path.with_file_name(format!("{name}.refused.txt"))).unwrap();
        let found = match NwFilter::parse(&text) {
            Ok(_) => "accepted".to_owned(),
            Err(BadFilter::Xml(faults)) => faults.to_string(),
            Err(BadFilter::Markup(text)) => format!("XML error: {text}"),
            Err(BadFilter::Argument(text)) => format!("invalid argument: {text}"),
            Err(BadFilter::Value(text)) => format!("internal error: {text}"),
        };
        let is_same = found.trim() == words.trim();
        if is_same == OTHER_WORDS.iter().any(|(known, _)| *known == name) {
            wrong.push(format!("{name}:\n    lodge   {found}\n    libvirt {words}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
