//! virsh's verbs on networks, and the same as a noun: `lodge network list` is `lodge net-list`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lodge_client::api::{ErrorKind, NetworkOptions, XmlOptions};

use crate::domain::{Document, read_file};
use crate::failure::{Failure, What};
use crate::output;
use crate::session::Session;

mod facts;
mod list;
mod update;

/// virsh's verbs on networks.
#[derive(Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
pub enum Verb {
    /// list networks
    NetList(list::NetList),
    /// define an inactive persistent virtual network or modify an existing persistent one from an XML file
    NetDefine(File),
    /// create a network from an XML file
    NetCreate(File),
    /// start a (previously defined) inactive network
    NetStart(Net),
    /// destroy (stop) a network
    NetDestroy(Net),
    /// undefine a persistent network
    NetUndefine(Net),
    /// autostart a network
    NetAutostart(Autostart),
    /// network information in XML
    NetDumpxml(Dumpxml),
    /// edit XML configuration for a network
    NetEdit(Net),
    /// network information
    NetInfo(Net),
    /// convert a network name to network UUID
    NetUuid(Net),
    /// convert a network UUID to network name
    NetName(Net),
    /// update parts of an existing network's configuration
    NetUpdate(update::Update),
    /// print lease info for a given network
    NetDhcpLeases(facts::Leases),
    /// Networks as a noun: `lodge network list` is `lodge net-list`
    #[command(subcommand)]
    Network(Noun),
}

/// The same verbs below the noun.
#[derive(Debug, Subcommand)]
pub enum Noun {
    /// List networks
    List(list::NetList),
    /// Define a network from an XML file
    Define(File),
    /// Create a network that is gone when it stops
    Create(File),
    /// Start a network
    Start(Net),
    /// Stop a network
    #[command(alias = "destroy")]
    Stop(Net),
    /// Forget a network
    #[command(alias = "undefine")]
    Rm(Net),
    /// Have a network started with the daemon
    Autostart(Autostart),
    /// Its document
    #[command(alias = "dumpxml")]
    Xml(Dumpxml),
    /// Edit its document
    Edit(Net),
    /// Its facts
    Info(Net),
    /// Its DHCP leases
    Leases(facts::Leases),
}

/// A network, and nothing else.
#[derive(Debug, Args)]
pub struct Net {
    /// network name or uuid
    #[arg(value_name = "network")]
    network: String,
}

/// A document's file.
#[derive(Debug, Args)]
pub struct File {
    /// file containing an XML network description
    #[arg(value_name = "file")]
    file: PathBuf,
    /// validate the XML against the schema
    #[arg(long)]
    validate: bool,
}

#[derive(Debug, Args)]
pub struct Autostart {
    /// network name or uuid
    #[arg(value_name = "network")]
    network: String,
    /// disable autostarting
    #[arg(long)]
    disable: bool,
}

#[derive(Debug, Args)]
pub struct Dumpxml {
    /// network name or uuid
    #[arg(value_name = "network")]
    network: String,
    /// show inactive defined XML
    #[arg(long)]
    inactive: bool,
}

impl Verb {
    /// The noun is ours.
    pub fn is_of_virsh(&self) -> bool {
        !matches!(self, Self::Network(_))
    }
}

impl From<Noun> for Verb {
    fn from(noun: Noun) -> Self {
        match noun {
            Noun::List(verb) => Self::NetList(verb),
            Noun::Define(verb) => Self::NetDefine(verb),
            Noun::Create(verb) => Self::NetCreate(verb),
            Noun::Start(net) => Self::NetStart(net),
            Noun::Stop(net) => Self::NetDestroy(net),
            Noun::Rm(net) => Self::NetUndefine(net),
            Noun::Autostart(verb) => Self::NetAutostart(verb),
            Noun::Xml(verb) => Self::NetDumpxml(verb),
            Noun::Edit(net) => Self::NetEdit(net),
            Noun::Info(net) => Self::NetInfo(net),
            Noun::Leases(verb) => Self::NetDhcpLeases(verb),
        }
    }
}

