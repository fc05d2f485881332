//! Names that may come in: patterns as libvirt's lists have them (`tls_allowed_dn_list`, `sasl_allowed_username_list`).
//!
//! `*` stands for any characters, `?` for one; everything else for itself (GLib's `g_pattern_match`).

/// Whether `name` is one of those a list lets in; no list lets everyone in, an empty one nobody.
pub fn allowed(list: Option<&[String]>, name: &str) -> bool {
    list.is_none_or(|list| list.iter().any(|pattern| matches(pattern, name)))
}

/// Whether the pattern covers the whole name. Linear in what it is given, times the stars.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut of) = (0, 0);
    // Where the last star stands, and what it covers up to.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(&c) if c == '?' || c == name[of] => {
                at += 1;
                of += 1;
            }
            _ => match &mut star {
                Some((star_at, covered)) => {
                    *covered += 1;
                    of = *covered;
                    at = *star_at + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_whole_names() {
        for (pattern, name, covered) in [
            ("joe", "joe", true),
            ("joe", "joey", false),
            ("*@EXAMPLE.COM", "joe@EXAMPLE.COM", true),
            ("*@EXAMPLE.COM", "joe@EXAMPLE.COM.evil", false),
            ("C=GB,O=Red Hat,CN=*", "C=GB,O=Red Hat,CN=host1", true),
            ("C=GB,*,CN=a?", "C=GB,L=x,CN=b,CN=ab", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbY", false),
            ("*", "", true),
            ("?", "", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), covered, "{pattern} {name}");
        }
    }

    #[test]
    fn no_list_is_open_and_an_empty_one_shut() {
        assert!(allowed(None, "joe"));
        assert!(!allowed(Some(&[]), "joe"));
    }
}
