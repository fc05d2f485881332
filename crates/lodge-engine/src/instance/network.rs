//! The network that a new instance is on: seen to before anything is built or copied for it.
//!
//! One that is named must be there, and up if the instance is to start. Where none is named it is `default`, which is
//! made at its first use as the pool of that name is: a host that has never seen libvirt has none.

use lodge_model::Kind;
use tokio::sync::Mutex;

use crate::{
    Engine,
    error::{EngineError, Result},
    job::JobHandle,
};

/// libvirt's tools know it by this name.
pub(super) const DEFAULT: &str = "default";
/// The third number of its addresses: libvirt's own first, and so many more where that is somebody's.
const SUBNETS: std::ops::Range<u8> = 122..154;
/// Two runs at once make one network.
static MAKING: Mutex<()> = Mutex::const_new(());

impl Engine {
    /// Sees to the network of a run, named or not.
    pub(super) async fn see_to_network(
        &self,
        job: &JobHandle,
        named: Option<&str>,
        starts: bool,
    ) -> Result<()> {
        match named {
            Some(name) => self.see_network(name, starts),
            None => self.see_to_default(job, starts).await,
        }
    }

    /// A network that somebody named: it is there, and up if a guest is to start on it.
    pub(crate) fn see_network(&self, name: &str, starts: bool) -> Result<()> {
        let network = self.networks.get(name)?;
        if starts && !network.active {
            let text = format!("network '{}' is not active", network.name);
            return Err(EngineError::new(Kind::InvalidState, text)
                .with_hint(format!("start it first: lodge net-start {}", network.name)));
        }
        Ok(())
    }

    async fn see_to_default(&self, job: &JobHandle, starts: bool) -> Result<()> {
        let _alone = MAKING.lock().await;
        match self.networks.get(DEFAULT) {
            Ok(network) if network.active || !starts => Ok(()),
            Ok(network) => {
                job.tell("starting the network", None, DEFAULT);
                self.networks.start(network.id).await?;
                Ok(())
            }
            // A user's own daemon may make none.
            Err(none) if self.is_session() => Err(none.into()),
            Err(_) => {
                job.tell("making the network", None, DEFAULT);
                self.make_default_network().await
            }
        }
    }

    /// Defines and starts it, in the first subnet that nobody has. Of one that does not come up nothing is left.
    async fn make_default_network(&self) -> Result<()> {
        let mut taken = None;
        for subnet in SUBNETS {
            let network = self.networks.define(&document(subnet)).await?;
            // First, so that a host which ends meanwhile has none that stays down at its next boot.
            let marked = self.networks.set_autostart(network.id, true).await;
            let started = match marked {
                Ok(()) => self.networks.start(network.id).await,
                Err(error) => Err(error),
            };
            match started {
                Ok(_) => {
                    let addresses = format!("192.168.{subnet}.0/24");
                    tracing::info!(network = DEFAULT, addresses, "network made for a first instance");
                    return Ok(());
                }
                Err(error) => {
                    self.networks.undefine(network.id).await?;
                    if error.kind() != Kind::Conflict {
                        return Err(error.into());
                    }
                    taken = taken.or(Some(error));
                }
            }
        }
        let cause = taken.map(EngineError::from);
        Err(cause.unwrap_or_else(|| EngineError::new(Kind::Internal, "no subnet was tried")))
    }
}

/// As libvirt's packages bring it; the bridge's name is the first that is free.
fn document(subnet: u8) -> String {
    format!(
        "<network><name>{DEFAULT}</name><forward mode='nat'/>\
         <ip address='192.168.{subnet}.1' netmask='255.255.255.0'>\
         <dhcp><range start='192.168.{subnet}.2' end='192.168.{subnet}.254'/></dhcp></ip></network>"
    )
}
