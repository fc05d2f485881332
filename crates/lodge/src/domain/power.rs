//! On, off and between: `start destroy shutdown reboot reset suspend resume autostart`, and why not `migrate`.

use clap::Args;
use lodge_client::api::{DestroyOptions, ErrorKind, PowerMode, PowerOptions, StartOptions};

use crate::failure::{Failure, What, invalid};
use crate::session::Session;

#[derive(Debug, Args)]
pub struct Start {
    /// name of the inactive domain
    #[arg(value_name = "domain")]
    domain: String,
    /// attach to console after creation
    #[arg(long)]
    console: bool,
    /// leave the guest paused after creation
    #[arg(long)]
    paused: bool,
    /// automatically destroy the guest when virsh disconnects
    #[arg(long)]
    autodestroy: bool,
    /// avoid file system cache when loading
    #[arg(long)]
    bypass_cache: bool,
    /// force fresh boot by discarding any managed save
    #[arg(long)]
    force_boot: bool,
}

impl Start {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (client, dom) = (session.client().await?, &self.domain);
        let before = client.domain(dom).await.on_domain(dom, "")?;
        if before.state.is_active() {
            return Err(Failure::new(ErrorKind::InvalidState, "Domain is already active"));
        }
        let options = StartOptions {
            paused: self.paused,
            force_boot: self.force_boot,
            bypass_cache: self.bypass_cache,
            autodestroy: self.autodestroy,
        };
        let view = client.start_domain(dom, &options).await.on_domain(&before.name, "start")?;
        session.warn(&view.warnings);
        session.done(&view, |view| format!("Domain '{}' started\n", view.name));
        if self.console {
            return super::attach(&view.name, false, session).await;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Destroy {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// terminate gracefully
    #[arg(long)]
    graceful: bool,
}

impl Destroy {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (client, dom) = (session.client().await?, &self.domain);
        let options = DestroyOptions { graceful: self.graceful };
        let view = client.destroy_domain(dom, &options).await.on_domain(dom, "destroy")?;
        session.done(&view, |view| format!("Domain '{}' destroyed\n", view.name));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Shutdown {
    #[command(flatten)]
    asked: Asked,
}

impl Shutdown {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (options, dom) = (self.asked.options()?, &self.asked.domain);
        let view = session.client().await?.shutdown_domain(dom, &options).await.on_domain(dom, "shutdown")?;
        session.done(&view, |view| format!("Domain '{}' is being shutdown\n", view.name));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Reboot {
    #[command(flatten)]
    asked: Asked,
}

impl Reboot {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (options, dom) = (self.asked.options()?, &self.asked.domain);
        let view = session.client().await?.reboot_domain(dom, &options).await.on_domain(dom, "reboot")?;
        session.done(&view, |view| format!("Domain '{}' is being rebooted\n", view.name));
        Ok(())
    }
}

/// What `shutdown` and `reboot` take.
#[derive(Debug, Args)]
struct Asked {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// shutdown mode: acpi|agent, or several with commas between, tried in turn
    #[arg(long, value_name = "string")]
    mode: Option<String>,
}

impl Asked {
    fn options(&self) -> Result<PowerOptions, Failure> {
        let words = self.mode.iter().flat_map(|modes| modes.split(','));
        let mode = words.map(|word| match word {
            "acpi" => Ok(PowerMode::Acpi),
            "agent" => Ok(PowerMode::Agent),
            "initctl" | "signal" | "paravirt" => {
                Err(Failure::new(ErrorKind::Unsupported, format!("mode {word} is for containers and Xen"))
                    .hint("use --mode acpi or --mode agent"))
            }
            _ => Err(invalid(format!(
                "Unknown mode {word} value, expecting 'acpi', 'agent', 'initctl', 'signal', or 'paravirt'"
            ))),
        });
        Ok(PowerOptions { mode: mode.collect::<Result<_, _>>()? })
    }
}

pub async fn reset(dom: &str, session: &mut Session) -> Result<(), Failure> {
    let view = session.client().await?.reset_domain(dom).await.on_domain(dom, "reset")?;
    session.done(&view, |view| format!("Domain '{}' was reset\n", view.name));
    Ok(())
}

pub async fn suspend(dom: &str, session: &mut Session) -> Result<(), Failure> {
    let view = session.client().await?.suspend_domain(dom).await.on_domain(dom, "suspend")?;
    session.done(&view, |view| format!("Domain '{}' suspended\n", view.name));
    Ok(())
}

pub async fn resume(dom: &str, session: &mut Session) -> Result<(), Failure> {
    let view = session.client().await?.resume_domain(dom).await.on_domain(dom, "resume")?;
    session.done(&view, |view| format!("Domain '{}' resumed\n", view.name));
    Ok(())
}

#[derive(Debug, Args)]
pub struct Autostart {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// disable autostarting
    #[arg(long)]
    disable: bool,
}

impl Autostart {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (client, dom) = (session.client().await?, &self.domain);
        let (done, act) = if self.disable {
            ("unmarked as autostarted", "unmark as autostarted")
        } else {
            ("marked as autostarted", "mark as autostarted")
        };
        let view = client.autostart_domain(dom, !self.disable).await.on_domain(dom, act)?;
        session.done(&view, |view| format!("Domain '{}' {done}\n", view.name));
        Ok(())
    }
}

/// virsh has this verb and Lodge does not yet: whatever its options, the answer is one.
#[derive(Debug, Args)]
pub struct Migrate {
    /// domain name, id or uuid, the destination's URI, and virsh's options
    #[arg(value_name = "domain", trailing_var_arg = true, allow_hyphen_values = true)]
    domain: Vec<String>,
}

impl Migrate {
    pub fn run(self) -> Result<(), Failure> {
        let dom = self.domain.iter().find(|word| !word.starts_with('-')).map_or("NAME", String::as_str);
        Err(Failure::new(ErrorKind::Unsupported, "migrate: Lodge does not move running guests to another host yet").hint(
            format!(
                "move it stopped: `lodge shutdown {dom}`, `lodge dumpxml --inactive --security-info {dom}`, copy that and \
                 the disks (`lodge domblklist {dom}`) to the other host, and `lodge define` it there"
            ),
        ))
    }
}
