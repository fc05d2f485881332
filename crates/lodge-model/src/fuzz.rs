//! What the fuzzers call: any text as a domain's document. It panics only where reading, completing or writing is wrong.
//!
//! Deliberately absent: what a document means; that libvirt's documents are read as libvirt reads them is the corpus.

use crate::domain::{Domain, Platform};
use crate::xml::WriteOptions;

/// All that a document has: what lives, and secrets.
const ALL: WriteOptions = WriteOptions { inactive: false, security_info: true, migratable: false };

/// Any text as a document. What is read is written so that it is read the same; what is completed is stored so that it
/// is read the same, and is complete; what is judged good has one text from then on. The answer is how far it came:
/// 0 refused, 1 read, 2 completed, 3 judged good.
pub fn domain(text: &str) -> u8 {
    if let Err(faults) = Domain::parse_strict(text) {
        let located = faults.locate(text);
        assert!(!located.0.is_empty(), "refused without a reason");
    }
    let Ok(mut domain) = Domain::parse(text) else { return 0 };
    let written = domain.to_xml(&ALL);
    // Texts are compared: what a document cannot say (a size in MiB that is none) is refused only when it is judged.
    let read = Domain::parse(&written)
        .unwrap_or_else(|faults| panic!("what is written can be read: {faults}\n{written}"));
    assert_eq!(read.to_xml(&ALL), written, "what is written is read the same");
    let _ = domain.unsupported();
    let platform = Platform::default();
    let (checked, completed) = (domain.check(), domain.complete(&platform));
    // What contradicts itself is never completed but here, where it must only not panic.
    if checked.is_err() || completed.is_err() {
        return 1;
    }
    let once = domain.clone();
    assert_eq!(domain.complete(&platform), Ok(()), "what is complete can be completed");
    assert_eq!(domain, once, "completing twice changes nothing");
    let stored = domain.to_xml(&WriteOptions::STORED);
    let read = Domain::parse(&stored)
        .unwrap_or_else(|faults| panic!("what is stored can be read: {faults}\n{stored}"));
    assert_eq!(read.to_xml(&WriteOptions::STORED), stored, "what is stored has one text");
    let Ok(judged) = Domain::judge(text, false, &platform) else { return 2 };
    // A UUID and MAC addresses are made anew each time.
    let first = judged.to_xml(&WriteOptions::STORED);
    let again = Domain::judge(&first, false, &platform);
    let again = again.unwrap_or_else(|faults| panic!("what was judged good stays so: {faults}\n{first}"));
    assert_eq!(again.to_xml(&WriteOptions::STORED), first, "a definition has one text");
    3
}
