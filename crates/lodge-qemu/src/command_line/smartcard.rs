//! `<smartcard>`: a card in a reader; the host's, one made of certificates, or one behind a stream.

use lodge_model::domain::chardev::CharKind;
use lodge_model::domain::smartcard::{Smartcard, SmartcardMode};

use super::builder::{Builder, alias};
use super::props::Props;
use super::stream::{Stream, back_end};

/// Where NSS keeps the host's certificates.
const DATABASE: &str = "/etc/pki/nssdb";

/// All of them; QEMU has one.
pub(super) fn smartcards(b: &mut Builder<'_>) {
    for (at, card) in b.domain.devices.smartcards.iter().enumerate() {
        b.at_device("smartcard", at);
        smartcard(b, card);
    }
}

fn smartcard(b: &mut Builder<'_>, card: &Smartcard) {
    let id = alias(&card.place);
    let (name, props) = match card.mode {
        SmartcardMode::Host => {
            ("ccid-card-emulated", Props::driver("ccid-card-emulated").with("backend", "nss-emulated"))
        }
        SmartcardMode::HostCertificates => {
            let [first, second, third] = card.certificates.as_slice() else {
                return b.refuse("three certificates are needed");
            };
            let props = Props::driver("ccid-card-emulated")
                .with("backend", "certificates")
                .with("cert1", first.as_str())
                .with("cert2", second.as_str())
                .with("cert3", third.as_str())
                .with("db", card.database.as_deref().unwrap_or(DATABASE));
            ("ccid-card-emulated", props)
        }
        SmartcardMode::Passthrough => {
            if !stream(b, card, id) {
                return;
            }
            let props = Props::driver("ccid-card-passthru").with("chardev", format!("char{id}"));
            ("ccid-card-passthru", props)
        }
    };
    b.device(name, &props.with("id", id).with("bus", "ccid0.0"));
}

/// The host's end of a stream. Whether it could be written.
fn stream(b: &mut Builder<'_>, card: &Smartcard, id: &str) -> bool {
    let Some(kind) = card.kind else {
        b.refuse("mode='passthrough' needs a type");
        return false;
    };
    if kind == CharKind::SpiceVmc {
        if super::screen::serves_spice(b) {
            b.arg("-chardev", format!("spicevmc,id=char{id},name=smartcard"));
            return true;
        }
        b.warn("left out: it comes over SPICE, which this guest's screen does not have here");
        return false;
    }
    let stream = Stream {
        id,
        kind,
        sources: &card.sources,
        protocol: card.protocol.as_ref(),
        log: card.log.as_deref(),
    };
    back_end(b, &stream)
}
