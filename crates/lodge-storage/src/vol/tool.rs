//! Other programs that read or write images: `qemu-img`, `scrub`.
//!
//! They may meet bytes a guest wrote, so they are shut in: an empty root with `/usr` and just the files they need,
//! no network, no capability but the one to open others' files, an empty environment. An image that names other
//! files finds none.

use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use crate::pool::error::PoolError;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The last bytes kept of what a tool said.
const WORDS_BYTES: usize = 4000;

/// Makes the root, then becomes the tool. `$1` is the number of files, each given as `ro:PATH` or `rw:PATH`.
const SHUT_IN: &str = r#"
set -e
root=/mnt
mount -t tmpfs -o mode=0755 none $root
for dir in usr lib lib64 bin sbin etc/alternatives; do
    if [ -L /$dir ]; then ln -s "$(readlink /$dir)" $root/$dir
    elif [ -d /$dir ]; then mkdir -p $root/$dir; mount --bind /$dir $root/$dir; mount -o remount,ro,bind $root/$dir
    fi
done
mkdir -p $root/dev $root/proc $root/etc
[ ! -e /etc/ld.so.cache ] || cp /etc/ld.so.cache $root/etc/
for node in null zero urandom; do touch $root/dev/$node; mount --bind /dev/$node $root/dev/$node; done
count=$1; shift
while [ $count -gt 0 ]; do
    file=${1#*:}
    mkdir -p "$root$(dirname "$file")"
    [ -e "$root$file" ] || touch "$root$file"
    mount --bind "$file" "$root$file"
    case $1 in ro:*) mount -o remount,ro,bind "$root$file";; esac
    count=$((count - 1)); shift
done
exec chroot $root setpriv --no-new-privs --bounding-set=-all,+dac_override,+fowner --inh-caps=-all "$@"
"#;

/// One run of a tool.
#[derive(Debug)]
pub(crate) struct Run {
    program: &'static str,
    args: Vec<OsString>,
    files: Vec<OsString>,
    /// A path, and what stands for it in messages.
    said: Option<(String, String)>,
}

impl Run {
    pub fn new(program: &'static str) -> Self {
        Self { program, args: Vec::new(), files: Vec::new(), said: None }
    }

    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// A file the tool may read.
    pub fn reads(self, path: &Path) -> Self {
        self.file("ro:", path)
    }

    /// A file the tool may write.
    pub fn writes(self, path: &Path) -> Self {
        self.file("rw:", path)
    }

    /// Messages say `path` for a file that has another name so far.
    pub fn said_as(mut self, now: &Path, path: &Path) -> Self {
        self.said = Some((now.display().to_string(), path.display().to_string()));
        self
    }

    fn file(mut self, how: &str, path: &Path) -> Self {
        let mut file = OsString::from(how);
        file.push(path);
        self.files.push(file);
        self
    }

    /// Runs it to its end; dropping the future kills it.
    pub async fn run(self) -> Result<(), PoolError> {
        let program = find(self.program)?;
        let words: Vec<_> = self.args.iter().map(|arg| arg.to_string_lossy()).collect();
        let command = format!("{} {}", program.display(), words.join(" "));
        let mut child = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            child.args(["--user", "--map-root-user"]);
        }
        child
            .args([
                "--mount",
                "--net",
                "--ipc",
                "--uts",
                "--pid",
                "--fork",
                "--kill-child",
                "--propagation",
                "private",
            ])
            .args(["sh", "-c", SHUT_IN, "sh"])
            .arg(self.files.len().to_string())
            .args(&self.files)
            .arg(&program)
            .args(&self.args)
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let failed = |source| PoolError::system(format!("cannot run '{}'", program.display()), source);
        let output = child.spawn().map_err(failed)?.wait_with_output().await.map_err(failed)?;
        if output.status.success() {
            return Ok(());
        }
        let ending = match (output.status.code(), output.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => format!("fatal signal {}", signal.unwrap_or_default()),
        };
        let from = output.stderr.len().saturating_sub(WORDS_BYTES);
        let words = String::from_utf8_lossy(&output.stderr[from..]).trim_end().to_owned();
        let said = |text: String| match &self.said {
            Some((now, path)) => text.replace(now, path),
            None => text,
        };
        Err(PoolError::Tool { command: said(command), ending, words: said(words) })
    }
}

/// Where a program is.
fn find(program: &str) -> Result<PathBuf, PoolError> {
    let mut places = PATH.split(':').map(|dir| Path::new(dir).join(program));
    places.find(|path| path.exists()).ok_or_else(|| {
        PoolError::system(format!("Cannot find '{program}' in path"), rustix::io::Errno::NOENT)
    })
}
