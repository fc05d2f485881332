//! To a running guest: `send-key`, `screenshot`, `domtime`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use lodge_client::api::{ChangeScope, DomainChange, ErrorKind, GuestTime, KeyCodes};

use super::keys;
use super::scope::change;
use crate::failure::{Failure, What, invalid};
use crate::output;
use crate::session::Session;

#[derive(Debug, Args)]
pub struct SendKey {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// the codeset of keycodes, default:linux
    #[arg(long, value_name = "string")]
    codeset: Option<String>,
    /// the time (in milliseconds) how long the keys will be held
    #[arg(long, value_name = "number", default_value_t = 0, hide_default_value = true)]
    holdtime: u32,
    /// the key code
    #[arg(value_name = "keycode", required = true)]
    keys: Vec<String>,
}

impl SendKey {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let codeset = match self.codeset.as_deref() {
            None | Some("linux") => KeyCodes::Linux,
            Some("xt") => KeyCodes::Xt,
            Some("atset1") => KeyCodes::Atset1,
            Some("usb") => KeyCodes::Usb,
            Some("qnum" | "rfb") => KeyCodes::Qnum,
            Some(known @ ("atset2" | "atset3" | "os_x" | "xt_kbd" | "win32")) => {
                return Err(Failure::new(
                    ErrorKind::Unsupported,
                    format!("codeset {known} is not supported"),
                )
                .hint("linux, xt, atset1, usb and qnum are"));
            }
            Some(other) => return Err(invalid(format!("unknown codeset: '{other}'"))),
        };
        let code = |word: &String| {
            let named = || (codeset == KeyCodes::Linux).then(|| keys::linux(word)).flatten();
            let code = number(word).or_else(named);
            code.ok_or_else(|| invalid(format!("invalid keycode: '{word}'")))
        };
        let codes = self.keys.iter().map(code).collect::<Result<Vec<u32>, _>>()?;
        let to = DomainChange::Keys { codeset, codes, hold_ms: self.holdtime };
        change(&session.client().await?, &self.domain, ChangeScope::default(), &to, "").await.map(drop)
    }
}

/// A number as C writes it.
fn number(word: &str) -> Option<u32> {
    let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

#[derive(Debug, Args)]
pub struct Screenshot {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// where to store the screenshot
    #[arg(value_name = "file")]
    file: Option<PathBuf>,
    /// ID of a screen to take screenshot of
    #[arg(long, value_name = "number", default_value_t = 0, hide_default_value = true)]
    screen: u32,
}

impl Screenshot {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let (client, dom) = (session.client().await?, &self.domain);
        let name = client.domain(dom).await.on_domain(dom, "")?.name;
        let picture = client.domain_screenshot(dom, self.screen).await;
        let picture = picture.what(|| format!("could not take a screenshot of {name}"))?;
        let (mime, ending) = if picture.starts_with(b"\x89PNG") {
            ("image/png", "png")
        } else {
            ("image/x-portable-pixmap", "ppm")
        };
        let file = self.file.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let stamp = output::local_time(now.as_millis().try_into().unwrap_or(u64::MAX)).replace(' ', "-");
            format!("{name}-{stamp}.{ending}").into()
        });
        std::fs::write(&file, &picture).map_err(|error| {
            Failure::new(ErrorKind::Internal, format!("cannot create file {}", file.display())).because(error)
        })?;
        session.say(&format!("Screenshot saved to {}, with type of {mime}\n", file.display()));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct Domtime {
    /// domain name, id or uuid
    #[arg(value_name = "domain")]
    domain: String,
    /// set to the time of the host running virsh
    #[arg(long, conflicts_with_all = ["sync", "time"])]
    now: bool,
    /// print domain's time in human readable form
    #[arg(long)]
    pretty: bool,
    /// instead of setting given time, synchronize from domain's RTC
    #[arg(long, conflicts_with = "time")]
    sync: bool,
    /// time to set
    #[arg(long, value_name = "number", allow_negative_numbers = true)]
    time: Option<i64>,
}

impl Domtime {
    pub async fn run(self, session: &mut Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let given = self.time.map(|seconds| GuestTime { seconds, nanoseconds: 0 });
        let now = || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            GuestTime { seconds, nanoseconds: now.subsec_nanos() }
        };
        if self.now || self.sync || given.is_some() {
            let to = DomainChange::Time { time: if self.now { Some(now()) } else { given } };
            return change(&client, &self.domain, ChangeScope::default(), &to, "").await.map(drop);
        }
        let time = client.domain_time(&self.domain).await.on_domain(&self.domain, "")?;
        session.show(&time, |time| {
            let shown = match u64::try_from(time.seconds) {
                Ok(seconds) if self.pretty => output::local_time(seconds.saturating_mul(1000)),
                _ => time.seconds.to_string(),
            };
            format!("Time: {shown}\n")
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbers_or_the_kernels_names() {
        assert_eq!((number("30"), number("0x1e"), number("KEY_A")), (Some(30), Some(30), None));
        assert_eq!(keys::linux("KEY_A"), Some(30));
        assert_eq!(keys::linux("KEY_LEFTCTRL"), Some(29));
        assert_eq!(keys::linux("KEY_NONSENSE"), None);
    }
}
