//! virsh's habits of typing that clap does not share: a positional may also be given by name (`--domain web1`).

use std::ffi::OsString;

/// Where the verb stands: the first word that is neither a global option nor its value.
pub fn verb(words: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(word) = words.get(at) {
        match word.to_str() {
            Some("-c" | "--connect" | "-o" | "--output") => at += 2,
            Some(option) if option.starts_with('-') => at += 1,
            _ => return Some(at),
        }
    }
    None
}

/// Puts each positional that was given by name where it belongs: the first one right after the verb, others last.
pub fn settle(grammar: &clap::Command, mut words: Vec<OsString>) -> Vec<OsString> {
    let Some(at) = verb(&words) else { return words };
    let Some(command) = words[at].to_str().and_then(|verb| grammar.find_subcommand(verb)) else {
        return words;
    };
    let names: Vec<String> =
        command.get_positionals().map(|argument| argument.get_id().to_string()).collect();
    for (order, name) in names.iter().enumerate() {
        let is_option = command.get_arguments().any(|argument| argument.get_long() == Some(name));
        if is_option {
            continue;
        }
        if let Some(value) = take(&mut words, at + 1, name) {
            if order == 0 {
                words.insert(at + 1, value);
            } else {
                words.push(value);
            }
        }
    }
    words
}

/// Takes `--NAME VALUE` or `--NAME=VALUE` out.
fn take(words: &mut Vec<OsString>, from: usize, name: &str) -> Option<OsString> {
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let (long, equals) = (format!("--{name}"), format!("--{name}="));
    for at in from..end {
        let word = words[at].to_str()?;
        if let Some(value) = word.strip_prefix(&equals) {
            let value = value.into();
            words.remove(at);
            return Some(value);
        }
        if word == long && at + 1 < end {
            words.remove(at);
            return Some(words.remove(at));
        }
    }
    None
}

/// A line of the interactive shell as words: blanks part them, quotes and backslashes keep them together, as virsh
/// and the shell do; `;` parts commands and `#` begins a comment.
pub fn split(line: &str) -> Result<Vec<Vec<String>>, &'static str> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next().ok_or("a quote is not closed")? {
                        end if end == letter => break,
                        '\\' if letter == '"' => word.push(letters.next().ok_or("a quote is not closed")?),
                        inner => word.push(inner),
                    }
                }
            }
            '\\' => {
                word.get_or_insert_default().push(letters.next().ok_or("the line ends with a backslash")?);
            }
            '#' if word.is_none() => break,
            ';' => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            blank if blank.is_whitespace() => words.extend(word.take()),
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    commands.push(words);
    commands.retain(|words| !words.is_empty());
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(line: &str) -> String {
        let words = line.split(' ').map(OsString::from).collect();
        let words = settle(&crate::args::grammar(), words);
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn positionals_may_be_named() {
        assert_eq!(settled("lodge start --paused --domain web1"), "lodge start web1 --paused");
        assert_eq!(settled("lodge -q save --file=/f --domain web1"), "lodge -q save web1 /f");
        assert_eq!(settled("lodge save web1 --file /f --running"), "lodge save web1 --running /f");
        assert_eq!(settled("lodge net-start --network default"), "lodge net-start default");
        assert_eq!(settled("lodge -c /s domstate --domain a --reason"), "lodge -c /s domstate a --reason");
    }

    #[test]
    fn options_of_our_own_verbs_stay() {
        assert_eq!(settled("lodge run debian-12 --network lan"), "lodge run debian-12 --network lan");
        assert_eq!(settled("lodge ssh web1 -- x --domain y"), "lodge ssh web1 -- x --domain y");
    }

    #[test]
    fn lines_are_split_as_virsh_splits_them() {
        let split = |line| {
            split(line).map(|commands| commands.iter().map(|words| words.join("|")).collect::<Vec<_>>())
        };
        assert_eq!(
            split(r#"start 'a b' ; domid "c\"d" e\ f # rest"#),
            Ok(vec!["start|a b".into(), "domid|c\"d|e f".into()])
        );
        assert_eq!(split("  ;; "), Ok(vec![]));
        assert_eq!(split("desc x ''"), Ok(vec!["desc|x|".into()]));
        assert_eq!(split("start 'a"), Err("a quote is not closed"));
    }
}
