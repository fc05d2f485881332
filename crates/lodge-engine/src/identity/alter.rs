//! Edits of the catalogue's plan in a guest that runs, by a shell that its agent starts; and its randomness.
//!
//! The shell reads what it is to do from its input, so that no key stands in the guest's list of processes. Each file comes
//! whole: a new one beside it takes its place. What was done is not believed: it is read again.

use std::{fmt::Write as _, time::Duration};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use lodge_model::guest_disk::{Edit, FileEdit, FilePath, Owner};
use lodge_qemu::agent::{Agent, AgentError};

/// Bytes of the host's randomness that a guest gets.
const SEED_BYTES: usize = 64;

/// Gives the kernel what it reads, makes it count, and lets it begin anew from that: the calls of random(4), of which a
/// shell has none. Debian has perl always, others python. Else it is stirred in and counts when the kernel next looks.
const RESEED: &str = r#"[ -d /sys/bus/acpi/drivers/vmgenid ] && ls /sys/bus/acpi/drivers/vmgenid | grep -q : && echo genid
if command -v perl >/dev/null 2>&1; then
exec perl -e 'local $/; my $d = <STDIN>; open(my $f, "+<", "/dev/random") or die "$!\n";
ioctl($f, 0x40085203, pack("iia*", 8 * length $d, length $d, $d)) or die "$!\n";
ioctl($f, 0x5207, 0) or die "$!\n"; print "reseeded\n";'
fi
for p in python3 python; do command -v $p >/dev/null 2>&1 && exec $p -c 'import fcntl,struct,sys
d=getattr(sys.stdin,"buffer",sys.stdin).read()
f=open("/dev/random","r+b",0)
fcntl.ioctl(f,0x40085203,struct.pack("ii",8*len(d),len(d))+d)
fcntl.ioctl(f,0x5207)
print("reseeded")'; done
cat >/dev/urandom && echo stirred"#;

/// What became of a guest's randomness.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reseeded {
    /// The kernel has begun anew from the host's.
    pub anew: bool,
    /// It is mixed in, and counts in a while.
    pub stirred: bool,
    /// The kernel listens to the VM generation id.
    pub hears_generation: bool,
}

/// Gives the guest's kernel randomness that no other guest has.
pub(crate) async fn reseed(agent: &Agent, patience: Duration) -> Result<Reseeded, AgentError> {
    let mut seed = [0; SEED_BYTES];
    if let Err(error) = std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut seed))
    {
        return Err(AgentError::Malformed {
            command: "guest-exec".to_owned(),
            reason: format!("the host's /dev/urandom cannot be read: {error}"),
        });
    }
    let ran = agent.run_with("/bin/sh", &["-c", RESEED], &seed, patience).await?;
    let said = String::from_utf8_lossy(&ran.stdout);
    let has = |word: &str| said.lines().any(|line| line == word);
    if ran.exit_code != Some(0) {
        let said: String = String::from_utf8_lossy(&ran.stderr).escape_debug().take(200).collect();
        tracing::debug!(said, "a guest's randomness was not renewed by its own tools");
    }
    Ok(Reseeded { anew: has("reseeded"), stirred: has("stirred"), hears_generation: has("genid") })
}

