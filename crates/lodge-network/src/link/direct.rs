//! Macvtaps, and what ports of a bridge and taps can be told.
//!
//! A new link takes no alias, so a macvtap is made under a name that only this root's daemon gives, and gets its own
//! together with its mark, in one message: what a crash leaves is always known as ours.

use lodge_model::MacAddr;
use rtnetlink::packet_route::link::{InfoBridgePort, MacVtapMode};
use rtnetlink::{LinkBridgePort, LinkMacVtap, LinkUnspec};

use super::{Link, Links, failed};
use crate::{DirectMode, Listening, NetworkError};

impl From<DirectMode> for MacVtapMode {
    fn from(mode: DirectMode) -> Self {
        match mode {
            DirectMode::Vepa => Self::Vepa,
            DirectMode::Bridge => Self::Bridge,
            DirectMode::Private => Self::Private,
            DirectMode::Passthrough => Self::Passthrough,
        }
    }
}

impl Links {
    /// Makes a macvtap over the interface `lower`, down.
    pub async fn create_macvtap(
        &self,
        name: &str,
        lower: u32,
        mode: DirectMode,
        mac: MacAddr,
    ) -> Result<(), NetworkError> {
        let message = LinkMacVtap::new(name, lower, mode.into()).address(mac.0.to_vec()).build();
        self.handle.link().add(message).execute().await.map_err(failed("create macvtap", name))
    }

    /// Gives an interface that is down another name (`%d` in it becomes the first free number) and says whose it is.
    ///
    /// And the address again: a macvtap that has its interface for itself was made with that one's.
    pub async fn rename_and_mark(
        &self,
        index: u32,
        old: &str,
        (name, alias): (&str, &str),
        mac: MacAddr,
    ) -> Result<(), NetworkError> {
        let message =
            LinkUnspec::new_with_index(index).name(name).alias(alias).address(mac.0.to_vec()).build();
        self.handle.link().change(message).execute().await.map_err(failed("name", old))
    }

    /// Has a macvtap let through what its guest listens to.
    pub async fn follow(&self, link: &Link, listening: &Listening) -> Result<(), NetworkError> {
        let Listening { mac, promiscuous, all_multicast, .. } = listening;
        let mut builder =
            LinkUnspec::new_with_index(link.index).promiscuous(*promiscuous).allmulticast(*all_multicast);
        if link.mac != Some(*mac) {
            builder = builder.address(mac.0.to_vec());
        }
        let followed = self.handle.link().change(builder.build()).execute().await;
        followed.map_err(failed("set what goes through", &link.name))
    }

    /// One interface by number.
    pub async fn name_of(&self, index: u32) -> Result<String, NetworkError> {
        let all = self.all().await?;
        let found = all.into_iter().find(|link| link.index == index).map(|link| link.name);
        found.ok_or_else(|| super::gone("find the interface", &index.to_string()))
    }

    /// Marks a tap that is on no bridge, gives it the host's address of the cable, and switches it on.
    pub async fn dress(
        &self,
        index: u32,
        name: &str,
        alias: &str,
        mac: MacAddr,
        mtu: Option<u32>,
    ) -> Result<(), NetworkError> {
        let mut builder = LinkUnspec::new_with_index(index).address(mac.0.to_vec()).alias(alias).up();
        if let Some(mtu) = mtu {
            builder = builder.mtu(mtu);
        }
        self.handle.link().change(builder.build()).execute().await.map_err(failed("set up", name))
    }

    /// Keeps a port of a bridge from other ports that are kept so.
    pub async fn isolate(&self, index: u32, name: &str) -> Result<(), NetworkError> {
        let message = LinkBridgePort::new(index).append_info_data(InfoBridgePort::Isolated(true)).build();
        self.handle.link().set_port(message).execute().await.map_err(failed("isolate", name))
    }
}
