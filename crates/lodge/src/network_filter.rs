//! virsh's verbs on network filters.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lodge_client::ClientError;
use lodge_client::api::{ErrorKind, NetworkFilterOptions};

use crate::domain::{Document, read_file};
use crate::failure::{Failure, What};
use crate::output;
use crate::session::Session;

/// virsh's verbs on network filters.
#[derive(Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
#[allow(clippy::enum_variant_names, reason = "each is virsh's verb")]
pub enum Verb {
    /// define or update a network filter from an XML file
    NwfilterDefine(File),
    /// network filter information in XML
    NwfilterDumpxml(Filter),
    /// edit XML configuration for a network filter
    NwfilterEdit(Filter),
    /// list network filters
    NwfilterList,
    /// undefine a network filter
    NwfilterUndefine(Filter),
    /// create a network filter binding from an XML file
    NwfilterBindingCreate(File),
    /// delete a network filter binding
    NwfilterBindingDelete(Binding),
    /// network filter information in XML
    NwfilterBindingDumpxml(Binding),
    /// list network filter bindings
    NwfilterBindingList,
}

#[derive(Debug, Args)]
pub struct File {
    /// file containing an XML description
    #[arg(value_name = "file")]
    file: PathBuf,
    /// validate the XML: unknown elements and attributes are refused
    #[arg(long)]
    validate: bool,
}

/// A filter, and nothing else.
#[derive(Debug, Args)]
pub struct Filter {
    /// network filter name or uuid
    #[arg(value_name = "nwfilter")]
    filter: String,
}

/// A card, and nothing else.
#[derive(Debug, Args)]
pub struct Binding {
    /// network filter binding port dev
    #[arg(value_name = "binding")]
    port: String,
}

/// Runs one of them.
pub async fn run(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    match verb {
        Verb::NwfilterDefine(file) => file.define(session).await,
        Verb::NwfilterDumpxml(filter) => filter.dumpxml(session).await,
        Verb::NwfilterEdit(filter) => filter.edit(session).await,
        Verb::NwfilterList => list(session).await,
        Verb::NwfilterUndefine(filter) => filter.undefine(session).await,
        Verb::NwfilterBindingCreate(file) => file.bind(session).await,
        Verb::NwfilterBindingDelete(binding) => binding.delete(session).await,
        Verb::NwfilterBindingDumpxml(binding) => binding.dumpxml(session).await,
        Verb::NwfilterBindingList => list_bindings(session).await,
    }
}

/// What failed on a filter or a binding, as virsh tells it; `what`: the act, if it is more than looking.
fn on<T>(outcome: Result<T, ClientError>, subject: &str, what: &str) -> Result<T, Failure> {
    outcome.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::from(error).below_what(format!("failed to get {subject}")),
        _ if what.is_empty() => Failure::from(error),
        _ => Failure::from(error).below_what(what.to_owned()),
    })
}

impl File {
    fn options(&self) -> NetworkFilterOptions {
        NetworkFilterOptions { validate: self.validate }
    }

    async fn define(self, session: &mut Session) -> Result<(), Failure> {
        let (xml, shown) = (read_file(&self.file)?, self.file.display());
        let view = session.client().await?.define_network_filter(&xml, &self.options()).await;
        let view = view.what(|| format!("Failed to define network filter from {shown}"))?;
        session.done(&view, |view| format!("Network filter {} defined from {shown}\n", view.name));
        Ok(())
    }

    async fn bind(self, session: &mut Session) -> Result<(), Failure> {
        let (xml, shown) = (read_file(&self.file)?, self.file.display());
        let bound = session.client().await?.create_network_filter_binding(&xml, &self.options()).await;
        let bound = bound.what(|| format!("Failed to create network filter from {shown}"))?;
        session
            .done(&bound, |bound| format!("Network filter binding on {} created from {shown}\n", bound.port));
        Ok(())
    }
}

impl Filter {
    fn subject(&self) -> String {
        format!("nwfilter '{}'", self.filter)
    }

    async fn dumpxml(self, session: &mut Session) -> Result<(), Failure> {
        let xml = session.client().await?.network_filter_xml(&self.filter).await;
        output::print(&on(xml, &self.subject(), "")?);
        Ok(())
    }

    async fn undefine(self, session: &mut Session) -> Result<(), Failure> {
        let what = format!("Failed to undefine network filter {}", self.filter);
        let gone = session.client().await?.undefine_network_filter(&self.filter).await;
        on(gone, &self.subject(), &what)?;
        session.say(&format!("Network filter {} undefined\n", self.filter));
        Ok(())
    }

    async fn edit(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let before = on(client.network_filter_xml(&self.filter).await, &self.subject(), "")?;
        let name = on(client.network_filter(&self.filter).await, &self.subject(), "")?.name;
        let document = Document { subject: format!("Network filter {name}"), name: &name, text: &before };
        let define = async |text: &str| {
            let defined = client.define_network_filter(text, &NetworkFilterOptions::default()).await;
            defined.what(|| format!("Failed to edit network filter {name}"))
        };
        if let Some(view) = document.edit(session, false, define).await? {
            session.say(&format!("Network filter {} XML configuration edited.\n", view.name));
        }
        Ok(())
    }
}

impl Binding {
    fn subject(&self) -> String {
        format!("nwfilter binding '{}'", self.port)
    }

    async fn dumpxml(self, session: &mut Session) -> Result<(), Failure> {
        let xml = session.client().await?.network_filter_binding_xml(&self.port).await;
        output::print(&on(xml, &self.subject(), "")?);
        Ok(())
    }

    async fn delete(self, session: &mut Session) -> Result<(), Failure> {
        let what = format!("Failed to delete network filter binding {}", self.port);
        let gone = session.client().await?.delete_network_filter_binding(&self.port).await;
        on(gone, &self.subject(), &what)?;
        session.say(&format!("Network filter binding on {} deleted\n", self.port));
        Ok(())
    }
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let filters = session.client().await?.network_filters().await;
    let filters = filters.what(|| "Failed to list network filters".to_owned())?;
    session.show(&filters, |filters| {
        let rows = filters.iter().map(|filter| vec![filter.uuid.to_string(), filter.name.clone()]);
        output::table(&["UUID", "Name"], &rows.collect::<Vec<_>>(), session.quiet())
    });
    Ok(())
}

async fn list_bindings(session: &mut Session) -> Result<(), Failure> {
    let bindings = session.client().await?.network_filter_bindings().await;
    let bindings = bindings.what(|| "Failed to list network filter bindings".to_owned())?;
    session.show(&bindings, |bindings| {
        let rows = bindings.iter().map(|bound| vec![bound.port.clone(), bound.filter.clone()]);
        output::table(&["Port Dev", "Filter"], &rows.collect::<Vec<_>>(), session.quiet())
    });
    Ok(())
}
