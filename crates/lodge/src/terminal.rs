//! What is typed at the terminal and not to be seen: passwords, secrets.

use std::io::{self, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::output;

/// Asks, and reads a line that is not shown. The terminal is as before afterwards, whatever comes.
pub fn hidden_line(prompt: &str) -> io::Result<String> {
    let input = io::stdin();
    let before = tcgetattr(&input)?;
    let mut unseen = before.clone();
    unseen.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Flush, &unseen)?;
    let mut error_output = io::stderr();
    let asked = write!(error_output, "{prompt}").and_then(|()| error_output.flush());
    let mut line = String::new();
    let read = asked.and_then(|()| input.read_line(&mut line));
    let restored = tcsetattr(&input, OptionalActions::Flush, &before);
    output::complain("\n");
    read?;
    restored?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
