//! Keys, interrupts, and what is measured of a guest on demand.

use lodge_wire::remote::{DomainInjectNmiArgs, DomainSendKeyArgs};

use super::params::guest;
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_DOMAIN_SEND_KEY_MAX_KEYS`
const KEYS_MAX: usize = 16;

pub(crate) async fn send_key(call: &Call, args: DomainSendKeyArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    if args.keycodes.is_empty() || args.keycodes.len() > KEYS_MAX {
        let text = format!("nkeycodes in virDomainSendKey must be between 1 and {KEYS_MAX}");
        return Err(Fault::bare(Code::InvalidArg, Origin::Domain, text));
    }
    let guest = guest(call, &args.dom)?;
    Ok(guest.send_keys(args.codeset, &args.keycodes, args.holdtime).await?)
}

pub(crate) async fn inject_nmi(call: &Call, args: DomainInjectNmiArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    Ok(guest(call, &args.dom)?.inject_nmi().await?)
}
