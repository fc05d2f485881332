//! `template create list info rm`.

use clap::{Args, Subcommand};
use lodge_client::api::{ErrorKind, InsideState, TemplateSpec, TemplateView};

use super::keys::Keys;
use crate::failure::{Failure, What};
use crate::instance::progress;
use crate::output::{field, local_time, or_dash, size};
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a template of a domain that is shut off; the domain stays as it is
    Create(Create),
    /// List templates
    #[command(alias = "ls")]
    List,
    /// The facts of a template
    Info(Named),
    /// Remove templates that no disk stands on
    Rm(Rm),
}

#[derive(Debug, Args)]
pub struct Create {
    /// The domain's name, UUID or number
    #[arg(value_name = "DOMAIN")]
    domain: String,
    /// The template's name; one that is there gets a new version [default: the domain's]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    keys: Keys,
    /// Leave all inside as it is, and prove nothing: of what is no Linux, or to replace machines that are lost
    #[arg(long)]
    keep_identity: bool,
}

#[derive(Debug, Args)]
pub struct Named {
    /// NAME, NAME:VERSION, NAME:latest
    #[arg(value_name = "TEMPLATE")]
    template: String,
}

#[derive(Debug, Args)]
pub struct Rm {
    /// NAME, NAME:VERSION, NAME:latest
    #[arg(value_name = "TEMPLATE", required = true)]
    templates: Vec<String>,
}

impl Verb {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        match self {
            Self::Create(verb) => verb.run(session).await,
            Self::List => list(session).await,
            Self::Info(Named { template }) => {
                let view = session.client().await?.template(&template).await;
                let view = view.what(|| format!("failed to get template '{template}'"))?;
                session.show(&view, info);
                Ok(())
            }
            Self::Rm(Rm { templates }) => {
                let client = session.client().await?;
                for template in templates {
                    let removed = client.remove_template(&template).await;
                    removed.what(|| format!("Failed to remove template '{template}'"))?;
                    session.say(&format!("Template '{template}' removed\n"));
                }
                Ok(())
            }
        }
    }
}

impl Create {
    async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let spec = TemplateSpec {
            domain: self.domain.clone(),
            name: self.name,
            private_keys: self.keys.into(),
            keep_identity: self.keep_identity,
        };
        let job = client.create_template(&spec).await;
        let job = job.what(|| format!("Failed to make a template of '{}'", self.domain))?;
        let job = progress::follow(&client, job.id, session).await?;
        let view: TemplateView = serde_json::from_value(job.result.unwrap_or_default()).map_err(|error| {
            Failure::new(ErrorKind::Corrupt, "the job's result is no template").because(error)
        })?;
        session.warn(&view.warnings);
        let to_fill: Vec<String> = view
            .to_fill
            .iter()
            .map(|place| format!("to be filled in each machine made of it: {place}"))
            .collect();
        session.warn(&to_fill);
        session.done(&view, |view| {
            let (name, version) = (&view.name, view.version);
            format!("Template '{name}:{version}' made of '{}', {}\n", view.source, inside(view.inside))
        });
        Ok(())
    }
}

fn inside(state: InsideState) -> &'static str {
    match state {
        InsideState::Reset => "without any identity",
        InsideState::Kept | InsideState::NotReset => "its identity inside is still its source's",
    }
}

async fn list(session: &mut Session) -> Result<(), Failure> {
    let templates =
        session.client().await?.templates().await.what(|| "Failed to list templates".to_owned())?;
    session.show(&templates, |templates| {
        let row = |view: &TemplateView| {
            vec![
                view.name.clone(),
                view.version.to_string(),
                view.source.clone(),
                size(view.size_bytes),
                local_time(view.created_ms),
                view.used_by.len().to_string(),
            ]
        };
        let rows: Vec<_> = templates.iter().map(row).collect();
        session.table(&["Name", "Version", "Made of", "On host", "Made", "Used by"], &rows)
    });
    Ok(())
}

fn info(view: &TemplateView) -> String {
    let mut text = String::new();
    field(&mut text, "Name", &view.name);
    field(&mut text, "Version", view.version);
    field(&mut text, "Made of", &view.source);
    field(&mut text, "Made", local_time(view.created_ms));
    for (target, path) in &view.disks {
        field(&mut text, "Disk", format!("{target} {path}"));
    }
    field(&mut text, "NVRAM", or_dash(view.nvram.as_ref()));
    field(&mut text, "On host", size(view.size_bytes));
    field(&mut text, "Inside", inside(view.inside));
    field(&mut text, "Used by", or_dash((!view.used_by.is_empty()).then(|| view.used_by.join(", "))));
    for change in &view.changes {
        field(&mut text, "Taken out", format!("{} {}", change.item, change.place));
    }
    for place in &view.to_fill {
        field(&mut text, "To fill", place);
    }
    for warning in &view.warnings {
        field(&mut text, "Warning", warning);
    }
    text
}
