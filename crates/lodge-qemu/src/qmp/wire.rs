//! QMP's bytes: lines of JSON, cut to a limit, and what a line can be.
//!
//! QEMU may have been taken over by its guest, so its side of the monitor is untrusted: a line has a longest length,
//! `serde_json` limits depth, and nothing here grows without bound. Source: QEMU's docs/interop/qmp-spec.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest line taken from a QEMU. `query-qmp-schema`, the largest answer known, is 300 KiB.
pub(crate) const LONGEST_LINE: usize = 16 << 20;

/// The bytes that arrived and do not make a line yet.
#[derive(Debug)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// How much of `bytes` is known to hold no line end.
    seen: usize,
    longest: usize,
}

/// A line went on beyond the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Lines {
    pub(crate) fn new(longest: usize) -> Self {
        Self { bytes: Vec::new(), seen: 0, longest }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line without its end, or `None` if more bytes are needed.
    pub(crate) fn next_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let fresh = self.bytes.get(self.seen..).unwrap_or_default();
        let Some(end) = fresh.iter().position(|&byte| byte == b'\n').map(|at| at + self.seen) else {
            self.seen = self.bytes.len();
            return if self.seen > self.longest { Err(TooLong) } else { Ok(None) };
        };
        if end > self.longest {
            return Err(TooLong);
        }
        let rest = self.bytes.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.bytes, rest);
        self.seen = 0;
        while line.last().is_some_and(u8::is_ascii_whitespace) {
            line.pop();
        }
        Ok(Some(line))
    }

    /// Forgets all that arrived.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.seen = 0;
    }
}

/// Anything QEMU can say, as one flat object: which fields are there tells what it is.
#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    #[serde(rename = "QMP")]
    pub(crate) greeting: Option<Greeting>,
    #[serde(rename = "return", default, deserialize_with = "present")]
    pub(crate) answer: Option<Box<RawValue>>,
    pub(crate) error: Option<Refusal>,
    /// Ours are numbers. QEMU leaves it out where it could not read the command.
    pub(crate) id: Option<u64>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<Box<RawValue>>,
    pub(crate) timestamp: Option<Timestamp>,
}

/// JSON without the blanks between its parts; the parts keep their order.
pub(crate) fn compact(json: &str) -> String {
    let (mut text, mut quoted, mut escaped) = (String::with_capacity(json.len()), false, false);
    for letter in json.chars() {
        if quoted || !letter.is_ascii_whitespace() {
            text.push(letter);
        }
        quoted ^= letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
    }
    text
}

/// `return: null` is an answer too.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// What a monitor says first.
#[derive(Debug, Clone, Deserialize)]
pub struct Greeting {
    /// Which QEMU this is.
    pub version: super::answer::Version,
    /// What the monitor can do beyond the basic protocol; `oob` is the one in use.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// QEMU's own words for why it did not do a command.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) class: String,
    pub(crate) desc: String,
}

/// When QEMU says an event happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Timestamp {
    /// Since 1970.
    pub seconds: i64,
    /// Within the second.
    pub microseconds: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_the_bytes_are_cut() {
        let text = b"{\"a\":1}\r\n\n{\"b\":2}\n{\"c\"";
        for cut in 1..text.len() {
            let mut lines = Lines::new(100);
            let mut got = Vec::new();
            for piece in text.chunks(cut) {
                lines.push(piece);
                while let Some(line) = lines.next_line().unwrap() {
                    got.push(String::from_utf8(line).unwrap());
                }
            }
            assert_eq!(got, ["{\"a\":1}", "", "{\"b\":2}"], "cut at {cut}");
        }
    }

    proptest::proptest! {
        /// Whatever a QEMU sends and however it is cut: no panic, no line beyond the limit, and the same lines.
        #[test]
        fn any_bytes_in_any_pieces(bytes: Vec<u8>, cut in 1usize..20) {
            let read = |cut: usize| {
                let mut lines = Lines::new(64);
                let mut got = Vec::new();
                for piece in bytes.chunks(cut) {
                    lines.push(piece);
                    while let Ok(Some(line)) = lines.next_line() {
                        let _ = serde_json::from_slice::<Said>(&line);
                        assert!(line.len() <= 64);
                        got.push(line);
                    }
                }
                got
            };
            let short = bytes.split(|&byte| byte == b'\n').all(|line| line.len() <= 64);
            if short {
                assert_eq!(read(cut), read(bytes.len().max(1)));
            } else {
                read(cut);
            }
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::new(8);
        lines.push(b"12345678");
        assert_eq!(lines.next_line(), Ok(None));
        lines.push(b"9");
        assert_eq!(lines.next_line(), Err(TooLong));
        let mut lines = Lines::new(8);
        lines.push(b"123456789\n");
        assert_eq!(lines.next_line(), Err(TooLong));
    }

    #[test]
    fn blanks_go_from_between_and_stay_inside() {
        assert_eq!(compact(r#"{"b": [1, "a \" , b"], "a" : "x\\" }"#), r#"{"b":[1,"a \" , b"],"a":"x\\"}"#);
    }

    #[test]
    fn a_null_answer_is_an_answer() {
        let said: Said = serde_json::from_str("{\"return\": null, \"id\": 3}").unwrap();
        assert_eq!(said.answer.unwrap().get(), "null");
        let said: Said = serde_json::from_str("{\"event\": \"STOP\", \"unknown\": [1]}").unwrap();
        assert!(said.answer.is_none() && said.event.as_deref() == Some("STOP"));
    }
}
