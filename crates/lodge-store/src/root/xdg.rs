//! A user's base directories, from the environment. The one place of this crate that reads it.

use std::path::PathBuf;

use super::RootError;

/// A user's base directories; see the XDG Base Directory Specification.
#[derive(Debug, Clone)]
pub struct Xdg {
    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    pub config: PathBuf,
    /// `$XDG_DATA_HOME`, else `~/.local/share`.
    pub data: PathBuf,
    /// `$XDG_CACHE_HOME`, else `~/.cache`.
    pub cache: PathBuf,
    /// `$XDG_STATE_HOME`, else `~/.local/state`.
    pub state: PathBuf,
    /// `$XDG_RUNTIME_DIR`, else a directory under the cache, as libvirt does.
    pub runtime: PathBuf,
}

impl Xdg {
    /// The directories the environment names. Relative paths are ignored, as the specification asks.
    pub fn from_env() -> Result<Self, RootError> {
        let var = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = var("HOME");
        let of_home = |variable: &str, below: &str| {
            var(variable).or_else(|| home.as_ref().map(|home| home.join(below))).ok_or(RootError::NoHome)
        };
        let cache = of_home("XDG_CACHE_HOME", ".cache")?;
        Ok(Self {
            config: of_home("XDG_CONFIG_HOME", ".config")?,
            data: of_home("XDG_DATA_HOME", ".local/share")?,
            state: of_home("XDG_STATE_HOME", ".local/state")?,
            // Where there is none, libvirt's clients look for a session's sockets in `~/.cache/libvirt`.
            runtime: var("XDG_RUNTIME_DIR").unwrap_or_else(|| cache.clone()),
            cache,
        })
    }
}
