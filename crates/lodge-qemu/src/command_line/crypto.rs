//! `<crypto>`: a device that encrypts for the guest.

use lodge_model::domain::crypto::CryptoBackendModel;

use super::builder::{Builder, alias};
use super::controller::virtio_options;
use super::props::Props;

/// All of them.
pub(super) fn cryptos(b: &mut Builder<'_>) {
    for (at, crypto) in b.domain.devices.cryptos.iter().enumerate() {
        b.at_device("crypto", at);
        let id = alias(&crypto.place);
        let backend = match crypto.backend.model {
            CryptoBackendModel::Builtin => "cryptodev-backend-builtin",
            CryptoBackendModel::Lkcf => "cryptodev-backend-lkcf",
        };
        let object = Props::object(backend, &format!("obj{id}")).maybe("queues", crypto.backend.queues);
        b.json("-object", &object);
        let props = virtio_options(Props::driver("virtio-crypto-pci"), Some(&crypto.driver.options));
        let props = props.with("cryptodev", format!("obj{id}")).with("id", id);
        let props = b.pci(props, &crypto.place);
        b.device("virtio-crypto-pci", &props);
    }
}