/// What does the edits, for a shell's input; and the changes whose paths a shell cannot be told.
pub(crate) fn script(edits: &[Edit]) -> (String, Vec<String>) {
    let mut text = String::from(PREAMBLE);
    let mut passed_over = Vec::new();
    for edit in edits {
        let Edit::File(edit) = edit else {
            passed_over.push("a device".to_owned());
            continue;
        };
        let path = edit.path();
        let Some(name) = sayable(path) else {
            passed_over.push(path.to_string());
            continue;
        };
        // A String takes all.
        let _ = match edit {
            FileEdit::Write { bytes, owner, .. } => {
                let owner = owner.map_or_else(String::new, shown);
                writeln!(text, "put {name} '{owner}' <<'END'\n{}END", base64_lines(bytes))
            }
            FileEdit::Directory { owner, .. } => {
                let owner = owner.map_or_else(|| "0:0 755".to_owned(), shown);
                writeln!(text, "put_directory {name} '{owner}'")
            }
            FileEdit::Own { owner, .. } => writeln!(text, "give {name} '{}'", shown(*owner)),
            // What is large, and read before anything of a system runs, is changed while it does not.
            FileEdit::Append { .. } => {
                passed_over.push(path.to_string());
                Ok(())
            }
            FileEdit::Remove(_) => writeln!(text, "rm -rf -- {name} || no {name}"),
            FileEdit::Link { to, .. } => match std::str::from_utf8(to) {
                Ok(to) if !to.contains('\0') => writeln!(text, "put_link {} {name}", quoted(to)),
                _ => {
                    passed_over.push(path.to_string());
                    Ok(())
                }
            },
        };
    }
    text.push_str(AFTERWORD);
    (text, passed_over)
}

/// As chown(1) and chmod(1) take it.
fn shown(owner: Owner) -> String {
    format!("{}:{} {:o}", owner.uid, owner.gid, owner.mode)
}

const PREAMBLE: &str = r#"export LC_ALL=C; umask 077; bad=0
no() { echo "$1" >&2; bad=1; }
way() { d=$(dirname -- "$1"); [ -d "$d" ] || (umask 022; mkdir -p -- "$d"); }
put() { way "$1"; o=$2
if [ -z "$o" ]; then o='0:0 644'; [ -f "$1" ] && [ ! -L "$1" ] && o=$(stat -c '%u:%g %a' -- "$1"); fi
t=$(mktemp "$d/.lodge-XXXXXX") || { cat >/dev/null; no "$1"; return; }
if base64 -d >"$t" && chown "${o%% *}" "$t" && chmod "${o##* }" "$t" && { mv -fT -- "$t" "$1" 2>/dev/null || cat "$t" >"$1"; }
then command -v restorecon >/dev/null 2>&1 && restorecon "$1" >/dev/null 2>&1; else no "$1"; fi
rm -f -- "$t"; }
give() { [ ! -L "$1" ] && chown "${2%% *}" "$1" && chmod "${2##* }" "$1" || no "$1"; }
put_directory() { [ -d "$1" ] && [ ! -L "$1" ] && return; way "$1"
if mkdir -- "$1"; then command -v restorecon >/dev/null 2>&1 && restorecon "$1" >/dev/null 2>&1; give "$1" "$2"; else no "$1"; fi; }
put_link() { way "$2"; [ -d "$2" ] && [ ! -L "$2" ] && { no "$2"; return; }; ln -sfn -- "$1" "$2" || no "$2"; }
"#;

/// What is made of the files by others than those who read them.
const AFTERWORD: &str = "command -v netplan >/dev/null 2>&1 && netplan generate >/dev/null 2>&1 </dev/null
command -v udevadm >/dev/null 2>&1 && udevadm control --reload >/dev/null 2>&1 </dev/null
sync
exit $bad
";

/// Tells what runs of its new host name and files, while no cable is plugged; what is printed is the name. A journal that is
/// open under the old machine's name begins anew.
pub(crate) const TELL: &str = r#"n=$(head -n 1 /etc/hostname 2>/dev/null)
[ -n "$n" ] && { hostname "$n" 2>/dev/null || echo "$n" >/proc/sys/kernel/hostname; }
if [ -d /run/systemd/system ]; then
systemctl restart systemd-journald.service
for s in systemd-hostnamed ssh sshd systemd-networkd NetworkManager rsyslog iscsid; do systemctl try-restart $s.service; done
else
for s in sshd ssh; do [ -x /etc/init.d/$s ] && /etc/init.d/$s restart; done
fi >/dev/null 2>&1 </dev/null
uname -n"#;

