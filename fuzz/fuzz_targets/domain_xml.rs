//! Domain documents: no text makes the reader panic, and what is read is written and read back the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lodge_model::domain::{Domain, Platform};
use lodge_model::xml::WriteOptions;

fuzz_target!(|text: &str| {
    let all = WriteOptions { inactive: false, security_info: true, migratable: false };
    if let Ok(mut domain) = Domain::parse(text) {
        let written = domain.to_xml(&all);
        assert_eq!(Domain::parse(&written).as_ref(), Ok(&domain), "{written}");
        let _ = domain.check();
        if domain.complete(&Platform::default()).is_ok() {
            let once = domain.clone();
            assert!(domain.complete(&Platform::default()).is_ok());
            assert_eq!(domain, once, "completing twice changes nothing");
        }
    }
    let _ = Domain::parse_strict(text).map_err(|faults| faults.locate(text));
});
