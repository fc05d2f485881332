//! Acts on one pool.

use std::path::PathBuf;

use clap::Args;
use lodge_client::ClientError;
use lodge_client::api::{ErrorKind, PoolBuild, PoolOptions, PoolView, XmlOptions};

use super::document::exclusive;
use crate::changes::{POOLS, Waiting};
use crate::domain::{Document, read_file};
use crate::failure::{Failure, What};
use crate::output;
use crate::session::Session;

/// A pool, and nothing else.
#[derive(Debug, Args)]
pub struct Pool {
    /// pool name or uuid
    #[arg(value_name = "pool")]
    pool: String,
}

#[derive(Debug, Args)]
pub struct Dumpxml {
    /// pool name or uuid
    #[arg(value_name = "pool")]
    pool: String,
    /// show inactive defined XML
    #[arg(long)]
    inactive: bool,
}

/// A document's file.
#[derive(Debug, Args)]
pub struct File {
    /// file containing an XML pool description
    #[arg(value_name = "file")]
    file: PathBuf,
    /// validate the XML against the schema
    #[arg(long)]
    validate: bool,
}

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    file: File,
    /// build the pool as normal
    #[arg(long)]
    build: bool,
    /// overwrite any existing data
    #[arg(long)]
    overwrite: bool,
    /// do not overwrite any existing data
    #[arg(long)]
    no_overwrite: bool,
}

#[derive(Debug, Args)]
pub struct Build {
    /// pool name or uuid
    #[arg(value_name = "pool")]
    pool: String,
    /// overwrite any existing data
    #[arg(long)]
    overwrite: bool,
    /// do not overwrite any existing data
    #[arg(long)]
    no_overwrite: bool,
}

#[derive(Debug, Args)]
pub struct Start {
    /// pool name or uuid
    #[arg(value_name = "pool")]
    pool: String,
    /// build the pool as normal
    #[arg(long)]
    build: bool,
    /// overwrite any existing data
    #[arg(long)]
    overwrite: bool,
    /// do not overwrite any existing data
    #[arg(long)]
    no_overwrite: bool,
}

#[derive(Debug, Args)]
pub struct Autostart {
    /// pool name or uuid
    #[arg(value_name = "pool")]
    pool: String,
    /// disable autostarting
    #[arg(long)]
    disable: bool,
}

#[derive(Debug, Args)]
pub struct Events {
    /// filter by storage pool name or uuid
    #[arg(long, value_name = "string")]
    pool: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// What failed on a pool, as virsh tells it.
pub fn on_pool<T>(outcome: Result<T, ClientError>, pool: &str, act: &str) -> Result<T, Failure> {
    outcome.map_err(|error| match error.kind() {
        ErrorKind::NotFound if error.to_string().starts_with("no storage pool with matching") => {
            Failure::from(error).below_what(format!("failed to get pool '{pool}'"))
        }
        _ if act.is_empty() => Failure::from(error),
        _ => Failure::from(error).below_what(format!("Failed to {act} pool {pool}")),
    })
}

/// A pool that must be there.
pub async fn view(pool: &str, session: &mut Session) -> Result<PoolView, Failure> {
    on_pool(session.client().await?.pool(pool).await, pool, "")
}

impl Pool {
    pub async fn destroy(self, session: &mut Session) -> Result<(), Failure> {
        let view = on_pool(session.client().await?.destroy_pool(&self.pool).await, &self.pool, "destroy")?;
        session.done(&view, |view| format!("Pool {} destroyed\n", view.name));
        Ok(())
    }

    pub async fn delete(self, session: &mut Session) -> Result<(), Failure> {
        let view = on_pool(session.client().await?.delete_pool(&self.pool).await, &self.pool, "delete")?;
        session.done(&view, |view| format!("Pool {} deleted\n", view.name));
        Ok(())
    }

    pub async fn undefine(self, session: &mut Session) -> Result<(), Failure> {
        let view = view(&self.pool, session).await?;
        on_pool(session.client().await?.undefine_pool(&self.pool).await, &view.name, "undefine")?;
        session.done(&view, |view| format!("Pool {} has been undefined\n", view.name));
        Ok(())
    }

    pub async fn refresh(self, session: &mut Session) -> Result<(), Failure> {
        let view = on_pool(session.client().await?.refresh_pool(&self.pool).await, &self.pool, "refresh")?;
        session.done(&view, |view| format!("Pool {} refreshed\n", view.name));
        Ok(())
    }

