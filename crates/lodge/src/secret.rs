//! virsh's verbs on secrets.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};
use lodge_client::ClientError;
use lodge_client::api::{ErrorKind, SecretValue, SecretView};

use crate::changes::{SECRETS, Waiting};
use crate::domain::read_file;
use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

/// Longest value that libvirt's protocol takes, and its base64.
const VALUE_MAX_BYTES: u64 = 65_536;

/// virsh's verbs on secrets.
#[derive(Debug, Subcommand)]
#[command(rename_all = "kebab-case")]
#[allow(clippy::enum_variant_names, reason = "each is virsh's verb")]
pub enum Verb {
    /// define or modify a secret from an XML file
    SecretDefine(Define),
    /// secret attributes in XML
    SecretDumpxml(Secret),
    /// set a secret value
    SecretSetValue(SetValue),
    /// Output a secret value
    SecretGetValue(GetValue),
    /// undefine a secret
    SecretUndefine(Secret),
    /// list secrets
    SecretList(List),
    /// Secret Events
    SecretEvent(SecretEvents),
}

#[derive(Debug, Args)]
pub struct Define {
    /// file containing secret attributes in XML
    #[arg(value_name = "file")]
    file: PathBuf,
    /// validate the XML against the schema
    #[arg(long)]
    validate: bool,
}

/// A secret, and nothing else.
#[derive(Debug, Args)]
pub struct Secret {
    /// secret UUID
    #[arg(value_name = "secret")]
    secret: String,
}

#[derive(Debug, Args)]
pub struct SetValue {
    /// secret UUID
    #[arg(value_name = "secret")]
    secret: String,
    /// read secret from file
    #[arg(long, value_name = "string", conflicts_with_all = ["interactive", "base64"])]
    file: Option<PathBuf>,
    /// read the secret from file without converting from base64
    #[arg(long)]
    plain: bool,
    /// read the secret from the terminal
    #[arg(long, conflicts_with = "base64")]
    interactive: bool,
    /// base64-encoded secret value
    #[arg(long, value_name = "string")]
    base64: Option<String>,
    /// the value again: virsh takes it without --base64 too
    #[arg(value_name = "value", hide = true, conflicts_with_all = ["file", "interactive", "base64"])]
    value: Option<String>,
}

#[derive(Debug, Args)]
pub struct GetValue {
    /// secret UUID
    #[arg(value_name = "secret")]
    secret: String,
    /// get value without converting to base64
    #[arg(long)]
    plain: bool,
}

#[derive(Debug, Default, Args)]
pub struct List {
    /// list ephemeral secrets
    #[arg(long)]
    ephemeral: bool,
    /// list non-ephemeral secrets
    #[arg(long)]
    no_ephemeral: bool,
    /// list private secrets
    #[arg(long)]
    private: bool,
    /// list non-private secrets
    #[arg(long)]
    no_private: bool,
}

#[derive(Debug, Args)]
pub struct SecretEvents {
    /// filter by secret name or uuid
    #[arg(long, value_name = "string")]
    secret: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

/// Runs one of them.
pub async fn run(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    match verb {
        Verb::SecretDefine(verb) => verb.run(session).await,
        Verb::SecretDumpxml(verb) => verb.dumpxml(session).await,
        Verb::SecretSetValue(verb) => verb.run(session).await,
        Verb::SecretGetValue(verb) => verb.run(session).await,
        Verb::SecretUndefine(verb) => verb.undefine(session).await,
        Verb::SecretList(verb) => verb.run(session).await,
        Verb::SecretEvent(verb) => verb.run(session).await,
    }
}

/// What failed on a secret, as virsh tells it.
fn on_secret<T>(outcome: Result<T, ClientError>, secret: &str, what: &str) -> Result<T, Failure> {
    outcome.map_err(|error| match error.kind() {
        ErrorKind::NotFound if error.to_string().starts_with("no secret with matching") => {
            Failure::from(error).below_what(format!("failed to get secret '{secret}'"))
        }
        _ if what.is_empty() => Failure::from(error),
        _ => Failure::from(error).below_what(what.to_owned()),
    })
}

impl Define {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let xml = read_file(&self.file)?;
        if self.validate {
            let checked = lodge_model::secret::Secret::check_strict(&xml);
            let what = || format!("Failed to set attributes from {}", self.file.display());
            checked.map_err(|bad| invalid(bad.to_string()).below_what(what()))?;
        }
        let view = session.client().await?.define_secret(&xml).await;
        let view = view.what(|| format!("Failed to set attributes from {}", self.file.display()))?;
        session.done(&view, |view| format!("Secret {} created\n", view.uuid));
        Ok(())
    }
}

impl Secret {
    pub async fn dumpxml(self, session: &mut Session) -> Result<(), Failure> {
        let xml = session.client().await?.secret_xml(&self.secret).await;
        output::print(&on_secret(xml, &self.secret, "")?);
        Ok(())
    }

