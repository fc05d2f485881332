//! A canned daemon: a socket that answers a method and path with a document, and keeps what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// Answers by "METHOD /path", without the query.
type Answers = HashMap<String, (u16, Value)>;

/// The daemon; it goes with the test.
pub struct Peer {
    _directory: tempfile::TempDir,
    pub socket: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// Answers these, 200 each unless a status is given, and 404 to all else.
    pub fn answering(answers: &[(&str, u16, Value)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path: PathBuf = directory.path().join("lodge.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let mut all = Answers::new();
        let version = json!({ "lodge": "0.1.0", "api": "v1", "pid": 1, "root": "/", "started_ms": 0, "qemu": "10.0.2" });
        all.insert("GET /v1/version".into(), (200, version));
        all.extend(answers.iter().map(|(call, status, body)| ((*call).to_owned(), (*status, body.clone()))));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (all, kept) = (Arc::new(all), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, kept) = (Arc::clone(&all), Arc::clone(&kept));
                std::thread::spawn(move || serve(&stream, &all, &kept));
            }
        });
        Self { socket: path.to_str().expect("UTF-8").to_owned(), _directory: directory, asked }
    }

    /// What was asked, but for the version: "METHOD /path?query body".
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().expect("not poisoned");
        asked.iter().filter(|call| !call.contains("/v1/version")).cloned().collect()
    }
}

fn serve(stream: &UnixStream, answers: &Answers, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length, mut key) = (String::new(), 0, None);
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let call = line.rsplit_once(' ')?.0.to_owned();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
            match header.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("sec-websocket-key") => {
                    key = Some(value.trim().to_owned());
                }
                _ => {}
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8_lossy(&body);
        asked.lock().expect("not poisoned").push(format!("{call} {body}").trim_end().to_owned());
        if let Some(key) = key {
            return echo(stream, &key);
        }
        let place = call.split('?').next()?;
        let none = (404, json!({ "kind": "not_found", "message": format!("there is nothing at {place}") }));
        let (status, answer) = answers.get(place).unwrap_or(&none);
        let text = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        let mut stream = stream;
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes())).ok()?;
    }
}

/// A console: says "ready", then answers what is typed in capitals; `!` ends it from the guest's side.
fn echo(stream: &UnixStream, key: &str) -> Option<()> {
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    let mut raw = stream;
    raw.write_all(head.as_bytes()).ok()?;
    let mut socket = WebSocket::from_raw_socket(stream.try_clone().ok()?, Role::Server, None);
    socket.send(Message::Binary("ready".into())).ok()?;
    loop {
        if let Message::Binary(typed) = socket.read().ok()? {
            if typed.contains(&b'!') {
                socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).ok()?;
            } else {
                socket.send(Message::Binary(typed.to_ascii_uppercase().into())).ok()?;
            }
        }
    }
}
