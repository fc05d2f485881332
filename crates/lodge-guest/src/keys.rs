//! SSH keys: judging public ones. Pairs are the command line's own matter: a private half never reaches the daemon.

/// Why a text is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It is the wrong half.
    #[error("it is a private key")]
    Private,
    /// More than one line.
    #[error("it has more than one line")]
    Lines,
    /// Longer than any key.
    #[error("it is longer than {KEY_MAX_BYTES} bytes")]
    Long,
    /// Not `TYPE BASE64 [COMMENT]`.
    #[error("it is not of the form `ssh-ed25519 AAAA… comment`")]
    Form,
}

impl KeyFault {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Private => {
                "give the public half, the file that ends in `.pub`; keep the private one to yourself"
                    .to_owned()
            }
            Self::Lines | Self::Long | Self::Form => "give one line as in `~/.ssh/id_ed25519.pub`".to_owned(),
        })
    }
}

/// The longest public key, comment included (16384-bit RSA has 2.8 kB).
pub const KEY_MAX_BYTES: usize = 8192;

/// The types that sshd knows, sshd(8) "AUTHORIZED_KEYS FILE FORMAT".
const TYPES: [&str; 8] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
];

/// The key as one line without blanks around it, if it is one. Options before the type are taken too.
pub fn check_public(key: &str) -> Result<&str, KeyFault> {
    let key = key.trim();
    if key.contains("PRIVATE KEY") {
        return Err(KeyFault::Private);
    }
    if key.contains(['\n', '\r', '\0']) {
        return Err(KeyFault::Lines);
    }
    if key.len() > KEY_MAX_BYTES {
        return Err(KeyFault::Long);
    }
    let mut words = key.split([' ', '\t']).skip_while(|word| !TYPES.contains(word));
    let blob = words.next().and_then(|_| words.find(|word| !word.is_empty())).ok_or(KeyFault::Form)?;
    let is_base64 = blob.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    // Every blob begins with the length of the type's name: three zero bytes.
    if is_base64 && blob.starts_with("AAAA") && blob.len() >= 40 { Ok(key) } else { Err(KeyFault::Form) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1bP6sZ1Y4l3wQxMd9yE0l2o2v3kPZ0dO5m8c9a2B4x me@host";

    #[test]
    fn public_keys_are_told_from_what_is_none() {
        let table = [
            (GOOD, Ok(GOOD)),
            (&format!("  {GOOD}\n"), Ok(GOOD)),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", Err(KeyFault::Private)),
            (&format!("{GOOD}\n{GOOD}"), Err(KeyFault::Lines)),
            ("", Err(KeyFault::Form)),
            ("ssh-ed25519", Err(KeyFault::Form)),
            ("ssh-ed25519 AAAA\"; rm", Err(KeyFault::Form)),
            (&"x".repeat(9000), Err(KeyFault::Long)),
        ];
        for (key, expected) in table {
            assert_eq!(check_public(key), expected, "{key:.40}");
        }
        let with_options = format!("from=\"10.0.0.0/8\" {GOOD}");
        assert_eq!(check_public(&with_options), Ok(with_options.as_str()));
    }
}
