//! Blocking clients of the doors, as old programs speak: each says things, and hears what others say.
//!
//! A thread per connection takes what comes, acknowledges what the wire wants acknowledged, and sorts it into what
//! people said and what the server answers. Judging is left to the tests.

mod command_line;
mod socket_io;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

pub(crate) use self::{
    command_line::{CommandLine, at_home, command_line, printed},
    socket_io::{SocketIo, pair},
};
use super::support::{PATIENCE, Server};

/// Of every account here: one that all wires can carry.
pub(crate) const PASSWORD: &str = "correct-horse-battery";

/// A message as a client of some wire was told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The group it was said in, as this wire names it; none for a direct message.
    pub(crate) group: Option<String>,
    pub(crate) from: String,
    pub(crate) text: String,
}

/// Where a door listens, as the greeting says.
pub(crate) fn door(server: &Server, name: &str) -> SocketAddr {
    let mut words = server.greeting.split_whitespace().skip_while(|word| *word != name).skip(1);
    let address = words.next().expect("the greeting names the door");
    address.trim_end_matches(':').parse().expect("an address")
}

/// The next of something, or a panic that says what was missing.
pub(crate) fn next<T>(from: &Receiver<T>, what: &str) -> T {
    match from.recv_timeout(PATIENCE) {
        Ok(found) => found,
        Err(RecvTimeoutError::Timeout) => panic!("nothing came for {PATIENCE:?}: {what}"),
        Err(RecvTimeoutError::Disconnected) => panic!("the connection ended: {what}"),
    }
}

fn connect(to: SocketAddr) -> (TcpStream, TcpStream) {
    let stream = TcpStream::connect(to).expect("the door is open");
    stream.set_nodelay(true).expect("a live socket");
    (stream.try_clone().expect("a second handle"), stream)
}

/// A client of `tcp_json`.
pub(crate) struct TcpJson {
    stream: TcpStream,
    name: String,
    answers: Receiver<Value>,
    pub(crate) heard: Receiver<(u64, String, String)>,
}

impl TcpJson {
    pub(crate) fn sign_in(server: &Server, name: &str) -> Self {
        let (read, stream) = connect(door(server, "tcp_json"));
        let ((answer, answers), (tell, heard)) = (channel(), channel());
        thread::spawn(move || Self::listen(read, &answer, &tell));
        let mut one = Self { stream, name: name.to_owned(), answers, heard };
        let login = one.ask(&json!({"action": "login", "username": name, "password": PASSWORD}));
        assert_eq!(login["status"], true, "{login}");
        one
    }

    fn listen(mut read: TcpStream, answer: &Sender<Value>, tell: &Sender<(u64, String, String)>) {
        let mut length = [0; 5];
        while read.read_exact(&mut length).is_ok() {
            let length: usize = std::str::from_utf8(&length).expect("digits").parse().expect("a length");
            let mut text = vec![0; length];
            read.read_exact(&mut text).expect("a whole frame");
            assert!(text.is_ascii(), "an old client counts characters: {text:?}");
            let frame: Value = serde_json::from_slice(&text).expect("JSON");
            let word = |key: &str| frame[key].as_str().unwrap_or_default().to_owned();
            // Whoever no longer listens has what he wanted.
            let _ = match frame["action"].as_str() {
                Some("recv_chat") => {
                    let to = frame["send_to"].as_u64().expect("a number");
                    tell.send((to, word("send_from"), word("message"))).is_ok()
                }
                _ => answer.send(frame).is_ok(),
            };
        }
    }

    pub(crate) fn say(&mut self, request: &Value) {
        let text = request.to_string();
        let frame = format!("{:05}{text}", text.chars().count());
        self.stream.write_all(frame.as_bytes()).expect("a live connection");
    }

    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        self.say(request);
        next(&self.answers, &request.to_string())
    }

    /// The number of a group or `@person`, joined if need be.
    pub(crate) fn group(&mut self, name: &str) -> u64 {
        let list = self.ask(&json!({"action": "load_history", "send_from": self.name}));
        let rows = list["result"].as_array().expect("a list").clone();
        if let Some(row) = rows.iter().find(|row| row[1] == name) {
            return row[0].as_u64().expect("a number");
        }
        let join = self.ask(&json!({"action": "join_group", "send_from": self.name, "group_name": name}));
        join["group_id"].as_u64().unwrap_or_else(|| panic!("{join}"))
    }

    pub(crate) fn chat(&mut self, to: u64, text: &str) {
        let name = self.name.clone();
        self.chat_as(&name, to, text);
    }

    pub(crate) fn chat_as(&mut self, name: &str, to: u64, text: &str) {
        // Its real client ends every message with a line feed.
        let message = format!("{text}\n");
        self.say(&json!({"action": "send_chat", "send_from": name, "send_to": to, "message": message}));
    }
}

