//! Which names a definition's file can have.

/// What a name is refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// It has no characters.
    #[error("it is empty")]
    Empty,
    /// `.` or `..`.
    #[error("it means a directory")]
    Directory,
    /// A `/`.
    #[error("it contains a slash")]
    Slash,
    /// A control character, newline and NUL included.
    #[error("it contains a control character")]
    Control,
    /// A leading `.lodge-tmp.`.
    #[error("it begins like our temporary files")]
    Temporary,
    /// More than fits a file's name with `.xml`.
    #[error("it is longer than {NAME_MAX_BYTES} bytes")]
    Long,
}

/// The longest name: NAME_MAX less `.xml`, and less libvirt's own suffix of files being written (`.new`).
pub const NAME_MAX_BYTES: usize = 255 - ".xml.new".len();

/// Says whether `name` can be a definition's.
pub fn check(name: &str) -> Result<(), NameFault> {
    if name.is_empty() {
        Err(NameFault::Empty)
    } else if matches!(name, "." | "..") {
        Err(NameFault::Directory)
    } else if name.contains('/') {
        Err(NameFault::Slash)
    } else if name.chars().any(char::is_control) {
        Err(NameFault::Control)
    } else if name.starts_with(lodge_sys::fs::TEMP_PREFIX) {
        Err(NameFault::Temporary)
    } else if name.len() > NAME_MAX_BYTES {
        Err(NameFault::Long)
    } else {
        Ok(())
    }
}