/// Runs one of them.
pub async fn run(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    match if let Verb::Network(noun) = verb { noun.into() } else { verb } {
        Verb::NetList(verb) => verb.run(session).await,
        Verb::NetDefine(file) => define(file, false, session).await,
        Verb::NetCreate(file) => define(file, true, session).await,
        Verb::NetStart(net) => start(&net.network, session).await,
        Verb::NetDestroy(net) => destroy(&net.network, session).await,
        Verb::NetUndefine(net) => undefine(&net.network, session).await,
        Verb::NetAutostart(verb) => autostart(&verb, session).await,
        Verb::NetDumpxml(verb) => dumpxml(&verb, session).await,
        Verb::NetEdit(net) => edit(&net.network, session).await,
        Verb::NetInfo(net) => facts::info(&net.network, session).await,
        Verb::NetUuid(net) => facts::uuid(&net.network, session).await,
        Verb::NetName(net) => facts::name(&net.network, session).await,
        Verb::NetUpdate(verb) => verb.run(session).await,
        Verb::NetDhcpLeases(verb) => verb.run(session).await,
        Verb::Network(_) => unreachable!("a noun becomes one of the verbs above"),
    }
}

async fn define(file: File, create: bool, session: &mut Session) -> Result<(), Failure> {
    let (xml, shown) = (read_file(&file.file)?, file.file.display());
    let options = NetworkOptions { validate: file.validate, start: create };
    let (act, done) = if create { ("create", "created") } else { ("define", "defined") };
    let view = session.client().await?.define_network(&xml, &options).await;
    let view = view.what(|| format!("Failed to {act} network from {shown}"))?;
    session.warn(&view.warnings);
    session.done(&view, |view| format!("Network {} {done} from {shown}\n", view.name));
    Ok(())
}

async fn start(net: &str, session: &mut Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let before = client.network(net).await.on_network(net, "")?;
    if before.active {
        let why = format!("Requested operation is not valid: Network '{}' is already running", before.name);
        return Err(Failure::new(
            ErrorKind::InvalidState,
            format!("Failed to start network {}", before.name),
        )
        .below(why));
    }
    let view = client.start_network(net).await.on_network(&before.name, "start")?;
    session.warn(&view.warnings);
    session.done(&view, |view| format!("Network {} started\n", view.name));
    Ok(())
}

async fn destroy(net: &str, session: &mut Session) -> Result<(), Failure> {
    let view = session.client().await?.destroy_network(net).await.on_network(net, "destroy")?;
    session.done(&view, |view| format!("Network {} destroyed\n", view.name));
    Ok(())
}

async fn undefine(net: &str, session: &mut Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let view = client.network(net).await.on_network(net, "")?;
    client.undefine_network(net).await.on_network(&view.name, "undefine")?;
    session.done(&view, |view| format!("Network {} has been undefined\n", view.name));
    Ok(())
}

async fn autostart(verb: &Autostart, session: &mut Session) -> Result<(), Failure> {
    let (net, enabled) = (&verb.network, !verb.disable);
    let (act, done) = if enabled {
        ("mark as autostarted", "marked as autostarted")
    } else {
        ("unmark as autostarted", "unmarked as autostarted")
    };
    let view = session.client().await?.autostart_network(net, enabled).await.on_network(net, act)?;
    session.done(&view, |view| format!("Network {} {done}\n", view.name));
    Ok(())
}

async fn dumpxml(verb: &Dumpxml, session: &mut Session) -> Result<(), Failure> {
    let options = XmlOptions { inactive: verb.inactive, ..XmlOptions::default() };
    let xml =
        session.client().await?.network_xml(&verb.network, &options).await.on_network(&verb.network, "")?;
    let end = if xml.ends_with('\n') { "" } else { "\n" };
    output::print(&format!("{xml}{end}"));
    Ok(())
}

async fn edit(net: &str, session: &mut Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let options = XmlOptions { inactive: true, ..XmlOptions::default() };
    let before = client.network_xml(net, &options).await.on_network(net, "")?;
    let name = client.network(net).await.on_network(net, "")?.name;
    let document = Document { subject: format!("Network {name}"), name: &name, text: &before };
    let define = async |text: &str| {
        let defined = client.define_network(text, &NetworkOptions::default()).await;
        defined.what(|| format!("Failed to edit network {name}"))
    };
    if let Some(view) = document.edit(session, false, define).await? {
        session.warn(&view.warnings);
        session.say(&format!("Network {} XML configuration edited.\n", view.name));
    }
    Ok(())
}
