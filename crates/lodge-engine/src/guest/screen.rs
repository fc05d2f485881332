//! Screens: a picture of one, and a connection to one.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use lodge_domain::control::{Refusal, Sort};
use lodge_model::domain::graphics::GraphicsKind;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{Guest, Look};

/// A picture of a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// `image/png`, or `image/x-portable-pixmap` of an old QEMU.
    pub mime: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The largest picture taken.
const PICTURE_MAX: u64 = 64 << 20;

impl Guest {
    /// A picture of the screen with this number.
    #[crate::boxed]
    pub async fn screenshot(&self, screen: u32) -> Look<Picture> {
        self.must_run()?;
        let document = self.document()?;
        // One head per video device, except where it says otherwise.
        let mut heads = Vec::new();
        for video in &document.devices.videos {
            let alias = video.place.alias.as_ref().map(|alias| alias.name.clone());
            let count = video.model.as_ref().and_then(|model| model.heads).unwrap_or(1).max(1);
            heads.extend((0..count).map(|head| (alias.clone(), head)));
        }
        if heads.is_empty() {
            return Err(Refusal::invalid("no screens to take screenshot from"));
        }
        let (alias, head) =
            heads.get(screen as usize).cloned().ok_or_else(|| Refusal::invalid("no such screen ID"))?;
        let png = self.engine.capabilities.version.at_least(7, 1);
        let bytes = self
            .written_by_qemu(PICTURE_MAX, |scratch| async move {
                let mut arguments = json!({ "filename": scratch.set });
                if png {
                    arguments["format"] = json!("png");
                }
                if let Some(alias) = alias.filter(|_| screen > 0) {
                    arguments["device"] = json!(alias);
                    arguments["head"] = json!(head);
                }
                self.ask::<IgnoredAny>("screendump", arguments).await.map(drop)
            })
            .await?;
        Ok(Picture { mime: if png { "image/png" } else { "image/x-portable-pixmap" }, bytes })
    }

    /// Gives QEMU one end of a connection to its screen; `fd` is that end.
    #[crate::boxed]
    pub async fn open_graphics(&self, index: u32, fd: OwnedFd, skip_auth: bool) -> Look<()> {
        self.must_run()?;
        let document = self.document()?;
        let screen = document.devices.graphics.get(index as usize);
        let screen =
            screen.ok_or_else(|| Refusal::internal(format!("No graphics backend with index {index}")))?;
        // A screen served otherwise than written shows as what it is, in the live document.
        let protocol = match screen.kind {
            GraphicsKind::Vnc => "vnc",
            GraphicsKind::Spice => "spice",
            GraphicsKind::Dbus => "@dbus-display",
            kind => {
                let text = format!("Can only open VNC, SPICE or D-Bus graphics backends, not {kind}");
                return Err(Refusal::new(Sort::InvalidArg, text));
            }
        };
        let monitor = self.monitor()?;
        let name = "lodge-graphicsfd";
        monitor.give_fd(name, fd).await?;
        let arguments = json!({ "protocol": protocol, "fdname": name, "skipauth": skip_auth });
        let added: Result<IgnoredAny, _> = monitor.execute("add_client", arguments).await;
        if let Err(error) = added {
            if let Err(error) = monitor.close_fd(name).await {
                tracing::debug!(%error, "a descriptor was not taken back from QEMU");
            }
            return Err(error.into());
        }
        Ok(())
    }

    /// A connection to its screen.
    #[crate::boxed]
    pub async fn graphics_connection(&self, index: u32, skip_auth: bool) -> Look<OwnedFd> {
        self.must_run()?;
        let (ours, theirs) = UnixStream::pair().map_err(|error| {
            Refusal::new(Sort::System(error.raw_os_error().unwrap_or(0)), error.to_string())
        })?;
        self.open_graphics(index, theirs.into(), skip_auth).await?;
        Ok(ours.into())
    }
}
