//! LVM's configuration text: `name { … }`, `key = value`, `#` to the line's end.
//!
//! Bounded in depth and in the number of things, so a text of 16 MiB cannot become more than it is.
//! Deliberately absent: what the keys mean.

const DEPTH_MAX: usize = 8;
const THINGS_MAX: usize = 500_000;

/// A section's content, in the text's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Section {
    pub items: Vec<(String, Item)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Section(Section),
    Value(Value),
    List(Vec<Value>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    /// With a point, which nobody here asks for.
    Fraction(String),
}

/// Why it is no such text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} of its text: {what}")]
pub(super) struct Fault {
    pub at: usize,
    pub what: &'static str,
}

impl Section {
    pub fn item(&self, name: &str) -> Option<&Item> {
        self.items.iter().find(|(key, _)| key == name).map(|(_, item)| item)
    }

    pub fn section(&self, name: &str) -> Option<&Self> {
        match self.item(name)? {
            Item::Section(section) => Some(section),
            Item::Value(_) | Item::List(_) => None,
        }
    }

    pub fn sections(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.items.iter().filter_map(|(name, item)| match item {
            Item::Section(section) => Some((name.as_str(), section)),
            Item::Value(_) | Item::List(_) => None,
        })
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        match self.item(name)? {
            Item::Value(Value::Text(text)) => Some(text),
            Item::Value(_) | Item::Section(_) | Item::List(_) => None,
        }
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        match self.item(name)? {
            Item::Value(Value::Number(number)) => u64::try_from(*number).ok(),
            Item::Value(_) | Item::Section(_) | Item::List(_) => None,
        }
    }

    pub fn list(&self, name: &str) -> &[Value] {
        match self.item(name) {
            Some(Item::List(list)) => list,
            Some(Item::Value(value)) => std::slice::from_ref(value),
            Some(Item::Section(_)) | None => &[],
        }
    }
}

/// Reads a whole text.
pub(super) fn parse(bytes: &[u8]) -> Result<Section, Fault> {
    let mut reader = Reader { bytes, at: 0, things: 0 };
    let section = reader.section(0)?;
    match reader.peek() {
        None => Ok(section),
        Some(_) => Err(reader.fault("a brace is closed that was not opened")),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    things: usize,
}

impl Reader<'_> {
    fn fault(&self, what: &'static str) -> Fault {
        Fault { at: self.at, what }
    }

    /// The next byte that is neither space nor remark; the text ends at a NUL.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.bytes.get(self.at)? {
                0 => return None,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                b'#' => {
                    let rest = &self.bytes[self.at..];
                    self.at += rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                }
                byte => return Some(byte),
            }
        }
    }

    fn expect(&mut self, wanted: u8, what: &'static str) -> Result<(), Fault> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err(self.fault(what))
    }

    fn count(&mut self) -> Result<(), Fault> {
        self.things += 1;
        if self.things > THINGS_MAX { Err(self.fault("there is too much in it")) } else { Ok(()) }
    }

    /// Up to the closing brace, which stays, or the end.
    fn section(&mut self, depth: usize) -> Result<Section, Fault> {
        if depth > DEPTH_MAX {
            return Err(self.fault("sections lie too deep in one another"));
        }
        let mut section = Section::default();
        while let Some(byte) = self.peek() {
            if byte == b'}' {
                return Ok(section);
            }
            self.count()?;
            let name = self.name()?;
            let item = match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    let inner = self.section(depth + 1)?;
                    self.expect(b'}', "a section is not closed")?;
                    Item::Section(inner)
                }
                Some(b'=') => {
                    self.at += 1;
                    if self.peek() == Some(b'[') {
                        Item::List(self.list()?)
                    } else {
                        Item::Value(self.value()?)
                    }
                }
                Some(_) | None => return Err(self.fault("neither `{` nor `=` after a name")),
            };
            section.items.push((name, item));
        }
        Ok(section)
    }

    fn name(&mut self) -> Result<String, Fault> {
        let rest = &self.bytes[self.at..];
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+.".contains(byte);
        let length = rest.iter().position(|byte| !is_name(byte)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.fault("a name is missing"));
        }
        self.at += length;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn list(&mut self) -> Result<Vec<Value>, Fault> {
        self.at += 1;
        let mut list = Vec::new();
        loop {
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(list);
                }
                Some(b',') if !list.is_empty() => self.at += 1,
                Some(_) => list.push(self.value()?),
                None => return Err(self.fault("a list is not closed")),
            }
        }
    }

    fn value(&mut self) -> Result<Value, Fault> {
        self.count()?;
        match self.peek() {
            Some(b'"') => self.quoted().map(Value::Text),
            Some(byte) if byte == b'-' || byte.is_ascii_digit() => {
                let rest = &self.bytes[self.at..];
                let is_number = |byte: &u8| byte.is_ascii_digit() || b"-.".contains(byte);
                let length = rest.iter().position(|byte| !is_number(byte)).unwrap_or(rest.len());
                let text = String::from_utf8_lossy(&rest[..length]).into_owned();
                if text.contains('.') {
                    self.at += length;
                    return Ok(Value::Fraction(text));
                }
                let number = text.parse().map_err(|_| self.fault("a number is none"))?;
                self.at += length;
                Ok(Value::Number(number))
            }
            Some(_) | None => Err(self.fault("a value is missing")),
        }
    }

    fn quoted(&mut self) -> Result<String, Fault> {
        let start = self.at;
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(String::from_utf8_lossy(&text).into_owned());
                }
                Some(b'\\') => {
                    text.extend(self.bytes.get(self.at + 1));
                    self.at += 2;
                }
                Some(byte) => {
                    text.push(*byte);
                    self.at += 1;
                }
                None => return Err(Fault { at: start, what: "a quote is not closed" }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_values_lists_and_remarks_are_read() {
        let text =
            b"# x\nvg {\nid = \"a\\\"b\" # y\nn = -3\nf = 1.5\nl = [\"a\", 1]\ne = []\ns { t = 1 } }\n\0rest";
        let vg = parse(text).unwrap();
        let vg = vg.section("vg").unwrap();
        assert_eq!(vg.text("id"), Some("a\"b"));
        assert_eq!((vg.number("n"), vg.list("e")), (None, &[][..]));
        assert_eq!(vg.list("l"), [Value::Text("a".into()), Value::Number(1)]);
        assert_eq!(vg.section("s").unwrap().number("t"), Some(1));
    }

    #[test]
    fn broken_texts_are_faults_with_their_place() {
        let deep = "a{".repeat(100);
        for (text, at) in
            [("a {", 3), ("}", 0), ("a = [", 5), ("a = \"x", 4), ("a 1", 2), ("a = 9999999999999999999", 4)]
        {
            assert_eq!(parse(text.as_bytes()).unwrap_err().at, at, "{text}");
        }
        assert_eq!(parse(deep.as_bytes()).unwrap_err().what, "sections lie too deep in one another");
    }
}