/// Gives the card of one address another, where the guest does not let go of it. What is printed is the address it has.
pub(crate) const ADDRESS: &str = r#"for a in /sys/class/net/*/address; do [ "$(cat "$a")" = "$1" ] || continue
[ -e "${a%/address}/device" ] || continue
n=${a%/address}; n=${n##*/}
ip link set dev "$n" down; ip link set dev "$n" address "$2"; ip link set dev "$n" up; cat "$a"; done"#;

/// The path as a shell's word.
fn sayable(path: &FilePath) -> Option<String> {
    let name = path.as_str().filter(|name| !name.contains('\n'))?;
    Some(quoted(&format!("/{}", name.trim_start_matches('/'))))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// In lines that a here-document takes, each ended.
fn base64_lines(bytes: &[u8]) -> String {
    let lines = bytes.chunks(57).map(|line| BASE64_STANDARD.encode(line) + "\n");
    lines.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends there, and should")]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn a_shell_does_the_edits() {
        let directory = tempfile::tempdir().unwrap();
        let here = |name: &str| FilePath::new(format!("{}/{name}", directory.path().display())).unwrap();
        std::fs::write(directory.path().join("old"), "old").unwrap();
        std::fs::create_dir(directory.path().join("gone")).unwrap();
        std::fs::write(directory.path().join("gone/file"), "x").unwrap();
        std::os::unix::fs::symlink("old", directory.path().join("link")).unwrap();
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let own = nix_ids();
        let owner = Owner { uid: own.0, gid: own.1, mode: 0o640 };
        let edits = [
            FileEdit::Write { path: here("new/a'b"), bytes: bytes.clone(), owner: Some(owner) },
            FileEdit::Write { path: here("link"), bytes: Vec::new(), owner: Some(owner) },
            FileEdit::Remove(here("gone")),
            FileEdit::Remove(here("never")),
            FileEdit::Link { path: here("to"), to: b"new/a'b".to_vec() },
            FileEdit::Directory { path: here("home/.ssh"), owner: Some(Owner { mode: 0o700, ..owner }) },
            FileEdit::Directory { path: here("home/.ssh"), owner: None },
            FileEdit::Own { path: here("old"), owner: Owner { mode: 0o600, ..owner } },
        ]
        .map(Edit::File);
        let (text, passed_over) = script(&edits);
        assert!(passed_over.is_empty(), "{passed_over:?}");
        let file = directory.path().join("script");
        std::fs::write(&file, text).unwrap();
        let ran = std::process::Command::new("/bin/sh")
            .stdin(std::fs::File::open(&file).unwrap())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let at = |name: &str| directory.path().join(name);
        assert_eq!(std::fs::read(at("new/a'b")).unwrap(), bytes);
        assert_eq!(at("new/a'b").metadata().unwrap().permissions().mode() & 0o777, 0o640);
        // A link is replaced, and what it points to is left.
        assert!(at("link").symlink_metadata().unwrap().is_file());
        assert_eq!(std::fs::read_to_string(at("old")).unwrap(), "old");
        assert!(!at("gone").exists());
        let mode = |name: &str| at(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("home/.ssh"), mode("old")), (0o700, 0o600));
        assert_eq!(std::fs::read_link(at("to")).unwrap(), std::path::Path::new("new/a'b"));
    }

    fn nix_ids() -> (u32, u32) {
        let own = std::fs::metadata("/proc/self").unwrap();
        (own.uid(), own.gid())
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let edits = [Edit::File(FileEdit::Write {
            path: FilePath::new("/proc/no-such/file").unwrap(),
            bytes: b"x".to_vec(),
            owner: None,
        })];
        let (text, _) = script(&edits);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("script"), text).unwrap();
        let input = std::fs::File::open(directory.path().join("script")).unwrap();
        let ran = std::process::Command::new("/bin/sh").stdin(input).output().unwrap();
        assert_eq!(ran.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&ran.stderr).contains("/proc/no-such/file"));
    }
}
