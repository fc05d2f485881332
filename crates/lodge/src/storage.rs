//! virsh's verbs on storage pools and volumes, and the pools as a noun: `lodge pool list` is `lodge pool-list`.

use clap::Subcommand;

use crate::failure::Failure;
use crate::session::Session;

mod bytes;
mod document;
mod make;
mod pool;
mod pool_args;
mod pools;
mod sources;
mod volume;
mod volumes;

pub use document::size;

/// virsh's verbs on pools and volumes.
#[derive(Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
pub enum Verb {
    /// list pools
    PoolList(pools::List),
    /// storage pool information
    PoolInfo(pools::Info),
    /// pool information in XML
    PoolDumpxml(pool::Dumpxml),
    /// define an inactive persistent storage pool or modify an existing persistent one from an XML file
    PoolDefine(pool::File),
    /// define a pool from a set of args
    PoolDefineAs(Box<pool_args::PoolArgs>),
    /// create a pool from an XML file
    PoolCreate(pool::Create),
    /// create a pool from a set of args
    PoolCreateAs(Box<pool_args::PoolCreateArgs>),
    /// build a pool
    PoolBuild(pool::Build),
    /// start a (previously defined) inactive pool
    PoolStart(pool::Start),
    /// destroy (stop) a pool
    PoolDestroy(pool::Pool),
    /// delete a pool
    PoolDelete(pool::Pool),
    /// undefine an inactive pool
    PoolUndefine(pool::Pool),
    /// refresh a pool
    PoolRefresh(pool::Pool),
    /// autostart a pool
    PoolAutostart(pool::Autostart),
    /// edit XML configuration for a storage pool
    PoolEdit(pool::Pool),
    /// convert a pool name to pool UUID
    PoolUuid(pool::Pool),
    /// convert a pool UUID to pool name
    PoolName(pool::Pool),
    /// storage pool capabilities
    PoolCapabilities,
    /// Storage Pool Events
    PoolEvent(pool::Events),
    /// discover potential storage pool sources
    FindStoragePoolSources(sources::Find),
    /// find potential storage pool sources
    FindStoragePoolSourcesAs(sources::FindAs),
    /// list vols
    VolList(volumes::List),
    /// storage vol information
    VolInfo(volumes::Info),
    /// vol information in XML
    VolDumpxml(volume::Vol),
    /// returns the volume path for a given volume name or key
    VolPath(volume::Vol),
    /// returns the volume key for a given volume name or path
    VolKey(volume::Vol),
    /// returns the volume name for a given volume key or path
    VolName(volume::Lone),
    /// returns the storage pool for a given volume key or path
    VolPool(volume::VolPool),
    /// create a vol from an XML file
    VolCreate(make::Create),
    /// create a volume from a set of args
    VolCreateAs(make::CreateAs),
    /// create a vol, using another volume as input
    VolCreateFrom(make::CreateFrom),
    /// clone a volume
    VolClone(make::Clone),
    /// delete a vol
    VolDelete(volume::Delete),
    /// resize a vol
    VolResize(volume::Resize),
    /// wipe a vol
    VolWipe(volume::Wipe),
    /// upload file contents to a volume
    VolUpload(bytes::Upload),
    /// download volume contents to a file
    VolDownload(bytes::Download),
    /// Storage pools as a noun: `lodge pool list` is `lodge pool-list`
    #[command(subcommand)]
    Pool(PoolNoun),
    /// Volumes as a noun: `lodge volume list` is `lodge vol-list`
    #[command(subcommand)]
    Volume(VolumeNoun),
}

/// The same verbs below the noun.
#[derive(Debug, Subcommand)]
pub enum PoolNoun {
    /// List pools
    List(pools::List),
    /// A pool's facts
    Info(pools::Info),
    /// Its document
    #[command(alias = "dumpxml")]
    Xml(pool::Dumpxml),
    /// Define a pool from an XML file
    Define(pool::File),
    /// Make its directory
    Build(pool::Build),
    /// Start a pool
    Start(pool::Start),
    /// Stop a pool; its files stay
    #[command(alias = "destroy")]
    Stop(pool::Pool),
    /// Forget a pool; its files stay
    #[command(alias = "undefine")]
    Rm(pool::Pool),
    /// Look at its files anew
    Refresh(pool::Pool),
    /// Have a pool started with the daemon
    Autostart(pool::Autostart),
    /// Edit its document
    Edit(pool::Pool),
}

/// The same verbs below the noun.
#[derive(Debug, Subcommand)]
pub enum VolumeNoun {
    /// List a pool's volumes
    List(volumes::List),
    /// A volume's facts
    Info(volumes::Info),
    /// Its document
    #[command(alias = "dumpxml")]
    Xml(volume::Vol),
    /// Make a volume
    Create(make::CreateAs),
    /// Copy a volume
    Clone(make::Clone),
    /// Give it another size
    Resize(volume::Resize),
    /// Make its bytes unreadable
    Wipe(volume::Wipe),
    /// Delete a volume
    #[command(alias = "delete")]
    Rm(volume::Delete),
    /// Write a file's bytes into it
    Upload(bytes::Upload),
    /// Read its bytes into a file
    Download(bytes::Download),
}