/// A client of `tag_json`.
pub(crate) struct TagJson {
    stream: TcpStream,
    name: String,
    answers: Receiver<Value>,
    pub(crate) heard: Receiver<Heard>,
    sent: u32,
}

impl TagJson {
    pub(crate) fn sign_in(server: &Server, name: &str) -> Self {
        let (read, stream) = connect(door(server, "tag_json"));
        let ((answer, answers), (tell, heard)) = (channel(), channel());
        let own = name.to_owned();
        thread::spawn(move || Self::listen(read, &own, &answer, &tell));
        let mut one = Self { stream, name: name.to_owned(), answers, heard, sent: 0 };
        let login = one.ask("LOGIN", &json!({"ACTION": "LOGIN", "ID": name, "KEY": PASSWORD}));
        assert_eq!(login["RESPONSE"], "SUCCESSFUL", "{login}");
        one.ask("DATA", &json!({"ACTION": "DATA", "ID": name, "TYPE": "CONTACT"}));
        one
    }

    fn listen(mut read: TcpStream, own: &str, answer: &Sender<Value>, tell: &Sender<Heard>) {
        let (mut bytes, mut piece) = (Vec::new(), [0; 4_096]);
        while let Ok(count @ 1..) = read.read(&mut piece) {
            bytes.extend_from_slice(&piece[..count]);
            while let Some(at) = bytes.windows(5).position(|window| window == b"<TAG>") {
                let tag: Vec<u8> = bytes.drain(..at + 5).take(at).collect();
                let tag: Value = serde_json::from_slice(&tag).expect("no text splits a tag");
                let word = |key: &str| tag[key].as_str().unwrap_or_default().to_owned();
                let _ = if tag["ACTION"] == "CHAT" && tag["RESPONSE"].is_null() {
                    let group = Some(word("RECIPIENT")).filter(|to| to != own);
                    tell.send(Heard { group, from: word("SENDER"), text: word("TEXT") }).is_ok()
                } else {
                    answer.send(tag).is_ok()
                };
            }
        }
    }

    fn say(&mut self, tag: &Value) {
        self.stream.write_all(format!("{tag}<TAG>").as_bytes()).expect("a live connection");
    }

    pub(crate) fn ask(&mut self, action: &str, tag: &Value) -> Value {
        self.say(tag);
        self.refused(action)
    }

    /// The next answer to a request of this sort.
    pub(crate) fn refused(&self, action: &str) -> Value {
        loop {
            let answer = next(&self.answers, action);
            if answer["ACTION"] == action && !answer["RESPONSE"].is_null() {
                return answer;
            }
        }
    }

    pub(crate) fn chat(&mut self, kind: &str, to: &str, text: &str) {
        self.sent += 1;
        let (name, id) = (self.name.clone(), format!("{}-{}", self.name, self.sent));
        self.chat_as(&name, &id, kind, to, text);
    }

    pub(crate) fn chat_as(&mut self, name: &str, id: &str, kind: &str, to: &str, text: &str) {
        self.say(&json!({
            "ACTION": "CHAT", "CHAT": "TEXT", "TYPE": kind, "RECIPIENT": to, "SENDER": name, "TEXT": text,
            "DATA": "", "ID": id, "DATE_TIME": 1_795_217_251_720_u64,
        }));
    }
}

/// A client of `pipe_line`.
pub(crate) struct PipeLine {
    stream: TcpStream,
    name: String,
    pub(crate) heard: Receiver<Heard>,
}

impl PipeLine {
    pub(crate) fn sign_in(server: &Server, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (_, stream) = connect(door(server, "pipe_line"));
        let (tell, heard) = channel();
        let mut one = Self { stream, name: name.to_owned(), heard };
        let port = listener.local_addr().expect("bound").port();
        assert_eq!(one.ask(&format!("PORT|{port}")), "OK");
        let (back, _) = listener.accept().expect("the server dials back");
        thread::spawn(move || Self::listen(back, &tell));
        assert_eq!(one.ask(&format!("LOGIN|{name}|{PASSWORD}")), "0|OK");
        one
    }

