//! Network filters with the text that libvirtd 11.3 has of them after `virsh nwfilter-define`.
//!
//! `NAME.in.xml` is what was defined, `NAME.out.xml` what `virsh nwfilter-dumpxml` printed. What libvirtd refuses is
//! `NAME.refused.xml`, its words `NAME.refused.txt`. `cargo xtask corpus` asks libvirtd for the answers.

use lodge_model::nwfilter::{BadFilter, NwFilter};

use crate::corpus::{refusals_are_libvirts, texts_are_libvirts};

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
    texts_are_libvirts(DIRECTORY, 50, DIFFERENCES, |asked| {
        let filter = NwFilter::parse(asked.text).map_err(|error| error.to_string())?;
        let uuid = NwFilter::parse(asked.answer).unwrap().uuid;
        let filter = NwFilter { uuid: filter.uuid.or(uuid), ..filter };
        let again = NwFilter::parse(&filter.to_xml()).unwrap();
        // libvirt does not write the priority 0, and reads its absence as the chain's usual one.
        if asked.name != "priority-zero" {
            assert_eq!(again.to_xml(), filter.to_xml(), "{} changes when it is read again", asked.name);
        }
        Ok(filter.to_xml())
    });
}

#[test]
fn a_filter_that_libvirtd_refuses_is_refused_in_its_words() {
    refusals_are_libvirts(DIRECTORY, 50, |asked| {
        let told = match NwFilter::parse(asked.text) {
            Ok(_) => "accepted".to_owned(),
            Err(BadFilter::Xml(faults)) => faults.to_string(),
            Err(BadFilter::Markup(text)) => format!("XML error: {text}"),
            Err(BadFilter::Argument(text)) => format!("invalid argument: {text}"),
            Err(BadFilter::Value(text)) => format!("internal error: {text}"),
        };
        let is_same = told.trim() == asked.answer.trim();
        let may_differ = OTHER_WORDS.iter().any(|(known, _)| *known == asked.name);
        (is_same == may_differ).then_some(told)
    });
}
