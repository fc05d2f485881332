//! `<fs:mount_opts>`: mount options a document adds. Pure.

use lodge_model::storage::Pool;

use crate::pool::error::PoolError;

/// The options, by their names, as libvirt orders them.
pub(crate) fn wanted(pool: &Pool) -> Result<Vec<String>, PoolError> {
    let judge = |option: Option<String>| match option {
        // A comma would begin an option of its own, and is thus one.
        Some(name) if !name.is_empty() && !name.contains(char::is_whitespace) => Ok(name),
        Some(name) => {
            Err(PoolError::Document(format!("mount option '{name}' is empty or has a blank in it")))
        }
        None => Err(PoolError::Document("no fs mount option name specified".to_owned())),
    };
    let mut options = pool.mount_options().into_iter().map(judge).collect::<Result<Vec<_>, _>>()?;
    options.sort();
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(inner: &str) -> Result<Vec<String>, String> {
        let text = format!(
            "<pool type='fs' xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0'><name>a</name>{inner}</pool>"
        );
        wanted(&Pool::parse(&text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_read_and_sorted() {
        let found =
            options("<fs:mount_opts><fs:option name='sync'/><fs:option name='lazytime'/></fs:mount_opts>");
        assert_eq!(found.unwrap(), ["lazytime", "sync"]);
        assert!(options("").unwrap().is_empty());
        let found = options("<fs:mount_opts><fs:option/></fs:mount_opts>");
        assert_eq!(found.unwrap_err(), "no fs mount option name specified");
    }
}
