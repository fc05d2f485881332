//! `<tpm>`: the host's, passed by descriptors; an emulated one, over the control socket of swtpm.

use lodge_model::domain::tpm::{Tpm, TpmBackendKind, TpmModel};

use super::builder::{Builder, alias};
use super::props::{Props, escaped};

/// All of them; a PC has one.
pub(super) fn tpms(b: &mut Builder<'_>) {
    for (at, tpm) in b.domain.devices.tpms.iter().enumerate() {
        b.at_device("tpm", at);
        self::tpm(b, tpm);
    }
}

fn tpm(b: &mut Builder<'_>, tpm: &Tpm) {
    let id = alias(&tpm.place);
    let model = tpm.model.unwrap_or_default();
    if matches!(model, TpmModel::Spapr | TpmModel::SpaprProxy) {
        return b.refuse(format!("a TPM of model '{model}' is not a PC's"));
    }
    let backend = match tpm.backend.kind {
        TpmBackendKind::Passthrough => {
            let Some((device, cancel)) = b.claims.tpm else {
                return b.refuse("the host's TPM was not opened");
            };
            let (device, cancel) = (b.fdset(device, "tpm"), b.fdset(cancel, "tpm-cancel"));
            format!("passthrough,id=tpm-{id},path={device},cancel-path={cancel}")
        }
        TpmBackendKind::Emulator => {
            let Some(server) = b.claims.helpers.get(id).copied() else {
                return b.refuse("its emulator, swtpm, was not started");
            };
            b.arg("-chardev", format!("socket,id=chrtpm,fd={server}"));
            format!("emulator,id=tpm-{id},chardev=chrtpm")
        }
        TpmBackendKind::External => {
            let source = tpm.backend.source.as_ref().and_then(|source| source.path.as_deref());
            let Some(path) = source else {
                return b.refuse("the path of its socket is missing");
            };
            let server = match b.claims.helpers.get(id) {
                Some(fd) => format!("fd={fd}"),
                None => format!("path={}", escaped(path)),
            };
            b.arg("-chardev", format!("socket,id=chrtpm,{server}"));
            format!("emulator,id=tpm-{id},chardev=chrtpm")
        }
    };
    b.arg("-tpmdev", backend);
    let props = Props::driver(model.as_str()).with("tpmdev", format!("tpm-{id}")).with("id", id);
    b.device(model.as_str(), &props);
}