    pub async fn undefine(self, session: &mut Session) -> Result<(), Failure> {
        let what = format!("Failed to delete secret {}", self.secret);
        on_secret(session.client().await?.undefine_secret(&self.secret).await, &self.secret, &what)?;
        session.say(&format!("Secret {} deleted\n", self.secret));
        Ok(())
    }
}

impl SetValue {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        on_secret(client.secret(&self.secret).await, &self.secret, "")?;
        let base64 = self.base64(session)?;
        let set = client.set_secret_value(&self.secret, &SecretValue { base64 }).await;
        on_secret(set, &self.secret, "Failed to set secret value")?;
        session.say("Secret value set\n");
        Ok(())
    }

    /// The value, as it is sent.
    fn base64(&self, session: &Session) -> Result<String, Failure> {
        if self.plain && self.file.is_none() {
            return Err(invalid("Command 'secret-set-value' requires <file> option with --plain"));
        }
        if let Some(value) = self.base64.as_ref().or(self.value.as_ref()) {
            session.warn(&["Passing secret value as command-line argument is insecure!".to_owned()]);
            return Ok(value.clone());
        }
        if let Some(file) = &self.file {
            let bytes = read_bounded(file)?;
            if self.plain {
                return Ok(BASE64.encode(bytes));
            }
            return String::from_utf8(bytes).map_err(|_| invalid("Invalid base64 data"));
        }
        if self.interactive && !std::io::stdin().is_terminal() {
            return Err(invalid("secret-set-value --interactive needs a terminal; use --file for a file"));
        }
        if self.interactive {
            let typed = crate::terminal::hidden_line("Enter new value for secret: ");
            let typed = typed.map_err(|error| invalid(format!("Failed to read secret: {error}")))?;
            return Ok(BASE64.encode(typed));
        }
        Err(invalid("Input secret value is missing"))
    }
}

/// A file's bytes, not endlessly many.
fn read_bounded(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| invalid(format!("cannot read {}: {error}", file.display()));
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(failed)?;
    opened.take(VALUE_MAX_BYTES * 2).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

impl GetValue {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let value = session.client().await?.secret_value(&self.secret).await;
        let value = on_secret(value, &self.secret, "")?;
        if self.plain {
            use std::io::Write as _;
            let bytes = BASE64
                .decode(&value.base64)
                .map_err(|_| Failure::new(ErrorKind::Internal, "the daemon's answer is not base64"))?;
            return std::io::stdout()
                .lock()
                .write_all(&bytes)
                .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()));
        }
        session.show(&value, |value| format!("{}\n", value.base64));
        Ok(())
    }
}

impl List {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let secrets = session.client().await?.secrets().await;
        let mut secrets = secrets.what(|| "Failed to list secrets".to_owned())?;
        secrets.retain(|secret| self.admits(secret));
        session.show(&secrets, |secrets| table(secrets, session.quiet()));
        Ok(())
    }

    fn admits(&self, secret: &SecretView) -> bool {
        let either = |is: bool, yes: bool, no: bool| yes == no || is == yes;
        either(secret.ephemeral, self.ephemeral, self.no_ephemeral)
            && either(secret.private, self.private, self.no_private)
    }
}

fn table(secrets: &[SecretView], quiet: bool) -> String {
    let row = |secret: &SecretView| {
        let usage = match (&secret.usage_type, &secret.usage) {
            (Some(kind), Some(usage)) => format!("{kind} {usage}"),
            _ => "Unused".to_owned(),
        };
        vec![secret.uuid.to_string(), usage]
    };
    output::table(&["UUID", "Usage"], &secrets.iter().map(row).collect::<Vec<_>>(), quiet)
}

impl SecretEvents {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let only = match &self.secret {
            None => None,
            Some(secret) => {
                let view = session.client().await?.secret(secret).await;
                Some(on_secret(view, secret, "")?.uuid.to_string())
            }
        };
        self.waiting.run(&SECRETS, only, session).await
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_table_is_virshs() {
        let secret = |number: u128, usage: Option<&str>| SecretView {
            uuid: uuid::Uuid::from_u128(number),
            usage_type: usage.map(|_| "ceph".to_owned()),
            usage: usage.map(str::to_owned),
            description: None,
            ephemeral: false,
            private: number == 2,
        };
        let secrets = [secret(1, Some("client.admin")), secret(2, None)];
        expect![[r"
             UUID                                   Usage
            -----------------------------------------------------------
             00000000-0000-0000-0000-000000000001   ceph client.admin
             00000000-0000-0000-0000-000000000002   Unused
        "]]
        .assert_eq(&table(&secrets, false));
        let private = List { private: true, ..List::default() };
        assert!(private.admits(&secrets[1]) && !private.admits(&secrets[0]));
    }
}
