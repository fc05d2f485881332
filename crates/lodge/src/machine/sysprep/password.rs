//! Passwords as virt-builder(1) selects them, encrypted here: the daemon and its book never have the word itself.

use std::io::Read as _;
use std::str::FromStr;

use lodge_client::api::ErrorKind;
use sha_crypt::{Sha256Params, Sha512Params, sha256_crypt_b64, sha512_crypt_b64};

use crate::failure::{Failure, invalid};
use crate::session::Session;

/// Rounds that are meant where a hash names none.
const ROUNDS: usize = 5000;
/// Letters of salts, and of passwords that are chosen here (without those that look alike).
const SALT: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./";
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789";
const LENGTH: usize = 16;

/// How a password is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Sha256,
    Sha512,
}

impl FromStr for Method {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            "md5" | "yescrypt" => {
                let why = if text == "md5" {
                    "MD5 is guessed in no time"
                } else {
                    "guests of before 2020 know no yescrypt"
                };
                let text = format!("--password-crypto {text} is not supported: {why}");
                Err(Failure::new(ErrorKind::Unsupported, text)
                    .hint("sha512 is understood by all; crypt:HASH takes any"))
            }
            other => {
                Err(invalid(format!("--password-crypto: `{other}` is no method")).hint("sha512 or sha256"))
            }
        }
    }
}

/// The selector with an encrypted password in place of a word. One that is chosen here is told.
pub fn settle(user: &str, selector: &str, method: Method, session: &Session) -> Result<String, Failure> {
    let mut locks = String::new();
    let mut rest = selector;
    while let Some((word, more)) = rest.split_once(':').filter(|(word, _)| matches!(*word, "lock" | "locked"))
    {
        locks = format!("{word}:");
        rest = more;
    }
    let word = match rest.split_once(':') {
        Some(("password", word)) => word.to_owned(),
        Some(("file", file)) => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| invalid(format!("cannot read `{file}`")).because(error))?;
            text.lines().next().unwrap_or_default().to_owned()
        }
        None if rest == "random" => {
            let word = random(LENGTH, LETTERS)?;
            session.warn(&[format!("the password of {user} is now: {word}")]);
            word
        }
        // Locked, disabled, encrypted already, or nothing at all: the daemon's matter.
        _ => return Ok(format!("{locks}{rest}")),
    };
    if word.is_empty() {
        return Err(invalid(format!("the password of {user} is empty"))
            .hint("`disabled` lets nobody in by a password"));
    }
    Ok(format!("{locks}crypt:{}", encrypt(&word, &random(LENGTH, SALT)?, method)?))
}

fn encrypt(word: &str, salt: &str, method: Method) -> Result<String, Failure> {
    let failed = |_| Failure::new(ErrorKind::Internal, "the password could not be encrypted");
    let (word, salted) = (word.as_bytes(), salt.as_bytes());
    match method {
        Method::Sha256 => {
            let params = Sha256Params::new(ROUNDS).map_err(failed)?;
            Ok(format!("$5${salt}${}", sha256_crypt_b64(word, salted, &params).map_err(failed)?))
        }
        Method::Sha512 => {
            let params = Sha512Params::new(ROUNDS).map_err(failed)?;
            Ok(format!("$6${salt}${}", sha512_crypt_b64(word, salted, &params).map_err(failed)?))
        }
    }
}

/// So many letters, each as likely as any other.
fn random(length: usize, letters: &[u8]) -> Result<String, Failure> {
    let unread = |error| Failure::new(ErrorKind::Internal, "cannot read /dev/urandom").because(error);
    let source = std::fs::File::open("/dev/urandom").map_err(unread)?;
    let fair = 256 - 256 % letters.len();
    let mut word = String::new();
    for byte in std::io::BufReader::new(source).bytes() {
        let byte = usize::from(byte.map_err(unread)?);
        if byte < fair {
            word.push(char::from(letters[byte % letters.len()]));
        }
        if word.len() == length {
            break;
        }
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As glibc's crypt(3) answers, and openssl.
    #[test]
    fn passwords_are_encrypted_as_everywhere() {
        assert_eq!(
            encrypt("Hello world!", "saltstring", Method::Sha512).unwrap(),
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
        );
        assert_eq!(
            encrypt("Hello world!", "saltstring", Method::Sha256).unwrap(),
            "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
        );
    }

    #[test]
    fn random_words_are_of_the_letters() {
        let word = random(200, LETTERS).unwrap();
        assert!(word.len() == 200 && word.bytes().all(|byte| LETTERS.contains(&byte)));
        assert_ne!(word, random(200, LETTERS).unwrap());
    }

    #[test]
    fn methods_are_known_by_name() {
        assert!("sha512".parse::<Method>().is_ok() && "sha256".parse::<Method>().is_ok());
        for bad in ["md5", "yescrypt", "rot13"] {
            assert!(bad.parse::<Method>().is_err(), "{bad}");
        }
    }
}