impl Verb {
    /// The nouns are ours.
    pub fn is_of_virsh(&self) -> bool {
        !matches!(self, Self::Pool(_) | Self::Volume(_))
    }

    fn plain(self) -> Self {
        match self {
            Self::Pool(noun) => noun.into(),
            Self::Volume(noun) => noun.into(),
            verb => verb,
        }
    }
}

impl From<PoolNoun> for Verb {
    fn from(noun: PoolNoun) -> Self {
        match noun {
            PoolNoun::List(verb) => Self::PoolList(verb),
            PoolNoun::Info(verb) => Self::PoolInfo(verb),
            PoolNoun::Xml(verb) => Self::PoolDumpxml(verb),
            PoolNoun::Define(verb) => Self::PoolDefine(verb),
            PoolNoun::Build(verb) => Self::PoolBuild(verb),
            PoolNoun::Start(verb) => Self::PoolStart(verb),
            PoolNoun::Stop(verb) => Self::PoolDestroy(verb),
            PoolNoun::Rm(verb) => Self::PoolUndefine(verb),
            PoolNoun::Refresh(verb) => Self::PoolRefresh(verb),
            PoolNoun::Autostart(verb) => Self::PoolAutostart(verb),
            PoolNoun::Edit(verb) => Self::PoolEdit(verb),
        }
    }
}

impl From<VolumeNoun> for Verb {
    fn from(noun: VolumeNoun) -> Self {
        match noun {
            VolumeNoun::List(verb) => Self::VolList(verb),
            VolumeNoun::Info(verb) => Self::VolInfo(verb),
            VolumeNoun::Xml(verb) => Self::VolDumpxml(verb),
            VolumeNoun::Create(verb) => Self::VolCreateAs(verb),
            VolumeNoun::Clone(verb) => Self::VolClone(verb),
            VolumeNoun::Resize(verb) => Self::VolResize(verb),
            VolumeNoun::Wipe(verb) => Self::VolWipe(verb),
            VolumeNoun::Rm(verb) => Self::VolDelete(verb),
            VolumeNoun::Upload(verb) => Self::VolUpload(verb),
            VolumeNoun::Download(verb) => Self::VolDownload(verb),
        }
    }
}

/// Runs one of them.
pub async fn run(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    match verb.plain() {
        Verb::PoolList(verb) => verb.run(session).await,
        Verb::PoolInfo(verb) => verb.run(session).await,
        Verb::PoolDumpxml(verb) => verb.run(session).await,
        Verb::PoolDefine(verb) => verb.run(session).await,
        Verb::PoolDefineAs(verb) => verb.run(session).await,
        Verb::PoolCreate(verb) => verb.run(session).await,
        Verb::PoolCreateAs(verb) => verb.run(session).await,
        Verb::PoolBuild(verb) => verb.run(session).await,
        Verb::PoolStart(verb) => verb.run(session).await,
        Verb::PoolDestroy(verb) => verb.destroy(session).await,
        Verb::PoolDelete(verb) => verb.delete(session).await,
        Verb::PoolUndefine(verb) => verb.undefine(session).await,
        Verb::PoolRefresh(verb) => verb.refresh(session).await,
        Verb::PoolAutostart(verb) => verb.run(session).await,
        Verb::PoolEdit(verb) => verb.edit(session).await,
        Verb::PoolUuid(verb) => verb.uuid(session).await,
        Verb::PoolName(verb) => verb.name(session).await,
        Verb::PoolCapabilities => pool::capabilities(session).await,
        Verb::PoolEvent(verb) => verb.run(session).await,
        Verb::FindStoragePoolSources(verb) => verb.run(session).await,
        Verb::FindStoragePoolSourcesAs(verb) => verb.run(session).await,
        Verb::VolList(verb) => verb.run(session).await,
        Verb::VolInfo(verb) => verb.run(session).await,
        Verb::VolDumpxml(verb) => verb.dumpxml(session).await,
        Verb::VolPath(verb) => verb.path(session).await,
        Verb::VolKey(verb) => verb.key(session).await,
        Verb::VolName(verb) => verb.name(session).await,
        Verb::VolPool(verb) => verb.run(session).await,
        Verb::VolCreate(verb) => verb.run(session).await,
        Verb::VolCreateAs(verb) => verb.run(session).await,
        Verb::VolCreateFrom(verb) => verb.run(session).await,
        Verb::VolClone(verb) => verb.run(session).await,
        Verb::VolDelete(verb) => verb.run(session).await,
        Verb::VolResize(verb) => verb.run(session).await,
        Verb::VolWipe(verb) => verb.run(session).await,
        Verb::VolUpload(verb) => verb.run(session).await,
        Verb::VolDownload(verb) => verb.run(session).await,
        Verb::Pool(_) | Verb::Volume(_) => unreachable!("a noun becomes one of the verbs above"),
    }
}
