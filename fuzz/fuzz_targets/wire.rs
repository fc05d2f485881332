//! A libvirt client's bytes: no panic, no great allocation, and what was read is written and read again alike.

#![no_main]

use lodge_wire::{
    Part, admin, lxc,
    packet::{ErrorBody, Header},
    qemu, remote,
    xdr::{self, Decoder, Xdr},
};

libfuzzer_sys::fuzz_target!(|message: &[u8]| {
    let mut input = Decoder::new(message);
    let Ok(header) = Header::decode(&mut input) else { return };
    let payload = input.rest();
    let _ = xdr::from_bytes::<ErrorBody>(payload);
    for part in [Part::Args, Part::Ret, Part::Message] {
        let recode = |payload: &[u8]| match header.program {
            qemu::PROGRAM => qemu::Procedure::from_number(header.procedure)?.recode(part, payload),
            lxc::PROGRAM => lxc::Procedure::from_number(header.procedure)?.recode(part, payload),
            admin::PROGRAM => admin::Procedure::from_number(header.procedure)?.recode(part, payload),
            _ => remote::Procedure::from_number(header.procedure)?.recode(part, payload),
        };
        if let Some(Ok(once)) = recode(payload) {
            let twice = recode(&once);
            assert_eq!(twice, Some(Ok(once)));
        }
    }
});
