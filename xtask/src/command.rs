//! Running other programs, and reading our own arguments: one way to say what failed.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};

/// The checkout's top directory.
pub fn workspace() -> PathBuf {
    let xtask = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map(PathBuf::from).unwrap_or(xtask)
}

/// The cargo that started us.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// Runs `command` with our own output; an exit code other than 0 is an error that names it.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// Runs `command` and gives its standard output; on failure the error holds its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}\n{}", String::from_utf8_lossy(&stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Whether a program of this name is on the path.
pub fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .any(|directory| directory.join(program).is_file())
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Whether these arguments ask for help.
pub fn asks_help(args: &[String]) -> bool {
    args.iter().any(|arg| arg == "--help" || arg == "-h")
}

/// The arguments apart: options, each one of `known`, and the others, at most `names_max` of them.
pub fn words<'a>(
    args: &'a [String],
    known: &[&str],
    names_max: usize,
) -> Result<(Vec<&'a str>, Vec<&'a str>)> {
    let (options, names): (Vec<&str>, Vec<&str>) =
        args.iter().map(String::as_str).partition(|arg| arg.starts_with('-'));
    if let Some(unknown) = options.iter().find(|option| !known.contains(option)) {
        match known {
            [] => bail!("there is no option `{unknown}`; this command takes none"),
            known => bail!("there is no option `{unknown}`; there are: {}", known.join(", ")),
        }
    }
    if let Some(over) = names.get(names_max) {
        bail!("`{over}` is one argument too many");
    }
    Ok((options, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(args: &[&str], names_max: usize) -> Result<(usize, usize), String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let split =
            words(&args, &["--peers"], names_max).map(|(options, names)| (options.len(), names.len()));
        split.map_err(|error| error.to_string())
    }

    #[test]
    fn unknown_options_and_too_many_names_are_refused_by_name() {
        assert_eq!(split(&["start", "--peers", "dhcp"], usize::MAX), Ok((1, 2)));
        assert_eq!(
            split(&["--peer"], usize::MAX).unwrap_err(),
            "there is no option `--peer`; there are: --peers"
        );
        assert_eq!(split(&["one", "two"], 1).unwrap_err(), "`two` is one argument too many");
    }
}
