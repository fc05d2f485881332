//! Finding a volume, and acts on one.

use clap::Args;
use lodge_client::Client;
use lodge_client::api::{ErrorKind, VolumeRemoval, VolumeResize, VolumeView, VolumeWipe};

use super::document::size;
use super::pool::on_pool;
use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

/// A volume, by its name in a pool or by its path.
#[derive(Debug, Args)]
#[allow(clippy::struct_field_names, reason = "the argument is called so")]
pub struct Vol {
    /// vol name, key or path
    #[arg(value_name = "vol")]
    pub vol: String,
    /// pool name or uuid
    #[arg(long, value_name = "string")]
    pub pool: Option<String>,
    /// the pool again: virsh takes it without --pool too
    #[arg(value_name = "pool", hide = true, conflicts_with = "pool")]
    pub pool_too: Option<String>,
}

/// A volume, by its key or path alone.
#[derive(Debug, Args)]
pub struct Lone {
    /// volume key or path
    #[arg(value_name = "vol")]
    vol: String,
}

#[derive(Debug, Args)]
pub struct VolPool {
    /// volume key or path
    #[arg(value_name = "vol")]
    vol: String,
    /// return the pool uuid rather than pool name
    #[arg(long)]
    uuid: bool,
}

#[derive(Debug, Args)]
pub struct Delete {
    #[command(flatten)]
    vol: Vol,
}

#[derive(Debug, Args)]
pub struct Resize {
    /// vol name, key or path
    #[arg(value_name = "vol")]
    vol: String,
    /// new capacity for the vol, as scaled integer (default bytes)
    #[arg(value_name = "capacity", allow_hyphen_values = true)]
    capacity: String,
    /// pool name or uuid
    #[arg(long, value_name = "string")]
    pool: Option<String>,
    /// allocate the new capacity, rather than leaving it sparse
    #[arg(long)]
    allocate: bool,
    /// use capacity as a delta to current size, rather than the new size
    #[arg(long)]
    delta: bool,
    /// allow the resize to shrink the volume
    #[arg(long)]
    shrink: bool,
}

#[derive(Debug, Args)]
pub struct Wipe {
    #[command(flatten)]
    vol: Vol,
    /// perform selected wiping algorithm
    #[arg(long, value_name = "string")]
    algorithm: Option<String>,
}

/// Looks a volume up as virsh does: in the pool by its name, anywhere by its path.
pub async fn find(client: &Client, vol: &str, pool: Option<&str>) -> Result<VolumeView, Failure> {
    let Some(pool) = pool else {
        let found = client.volume_by_path(vol).await;
        return found.what(|| format!("failed to get vol '{vol}', specifying --pool might help"));
    };
    let view = on_pool(client.pool(pool).await, pool, "")?;
    if !view.active {
        return Err(Failure::new(ErrorKind::InvalidState, format!("pool '{pool}' is not active")));
    }
    match client.volume(pool, vol).await {
        Err(error) if error.kind() == ErrorKind::NotFound && vol.starts_with('/') => {
            let found = client.volume_by_path(vol).await.what(|| format!("failed to get vol '{vol}'"))?;
            if found.pool != view.name {
                let text = format!("Requested volume '{vol}' is not in pool '{pool}'");
                return Err(Failure::new(ErrorKind::InvalidInput, text));
            }
            Ok(found)
        }
        found => found.what(|| format!("failed to get vol '{vol}'")),
    }
}

impl Vol {
    fn pool(&self) -> Option<&str> {
        self.pool.as_deref().or(self.pool_too.as_deref())
    }

    pub async fn view(&self, session: &mut Session) -> Result<VolumeView, Failure> {
        let client = session.client().await?;
        find(&client, &self.vol, self.pool()).await
    }

    pub async fn dumpxml(self, session: &mut Session) -> Result<(), Failure> {
        let view = self.view(session).await?;
        let xml = session.client().await?.volume_xml(&view.pool, &view.name).await;
        output::print(&xml.what(|| format!("failed to get vol '{}'", self.vol))?);
        Ok(())
    }

    pub async fn path(self, session: &mut Session) -> Result<(), Failure> {
        let view = self.view(session).await?;
        session.show(&view.path, |path| format!("{path}\n"));
        Ok(())
    }

    pub async fn key(self, session: &mut Session) -> Result<(), Failure> {
        let view = self.view(session).await?;
        session.show(&view.key, |key| format!("{key}\n"));
        Ok(())
    }
}

impl Lone {
    pub async fn name(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let view = find(&client, &self.vol, None).await?;
        session.show(&view.name, |name| format!("{name}\n"));
        Ok(())
    }
}

impl VolPool {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let view = find(&client, &self.vol, None).await?;
        let pool = on_pool(client.pool(&view.pool).await, &view.pool, "")?;
        let shown = if self.uuid { pool.uuid.to_string() } else { pool.name };
        session.show(&shown, |shown| format!("{shown}\n"));
        Ok(())
    }
}

impl Delete {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let view = self.vol.view(session).await?;
        let removal = VolumeRemoval::default();
        let gone = session.client().await?.delete_volume(&view.pool, &view.name, &removal).await;
        gone.what(|| format!("Failed to delete vol {}", self.vol.vol))?;
        session.done(&view, |_| format!("Vol {} deleted\n", self.vol.vol));
        Ok(())
    }
}

impl Resize {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        // A sign is a word for `--delta --shrink`.
        let (amount, is_less) = match self.capacity.strip_prefix('-') {
            Some(amount) => (amount, true),
            None => (self.capacity.as_str(), false),
        };
        if is_less && !(self.delta && self.shrink) {
            return Err(invalid("Negative size requires --delta and --shrink"));
        }
        let capacity_bytes = size(amount, "capacity")?;
        let client = session.client().await?;
        let view = find(&client, &self.vol, self.pool.as_deref()).await?;
        let resize =
            VolumeResize { capacity_bytes, allocate: self.allocate, delta: self.delta, shrink: self.shrink };
        let by = if self.delta { "by" } else { "to" };
        let resized = client.resize_volume(&view.pool, &view.name, &resize).await;
        let resized =
            resized.what(|| format!("Failed to change size of volume '{}' {by} {amount}", view.name))?;
        session.done(&resized, |view| {
            format!("Size of volume '{}' successfully changed {by} {amount}\n", view.name)
        });
        Ok(())
    }
}

impl Wipe {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        const KNOWN: [&str; 10] = [
            "zero",
            "nnsa",
            "dod",
            "bsi",
            "gutmann",
            "schneier",
            "pfitzner7",
            "pfitzner33",
            "random",
            "trim",
        ];
        if let Some(unknown) = self.algorithm.as_deref().filter(|word| !KNOWN.contains(word)) {
            return Err(invalid(format!("Unsupported algorithm '{unknown}'")));
        }
        let view = self.vol.view(session).await?;
        let wipe = VolumeWipe { algorithm: self.algorithm };
        let wiped = session.client().await?.wipe_volume(&view.pool, &view.name, &wipe).await;
        let wiped = wiped.what(|| format!("Failed to wipe vol {}", view.name))?;
        session.done(&wiped, |view| format!("Vol {} wiped\n", view.name));
        Ok(())
    }
}
