//! What is said of a domain: `desc`, `metadata`; and its name: `domrename`.

use clap::Args;
use lodge_client::api::{ChangeScope, DomainChange, XmlOptions};
use lodge_model::domain::Domain;

use super::edit::edit_text;
use super::scope::{Scope, change};
use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Desc {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// modify/get the title instead of description
    #[arg(long)]
    title: bool,
    /// open an editor to modify the description
    #[arg(long)]
    edit: bool,
    /// message
    #[arg(value_name = "new-desc")]
    words: Vec<String>,
    #[command(flatten)]
    scope: Scope,
}

impl Desc {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (client, dom, scope) = (session.client().await?, &self.domain, self.scope.asked());
        let what = if self.title { "title" } else { "description" };
        let given = (!self.words.is_empty()).then(|| self.words.join(" "));
        if given.is_some() && !self.edit {
            let to = self.change(given);
            change(&client, dom, scope, &to, &format!("Failed to set new domain {what}")).await?;
            session.say(&format!("Domain {what} updated successfully\n"));
            return Ok(());
        }
        let view = client.domain(dom).await.on_domain(dom, "")?;
        let document = document(session, dom, scope).await?;
        let before = if self.title { document.title } else { document.description }.unwrap_or_default();
        if !self.edit {
            match before.as_str() {
                "" => session.say(&format!("No {what} for domain: {}\n", view.name)),
                text => output::print(&format!("{text}\n")),
            }
            return Ok(());
        }
        let edited = edit_text(&view.name, &given.unwrap_or_else(|| before.clone()))?;
        let edited = edited.trim_end_matches('\n');
        if edited == before {
            session.say(&format!("Domain {what} not changed\n"));
            return Ok(());
        }
        let to = self.change(Some(edited.to_owned()));
        change(&client, dom, scope, &to, &format!("Failed to set new domain {what}")).await?;
        session.say(&format!("Domain {what} updated successfully\n"));
        Ok(())
    }

    fn change(&self, text: Option<String>) -> DomainChange {
        if self.title { DomainChange::Title { text } } else { DomainChange::Description { text } }
    }
}

#[derive(Debug, Args)]
pub struct Metadata {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// URI of the namespace
    #[arg(value_name = "uri")]
    uri: String,
    /// use an editor to change the metadata
    #[arg(long)]
    edit: bool,
    /// key to be used as a namespace identifier
    #[arg(long, value_name = "string")]
    key: Option<String>,
    /// new metadata to set
    #[arg(long, value_name = "string", conflicts_with_all = ["edit", "remove"])]
    set: Option<String>,
    /// remove the metadata corresponding to an uri
    #[arg(long, conflicts_with = "edit")]
    remove: bool,
    #[command(flatten)]
    scope: Scope,
}

impl Metadata {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (client, dom, scope) = (session.client().await?, &self.domain, self.scope.asked());
        if (self.set.is_some() || self.edit) && self.key.is_none() {
            return Err(invalid("namespace key is required when modifying metadata"));
        }
        if self.remove || self.set.is_some() {
            let to = self.change(self.set.clone());
            change(&client, dom, scope, &to, "").await?;
            session.say(if self.remove { "Metadata removed\n" } else { "Metadata modified\n" });
            return Ok(());
        }
        let name = client.domain(dom).await.on_domain(dom, "")?.name;
        let before = document(session, dom, scope).await?.metadata_element(&self.uri);
        if !self.edit {
            output::print(&format!("{}\n", before.unwrap_or_default().trim_end()));
            return Ok(());
        }
        let before = before.unwrap_or_default();
        let edited = edit_text(&name, &before)?;
        if edited.trim() == before.trim() {
            session.say("Metadata not changed\n");
            return Ok(());
        }
        change(&client, dom, scope, &self.change(Some(edited.trim().to_owned())), "").await?;
        session.say("Metadata modified\n");
        Ok(())
    }

    fn change(&self, xml: Option<String>) -> DomainChange {
        DomainChange::Metadata { uri: self.uri.clone(), key: self.key.clone(), xml }
    }
}

#[derive(Debug, Args)]
pub struct Domrename {
    /// domain name or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// new domain name
    #[arg(value_name = "new-name")]
    new_name: String,
}

impl Domrename {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let to = DomainChange::Name { name: self.new_name };
        let view = change(&client, &self.domain, ChangeScope::default(), &to, "").await?;
        session.done(&view, |_| "Domain successfully renamed\n".to_owned());
        Ok(())
    }
}

/// The document that the scope means: the running guest's, or the definition.
async fn document(session: &mut Session, dom: &str, scope: ChangeScope) -> Result<Domain, Failure> {
    let client = session.client().await?;
    if scope.live && !client.domain(dom).await.on_domain(dom, "")?.state.is_active() {
        return Err(invalid("Requested operation is not valid: domain is not running"));
    }
    let options = XmlOptions { inactive: scope.config, ..XmlOptions::default() };
    let xml = client.domain_xml(dom, &options).await.on_domain(dom, "")?;
    Domain::parse(&xml)
        .map_err(|faults| invalid(format!("the daemon's document is not understood: {faults}")))
}