    pub async fn uuid(self, session: &mut Session) -> Result<(), Failure> {
        let view = view(&self.pool, session).await?;
        session.show(&view.uuid, |uuid| format!("{uuid}\n"));
        Ok(())
    }

    pub async fn name(self, session: &mut Session) -> Result<(), Failure> {
        let view = view(&self.pool, session).await?;
        session.show(&view.name, |name| format!("{name}\n"));
        Ok(())
    }

    pub async fn edit(self, session: &mut Session) -> Result<(), Failure> {
        let name = view(&self.pool, session).await?.name;
        let client = session.client().await?;
        let options = XmlOptions { inactive: true, ..XmlOptions::default() };
        let before = on_pool(client.pool_xml(&name, &options).await, &name, "")?;
        let document = Document { subject: format!("Pool {name}"), name: &name, text: &before };
        let define = async |text: &str| {
            let defined = client.define_pool(text, &PoolOptions::default()).await;
            defined.what(|| format!("Failed to edit pool {name}"))
        };
        if let Some(view) = document.edit(session, false, define).await? {
            session.say(&format!("Pool {} XML configuration edited.\n", view.name));
        }
        Ok(())
    }
}

impl Dumpxml {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let options = XmlOptions { inactive: self.inactive, ..XmlOptions::default() };
        let xml = on_pool(session.client().await?.pool_xml(&self.pool, &options).await, &self.pool, "")?;
        output::print(&xml);
        Ok(())
    }
}

impl File {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let options = PoolOptions { validate: self.validate, ..PoolOptions::default() };
        self.take(&options, "define", "defined", session).await
    }

    async fn take(
        self,
        options: &PoolOptions,
        act: &str,
        done: &str,
        session: &mut Session,
    ) -> Result<(), Failure> {
        let (xml, shown) = (read_file(&self.file)?, self.file.display());
        let view = session.client().await?.define_pool(&xml, options).await;
        let view = view.what(|| format!("Failed to {act} pool from {shown}"))?;
        session.done(&view, |view| format!("Pool {} {done} from {shown}\n", view.name));
        Ok(())
    }
}

impl Create {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        exclusive(self.overwrite, self.no_overwrite)?;
        let options = PoolOptions {
            validate: self.file.validate,
            start: true,
            build: self.build,
            overwrite: self.overwrite,
            no_overwrite: self.no_overwrite,
        };
        self.file.take(&options, "create", "created", session).await
    }
}

impl Build {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        exclusive(self.overwrite, self.no_overwrite)?;
        let build = PoolBuild { build: false, overwrite: self.overwrite, no_overwrite: self.no_overwrite };
        let built = session.client().await?.build_pool(&self.pool, &build).await;
        let view = on_pool(built, &self.pool, "build")?;
        session.done(&view, |view| format!("Pool {} built\n", view.name));
        Ok(())
    }
}

impl Start {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        exclusive(self.overwrite, self.no_overwrite)?;
        let build =
            PoolBuild { build: self.build, overwrite: self.overwrite, no_overwrite: self.no_overwrite };
        let started = session.client().await?.start_pool(&self.pool, &build).await;
        let view = on_pool(started, &self.pool, "start")?;
        session.done(&view, |view| format!("Pool {} started\n", view.name));
        Ok(())
    }
}

impl Autostart {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let mark = if self.disable { "unmark" } else { "mark" };
        let client = session.client().await?;
        let name = on_pool(client.pool(&self.pool).await, &self.pool, "")?.name;
        let marked = client.autostart_pool(&self.pool, !self.disable).await;
        let view = marked.what(|| format!("failed to {mark} pool {name} as autostarted"))?;
        session.done(&view, |view| format!("Pool {} {mark}ed as autostarted\n", view.name));
        Ok(())
    }
}

impl Events {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let only = match &self.pool {
            None => None,
            Some(pool) => Some(view(pool, session).await?.name),
        };
        self.waiting.run(&POOLS, only, session).await
    }
}

pub async fn capabilities(session: &mut Session) -> Result<(), Failure> {
    let xml = session.client().await?.pool_capabilities().await;
    output::print(&xml.what(|| "failed to get storage pool capabilities".to_owned())?);
    Ok(())
}
