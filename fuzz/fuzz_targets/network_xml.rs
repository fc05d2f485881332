//! Network and storage documents: no panic, and what is read is written and read back the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lodge_model::network::Network;
use lodge_model::storage::{Pool, Volume};
use lodge_model::xml::WriteOptions;

fuzz_target!(|text: &str| {
    let all = WriteOptions { inactive: false, security_info: true, migratable: false };
    if let Ok(mut network) = Network::parse(text) {
        assert_eq!(Network::parse(&network.to_xml(&all)).as_ref(), Ok(&network));
        let _ = network.check();
        network.complete();
        let _ = network.check().map_err(|faults| faults.locate(text));
    }
    if let Ok(pool) = Pool::parse(text) {
        assert_eq!(Pool::parse(&pool.to_xml(&all)).as_ref(), Ok(&pool));
    }
    if let Ok(volume) = Volume::parse(text) {
        assert_eq!(Volume::parse(&volume.to_xml(&all)).as_ref(), Ok(&volume));
    }
});
