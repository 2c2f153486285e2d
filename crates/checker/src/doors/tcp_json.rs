//! `docs/doors/tcp_json.md`: five digits and an object. One's own message is pushed to oneself, which says that it is
//! on disk; nothing acknowledges what was received.

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

/// What is added to the number of a conversation.
const FIRST: u64 = 200_000;

pub(super) struct TcpJson(pub(super) Way);

struct Open(Stream);

fn frame(object: &Value) -> String {
    let text = object.to_string();
    format!("{:05}{text}", text.chars().count())
}

/// Reads one frame. The server writes ASCII only, so that characters are bytes.
fn read_frame(from: &mut TcpStream) -> io::Result<Value> {
    let mut length = [0; 5];
    from.read_exact(&mut length)?;
    let length = std::str::from_utf8(&length).ok().and_then(|digits| digits.parse().ok());
    let mut text = vec![0; length.ok_or_else(|| strange("five digits"))?];
    from.read_exact(&mut text)?;
    if !text.is_ascii() {
        return Err(strange("a client that counts characters would lose its place"));
    }
    Ok(serde_json::from_slice(&text)?)
}

fn ask(stream: &mut TcpStream, answers: &Receiver<Value>, request: &Value) -> io::Result<Value> {
    stream.write_all(frame(request).as_bytes())?;
    answers.recv_timeout(PATIENCE).map_err(strange)
}

/// Makes an account on this wire.
pub(super) fn sign_up(address: SocketAddr, name: &str) -> io::Result<()> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        frame(&json!({"action": "register", "username": name, "password": PASSWORD})).as_bytes(),
    )?;
    let answer = read_frame(&mut stream)?;
    if answer["status"] == true { Ok(()) } else { Err(strange(answer)) }
}

fn listen(mut stream: TcpStream, ear: &Ear, answers: &Sender<Value>) {
    while let Ok(frame) = read_frame(&mut stream) {
        if frame["action"] != "recv_chat" {
            // Nobody may be waiting for it.
            let _ = answers.send(frame);
            continue;
        }
        let number = frame["send_to"].as_u64().and_then(|to| u32::try_from(to.checked_sub(FIRST)?).ok());
        let place = number.filter(|id| ear.places.0.iter().any(|place| place.id == *id));
        let word = |key: &str| frame[key].as_str().unwrap_or_default();
        ear.told(place.unwrap_or(0), word("send_from"), word("message"), None);
    }
    ear.end();
}

impl Wire for TcpJson {
    fn name(&self) -> &'static str {
        "tcp_json"
    }

    fn open(&mut self, ear: &Arc<Ear>) -> io::Result<Box<dyn Line>> {
        let mut stream = connect(self.0.address)?;
        let (answer, answers) = channel();
        let own = ear.clone();
        let reader = Reader::start(&stream, move |stream| listen(stream, &own, &answer))?;
        let login = json!({"action": "login", "username": self.0.name, "password": PASSWORD});
        let signed_in = ask(&mut stream, &answers, &login)?;
        if signed_in["status"] != true {
            return Err(strange(signed_in));
        }
        // Nothing is told before this was asked for.
        ask(&mut stream, &answers, &json!({"action": "load_history", "send_from": self.0.name}))?;
        Ok(Box::new(Open(Stream { reader, stream, name: self.0.name.clone(), ear: ear.clone() })))
    }
}

impl Line for Open {
    fn say(&mut self, call: u64, place: &Place, text: &str) -> Said {
        self.0.ear.expect(text, call);
        // Its old program ends every message with a line feed.
        let chat = json!({
            "action": "send_chat", "send_from": self.0.name, "send_to": FIRST + u64::from(place.id),
            "message": format!("{text}\n"),
        });
        match self.0.stream.write_all(frame(&chat).as_bytes()) {
            Ok(()) => Said::Later,
            Err(_) => Said::Unknown,
        }
    }

    fn leave(mut self: Box<Self>) -> bool {
        let said = self.0.stream.write_all(frame(&json!({"action": "exit"})).as_bytes()).is_ok();
        let before = self.0.ear.is_over();
        self.0.reader.wait();
        said && !before
    }
}
