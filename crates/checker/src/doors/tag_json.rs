//! `docs/doors/tag_json.md`, as its programs speak: objects that end with `<TAG>`. Nothing acknowledges what is said,
//! but a chat has an `ID` of its sender's, so it can be said again; nothing acknowledges what was received.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
};

use serde_json::{Value, json};

use super::{
    Line, PASSWORD, PATIENCE, Reader, Said, Stream, Way, Wire, connect, ear::Ear, places::Place, strange,
};

const END: &[u8] = b"<TAG>";

pub(super) struct TagJson(pub(super) Way);

struct Open(Stream);

fn say(stream: &mut TcpStream, tag: &Value) -> io::Result<()> {
    stream.write_all(format!("{tag}<TAG>").as_bytes())
}

/// Takes a whole tag off the front of what has come.
fn take(bytes: &mut Vec<u8>) -> Option<Value> {
    let end = bytes.windows(END.len()).position(|window| window == END)?;
    let tag: Vec<u8> = bytes.drain(..end + END.len()).take(end).collect();
    Some(serde_json::from_slice(&tag).unwrap_or_default())
}

fn each_tag(mut stream: TcpStream, mut tell: impl FnMut(Value) -> bool) {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4_096]);
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        bytes.extend_from_slice(&piece[..count]);
        while let Some(tag) = take(&mut bytes) {
            if !tell(tag) {
                return;
            }
        }
    }
}

/// Makes an account on this wire.
pub(super) fn sign_up(address: SocketAddr, name: &str) -> io::Result<()> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    say(&mut stream, &json!({"ACTION": "SIGNUP", "ID": name, "KEY": PASSWORD, "NAME": name}))?;
    let mut answer = Value::Null;
    each_tag(stream, |tag| {
        answer = tag;
        false
    });
    if answer["RESPONSE"] == "SUCCESSFUL" { Ok(()) } else { Err(strange(answer)) }
}

fn listen(stream: TcpStream, ear: &Ear, answers: &Sender<Value>) {
    each_tag(stream, |tag| {
        let word = |key: &str| tag[key].as_str().unwrap_or_default();
        match (word("ACTION"), tag["RESPONSE"].as_str()) {
            ("CHAT", None) => {
                let to = word("RECIPIENT");
                let is_mine = to.eq_ignore_ascii_case(&ear.own);
                let place =
                    if is_mine { ear.places.between(&ear.own, word("SENDER")) } else { ear.places.group(to) };
                ear.told(place, word("SENDER"), word("TEXT"), None);
            }
            ("CHAT", Some(response)) => {
                if let Ok(call) = word("ID").parse() {
                    ear.refused(call, response);
                }
            }
            _ => {
                let _ = answers.send(tag);
            }
        }
        true
    });
    ear.end();
}

fn ask(stream: &mut TcpStream, answers: &Receiver<Value>, tag: &Value) -> io::Result<Value> {
    say(stream, tag)?;
    loop {
        let answer = answers.recv_timeout(PATIENCE).map_err(strange)?;
        if answer["ACTION"] == tag["ACTION"] && answer["RESPONSE"].is_string() {
            return Ok(answer);
        }
    }
}

impl Wire for TagJson {
    fn name(&self) -> &'static str {
        "tag_json"
    }

    fn named(&self, _call: u64, _place: &Place) -> bool {
        true
    }

    fn says_again(&self) -> bool {
        true
    }

    fn open(&mut self, ear: &Arc<Ear>) -> io::Result<Box<dyn Line>> {
        let mut stream = connect(self.0.address)?;
        let (answer, answers) = channel();
        let own = ear.clone();
        let reader = Reader::start(&stream, move |stream| listen(stream, &own, &answer))?;
        let login = json!({"ACTION": "LOGIN", "ID": self.0.name, "KEY": PASSWORD});
        let signed_in = ask(&mut stream, &answers, &login)?;
        if signed_in["RESPONSE"] != "SUCCESSFUL" {
            return Err(strange(signed_in));
        }
        ask(&mut stream, &answers, &json!({"ACTION": "DATA", "ID": self.0.name, "TYPE": "CONTACT"}))?;
        Ok(Box::new(Open(Stream { reader, stream, name: self.0.name.clone(), ear: ear.clone() })))
    }
}

impl Line for Open {
    fn say(&mut self, call: u64, place: &Place, text: &str) -> Said {
        let (kind, to) = match (place.other(&self.0.name), &place.handle) {
            (Some(other), _) => ("CONTACT", other),
            (None, handle) => ("GROUP", handle.as_deref().unwrap_or_default()),
        };
        let chat = json!({
            "ACTION": "CHAT", "CHAT": "TEXT", "TYPE": kind, "RECIPIENT": to, "SENDER": self.0.name, "TEXT": text,
            "DATA": "", "ID": call.to_string(), "DATE_TIME": 1_795_217_251_720_u64,
        });
        match say(&mut self.0.stream, &chat) {
            Ok(()) => Said::Later,
            Err(_) => Said::Unknown,
        }
    }

    fn leave(mut self: Box<Self>) -> bool {
        let before = self.0.ear.is_over();
        let said = say(&mut self.0.stream, &json!({"ACTION": "LOGOUT", "ID": self.0.name})).is_ok();
        self.0.reader.wait();
        said && !before
    }
}
