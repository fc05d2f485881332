//! The words of a QEMU that runs, each with the element that this program would give such an argument for.
//!
//! A guest may have been started by another version or by libvirtd, and devices come and go while it runs. So words are
//! not expected to be the same: an argument is known again by being equal, else by its option and the id in it.

use super::{Explained, Explanation, UNKNOWN, Without};
use crate::command_line::Argument;

/// Why an element has no argument in a process.
const LATER: &str = "not among the words of the QEMU that runs: plugged in or changed while it ran";

impl Explanation {
    /// The same of the process whose words (without its name) these are.
    #[must_use]
    pub fn as_run(self, words: &[String]) -> Self {
        let mut known: Vec<Option<Explained>> = self.arguments.into_iter().map(Some).collect();
        let mut run: Vec<Explained> = arguments(words);
        for is_same in [equal, alike, of_one_option] {
            for explained in run.iter_mut().filter(|explained| explained.argument.element == UNKNOWN) {
                let found = known.iter_mut().find(|known| {
                    known.as_ref().is_some_and(|known| is_same(&known.argument, &explained.argument))
                });
                if let Some(known) = found.and_then(Option::take) {
                    explained.argument.element = known.argument.element;
                    explained.alias = known.alias;
                }
            }
        }
        own_by_name(&mut run);
        let mut without = self.without;
        for Explained { argument, alias } in known.into_iter().flatten() {
            let element = argument.element;
            let told = run.iter().any(|explained| explained.argument.element == element)
                || without.iter().any(|without| without.element == element);
            if !told && element != crate::command_line::OWN {
                without.push(Without { element, alias, reason: LATER });
            }
        }
        Self { arguments: run, without, ..self }
    }
}

/// Objects that an argument names are its element's: certificates and secrets that the host's settings add to it.
fn own_by_name(run: &mut [Explained]) {
    let is_unknown = |explained: &Explained| explained.argument.element == UNKNOWN;
    let owner = |run: &[Explained], at: usize| {
        let name = id(&run[at].argument)?;
        let owner = run.iter().find(|other| !is_unknown(other) && names(&other.argument, &name))?;
        Some((owner.argument.element.clone(), owner.alias.clone()))
    };
    // An object's own may be named by the object alone.
    loop {
        let mut objects =
            (0..run.len()).filter(|at| is_unknown(&run[*at]) && run[*at].argument.option == "-object");
        let Some((at, (element, alias))) = objects.find_map(|at| Some((at, owner(run, at)?))) else {
            return;
        };
        run[at].argument.element = element;
        run[at].alias = alias;
    }
}

/// Whether an argument's value has this name among its words.
fn names(argument: &Argument, name: &str) -> bool {
    let Some(value) = argument.value.as_deref() else { return false };
    match serde_json::from_str::<serde_json::Value>(value) {
        Ok(serde_json::Value::Object(words)) => words
            .iter()
            .any(|(key, word)| !matches!(key.as_str(), "id" | "node-name") && word.as_str() == Some(name)),
        _ => value
            .split(',')
            .filter_map(|word| word.split_once('='))
            .any(|(key, word)| key != "id" && word == name),
    }
}

/// Options with their values.
fn arguments(words: &[String]) -> Vec<Explained> {
    let mut arguments = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(option) = words.next() {
        let value = words.next_if(|next| option.starts_with('-') && !next.starts_with('-')).cloned();
        let argument = Argument { option: option.clone(), value, element: UNKNOWN.to_owned() };
        arguments.push(Explained { argument, alias: None });
    }
    arguments
}

fn equal(known: &Argument, run: &Argument) -> bool {
    known.option == run.option && known.value == run.value
}

/// The same option for the same thing of QEMU's.
fn alike(known: &Argument, run: &Argument) -> bool {
    known.option == run.option && id(known).is_some_and(|known| Some(known) == id(run))
}

/// An option that stands for itself: `-m`, `-rtc`.
fn of_one_option(known: &Argument, run: &Argument) -> bool {
    known.option == run.option && id(known).is_none() && id(run).is_none()
}

/// What QEMU calls the thing that an argument makes.
fn id(argument: &Argument) -> Option<String> {
    let value = argument.value.as_deref()?;
    if value.starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(value).ok()?;
        let name = value.get("id").or_else(|| value.get("node-name"))?;
        return name.as_str().map(str::to_owned);
    }
    let named = |part: &str| {
        ["id=", "set=", "nodeid=", "chardev="]
            .iter()
            .find_map(|key| part.strip_prefix(key).map(str::to_owned))
    };
    value.split(',').find_map(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(element: &str, option: &str, value: Option<&str>) -> Explained {
        let argument =
            Argument { option: option.into(), value: value.map(str::to_owned), element: element.into() };
        Explained { argument, alias: None }
    }

    #[test]
    fn what_the_hosts_settings_add_is_of_what_names_it() {
        let screen = "/domain/devices/graphics[1]";
        let built = Explanation {
            arguments: vec![explained(screen, "-vnc", Some("127.0.0.1:0,audiodev=audio1"))],
            ..Explanation::default()
        };
        let words = [
            "-object",
            r#"{"qom-type":"secret","id":"vnc-tls-creds0-secret0","file":"/proc/self/fd/9"}"#,
            "-object",
            r#"{"qom-type":"tls-creds-x509","id":"vnc-tls-creds0","passwordid":"vnc-tls-creds0-secret0"}"#,
            "-object",
            r#"{"qom-type":"secret","id":"masterKey0"}"#,
            "-vnc",
            "127.0.0.1:0,tls-creds=vnc-tls-creds0",
        ];
        let run = built.as_run(&words.map(str::to_owned));
        let elements: Vec<_> = run.arguments.iter().map(|known| known.argument.element.as_str()).collect();
        assert_eq!(elements, [screen, screen, UNKNOWN, screen]);
    }

    #[test]
    fn words_are_known_again_by_what_they_make() {
        let built = Explanation {
            arguments: vec![
                explained("/domain/name", "-name", Some("guest=a,debug-threads=on")),
                explained(
                    "/domain/devices/disk[1]",
                    "-device",
                    Some(r#"{"driver":"x","id":"virtio-disk0"}"#),
                ),
                explained(
                    "/domain/devices/disk[2]",
                    "-device",
                    Some(r#"{"driver":"x","id":"virtio-disk1"}"#),
                ),
                explained("lodge", "-S", None),
            ],
            ..Explanation::default()
        };
        let words = ["-name", "guest=a", "-S", "-xyz", "-device", r#"{"id":"virtio-disk1","driver":"y"}"#];
        let run = built.as_run(&words.map(str::to_owned));
        let elements: Vec<_> = run.arguments.iter().map(|known| known.argument.element.as_str()).collect();
        assert_eq!(elements, ["/domain/name", "lodge", UNKNOWN, "/domain/devices/disk[2]"]);
        assert_eq!(
            run.without.iter().map(|gone| gone.element.as_str()).collect::<Vec<_>>(),
            ["/domain/devices/disk[1]"]
        );
    }
}