    fn listen(mut back: TcpStream, tell: &Sender<Heard>) {
        let mut piece = [0; 1_024];
        while let Ok(count @ 1..) = back.read(&mut piece) {
            // "One `recv(1024)` is one message."
            let push = String::from_utf8(piece[..count].to_vec()).expect("UTF-8");
            let fields: Vec<&str> = push.split('|').collect();
            let answer = match fields[..] {
                ["R", sender, number, text] => {
                    let (from, group) = match sender.split_once(" in #") {
                        Some((from, group)) => (from, Some(group.to_owned())),
                        None => (sender, None),
                    };
                    let _ = tell.send(Heard { group, from: from.to_owned(), text: text.to_owned() });
                    format!("0|{number}")
                }
                ["OK", _, _, _] => "0|OK".to_owned(),
                ["OUT", "OK"] => return,
                _ => panic!("not what an old client knows: {push:?}"),
            };
            if back.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    pub(crate) fn ask(&mut self, request: &str) -> String {
        self.stream.write_all(format!("{request}\n").as_bytes()).expect("a live connection");
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a live socket");
        let mut piece = [0; 1_024];
        let count = self.stream.read(&mut piece).expect("an answer");
        String::from_utf8(piece[..count].to_vec()).expect("UTF-8")
    }

    /// The number that the message was given.
    pub(crate) fn message(&mut self, to: &str, text: &str) -> String {
        let answer = self.ask(&format!("MSG|{}|{to}|{text}", self.name));
        let number = answer.strip_prefix("0|").unwrap_or_else(|| panic!("{answer}"));
        number.to_owned()
    }
}

/// A client of `udp_ack`, in a mode where everything goes through the server.
pub(crate) struct UdpAck {
    socket: UdpSocket,
    name: String,
    answers: Receiver<String>,
    pub(crate) heard: Receiver<Heard>,
}

impl UdpAck {
    pub(crate) fn sign_in(server: &Server, name: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.connect(door(server, "udp_ack")).expect("an address");
        let ((answer, answers), (tell, heard)) = (channel(), channel());
        let (read, own) = (socket.try_clone().expect("a second handle"), name.to_owned());
        thread::spawn(move || Self::listen(&read, &own, &answer, &tell));
        let one = Self { socket, name: name.to_owned(), answers, heard };
        one.ask(&format!("register {name} {PASSWORD}"), "registered");
        one
    }

    fn listen(socket: &UdpSocket, own: &str, answer: &Sender<String>, tell: &Sender<Heard>) {
        let (mut piece, mut last) = ([0; 2_048], String::new());
        while let Ok(count) = socket.recv(&mut piece) {
            let datagram = String::from_utf8(piece[..count].to_vec()).expect("UTF-8");
            let text = datagram.trim_end();
            let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
            let (heard, received) = match word {
                "send" => {
                    let rest = rest.strip_prefix(own).expect("to us").trim_start();
                    let (text, from) = rest.rsplit_once(' ').expect("a sender");
                    (Heard { group: None, from: from.to_owned(), text: text.to_owned() }, "ack_on")
                }
                "Channel-Message" => {
                    let (from, text) = rest.split_once(": ").expect("a sender");
                    let (group, text) = match text.strip_prefix("[#").and_then(|rest| rest.split_once("] ")) {
                        Some((group, text)) => (group, text),
                        None => ("Everyone", text),
                    };
                    let group = Some(group.to_owned());
                    (Heard { group, from: from.to_owned(), text: text.to_owned() }, "ack_channel")
                }
                _ => {
                    if answer.send(datagram).is_err() {
                        return;
                    }
                    continue;
                }
            };
            let _ = socket.send(format!("{received} [Message received by {own}]").as_bytes());
            // "Identical datagrams in a row are a retry": our acknowledgement came too late, or not at all.
            if datagram != last {
                let _ = tell.send(heard);
            }
            last = datagram;
        }
    }

    /// Says it until it is answered so: "timeout 500 ms".
    pub(crate) fn ask(&self, datagram: &str, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.socket.send(datagram.as_bytes()).expect("a live socket");
            let again = Instant::now() + Duration::from_millis(500);
            while let Ok(answer) = self.answers.recv_timeout(again.saturating_duration_since(Instant::now()))
            {
                if answer.starts_with(wanted) {
                    return answer;
                }
            }
            assert!(Instant::now() < deadline, "{datagram} has no answer");
        }
    }

    /// Says it without waiting.
    pub(crate) fn say(&self, datagram: &str) {
        self.socket.send(datagram.as_bytes()).expect("a live socket");
    }

    pub(crate) fn message(&self, to: &str, text: &str) {
        self.ask(&format!("send {to} {text} {}", self.name), "ack_on");
    }

    pub(crate) fn message_all(&self, text: &str) {
        self.ask(&format!("send_all {text} {}", self.name), "ack_group");
    }
}
