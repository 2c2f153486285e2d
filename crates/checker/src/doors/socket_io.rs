//! `docs/doors/socket_io.md`: Socket.IO 5 over Engine.IO 4, by hand, on a WebSocket and by polling in turns. One's own
//! event says that a message is on disk; numbered events are acknowledged.

use std::{
    io::{self, ErrorKind},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket, client::IntoClientRequest};

use super::{Line, PASSWORD, PATIENCE, Said, Wire, connect, ear::Ear, places::Place, strange};
use crate::net;

/// "`connection_alive` `{"client"}`, every 6 s."
const ALIVE: Duration = Duration::from_secs(6);

/// How soon what is to be sent goes out; the same thread reads.
const LOOK: Duration = Duration::from_millis(5);

/// Between packets of one body.
const RECORD: char = '\u{1e}';

pub(super) struct SocketIo {
    pub(super) address: SocketAddr,
    pub(super) name: String,
    pub(super) token: Option<String>,
    pub(super) opened: u32,
}

struct Open {
    out: Sender<String>,
    answers: Receiver<Value>,
    stop: Arc<AtomicBool>,
    poll: Arc<Mutex<Option<TcpStream>>>,
    thread: Option<JoinHandle<()>>,
    name: String,
    token: String,
    number: u64,
    ear: Arc<Ear>,
}

/// What goes through a transport, whichever it is.
struct Session {
    ear: Arc<Ear>,
    answers: Sender<Value>,
}

impl Session {
    /// What is to be answered to a packet; an error if it ends the connection.
    fn packet(&self, packet: &str) -> io::Result<Option<String>> {
        if packet == "2" {
            return Ok(Some("3".to_owned()));
        }
        let Some(body) = packet.strip_prefix('4') else { return Ok(None) };
        let (kind, rest) = body.split_at(body.len().min(1));
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, json) = rest.split_at(digits);
        match kind {
            "0" | "3" => {
                let _ = self.answers.send(serde_json::from_str(json).unwrap_or_default());
                Ok(None)
            }
            "2" => {
                self.event(&serde_json::from_str(json)?);
                Ok((!number.is_empty()).then(|| format!("43{number}[]")))
            }
            _ => Err(strange(packet)),
        }
    }

    fn event(&self, event: &Value) {
        if !matches!(event[0].as_str(), Some("received_message" | "ai_response_received")) {
            return;
        }
        let part = |name: &str| event[1][name].as_str().unwrap_or_default();
        let (room, sender) = (part("conversation_room"), part("sender"));
        let places = &self.ear.places;
        let place = match (room.strip_prefix('#'), room.split_once('&')) {
            (Some(group), _) => places.group(group),
            (None, Some((one, other))) => places.between(one, other),
            (None, None) => 0,
        };
        self.ear.told(place, sender, part("content"), None);
    }

    /// A WebSocket, until it ends.
    fn web_socket(self, mut socket: WebSocket<TcpStream>, out: &Receiver<String>, stop: &AtomicBool) {
        let mut alive = Instant::now();
        while !stop.load(Ordering::Acquire) {
            for packet in out.try_iter().chain(self.alive(&mut alive)) {
                if socket.send(Message::Text(packet.into())).is_err() {
                    return self.ear.end();
                }
            }
            match socket.read() {
                Ok(Message::Text(packet)) => {
                    let Ok(answer) = self.packet(&packet) else { break };
                    if answer.is_some_and(|answer| socket.send(Message::Text(answer.into())).is_err()) {
                        break;
                    }
                }
                Ok(Message::Close(_)) => break,
                Ok(_) => {}
                Err(tungstenite::Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
        let _ = socket.get_ref().shutdown(Shutdown::Both);
        self.ear.end();
    }

    fn alive(&self, last: &mut Instant) -> Option<String> {
        (last.elapsed() >= ALIVE).then(|| {
            *last = Instant::now();
            event("connection_alive", &json!({"client": self.ear.own}))
        })
    }

    /// Polls, until it ends. What is to be sent goes out on its own by [`post_out`].
    fn polls(self, address: SocketAddr, path: &str, poll: &Mutex<Option<TcpStream>>, stop: &AtomicBool) {
        let mut alive = Instant::now();
        while !stop.load(Ordering::Acquire) {
            let got = connect(address).and_then(|stream| {
                stream.set_read_timeout(Some(2 * PATIENCE))?;
                *poll.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream.try_clone()?);
                net::talk(stream, "GET", path, &[], b"")
            });
            let Ok((200, _, body)) = got else { break };
            let answers: Option<Vec<String>> = body
                .split(RECORD)
                .filter_map(|packet| self.packet(packet).transpose())
                .chain(self.alive(&mut alive).map(Ok))
                .collect::<io::Result<_>>()
                .ok();
            let Some(answers) = answers else { break };
            if !answers.is_empty() && !post(address, path, &answers.join(&RECORD.to_string())) {
                break;
            }
        }
        self.ear.end();
    }
}

fn event(name: &str, data: &Value) -> String {
    format!("42{}", json!([name, data]))
}

fn post(address: SocketAddr, path: &str, packets: &str) -> bool {
    let done = connect(address).and_then(|stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        net::talk(stream, "POST", path, &[("Content-Type", "text/plain")], packets.as_bytes())
    });
    matches!(done, Ok((200, _, _)))
}

/// Sends what is to be sent, one body at a time, so that nothing overtakes.
fn post_out(address: SocketAddr, path: &str, out: &Receiver<String>, ear: &Ear) {
    while let Ok(mut packets) = out.recv() {
        for more in out.try_iter() {
            packets.push(RECORD);
            packets.push_str(&more);
        }
        if !post(address, path, &packets) {
            return ear.end();
        }
    }
}

impl SocketIo {
    fn log_in(&mut self) -> io::Result<String> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let body = json!({"username": self.name, "password": PASSWORD}).to_string();
        let stream = connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = [("Content-Type", "application/json")];
        let (_, _, answer) = net::talk(stream, "POST", "/log_in", &head, body.as_bytes())?;
        let answer: Value = serde_json::from_str(&answer)?;
        let token = answer["token"].as_str().ok_or_else(|| strange(&answer))?.to_owned();
        self.token = Some(token.clone());
        Ok(token)
    }

    fn start(
        &self,
        session: Session,
        out: Receiver<String>,
        stop: Arc<AtomicBool>,
        poll: Arc<Mutex<Option<TcpStream>>>,
    ) -> io::Result<JoinHandle<()>> {
        let address = self.address;
        let thread = std::thread::Builder::new();
        if self.opened % 2 == 1 {
            let stream = connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
            let request = url.into_client_request().map_err(strange)?;
            let (socket, _) = tungstenite::client(request, stream).map_err(strange)?;
            socket.get_ref().set_read_timeout(Some(LOOK))?;
            return thread.spawn(move || session.web_socket(socket, &out, &stop));
        }
        let path = "/socket.io/?EIO=4&transport=polling";
        let stream = connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (_, _, opened) = net::talk(stream, "GET", path, &[], b"")?;
        let opened: Value = serde_json::from_str(opened.strip_prefix('0').unwrap_or_default())?;
        let path = format!("{path}&sid={}", opened["sid"].as_str().ok_or_else(|| strange(&opened))?);
        let (own, there) = (session.ear.clone(), path.clone());
        std::thread::Builder::new().spawn(move || post_out(address, &there, &out, &own))?;
        thread.spawn(move || session.polls(address, &path, &poll, &stop))
    }
}

impl Wire for SocketIo {
    fn name(&self) -> &'static str {
        "socket_io"
    }

    fn open(&mut self, ear: &Arc<Ear>) -> io::Result<Box<dyn Line>> {
        let token = self.log_in()?;
        self.opened += 1;
        let (answer, answers) = channel();
        let (out, packets) = channel();
        let session = Session { ear: ear.clone(), answers: answer };
        let (stop, poll) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Option<TcpStream>>>::default());
        let thread = Some(self.start(session, packets, stop.clone(), poll.clone())?);
        let (name, ear) = (self.name.clone(), ear.clone());
        let mut open = Open { out, answers, stop, poll, thread, name, token, number: 0, ear };
        open.tell("40{}".to_owned())?;
        open.answers.recv_timeout(PATIENCE).map_err(strange)?;
        for place in open.ear.places.clone().0.iter().filter(|place| place.members.contains(&self.name)) {
            let answer = open.join(place)?;
            if answer[0]["result"] != "success" {
                self.token = None;
                return Err(strange(answer));
            }
        }
        Ok(Box::new(open))
    }

    fn left(&mut self) {
        // "The end of the session."
        self.token = None;
    }
}

impl Open {
    fn tell(&self, packet: String) -> io::Result<()> {
        self.out.send(packet).map_err(strange)
    }

    fn room(&self, place: &Place) -> String {
        match (place.other(&self.name), &place.handle) {
            (Some(other), _) => {
                let (one, other) =
                    if *other < *self.name { (other, &*self.name) } else { (&*self.name, other) };
                format!("{one}&{other}")
            }
            (None, handle) => format!("#{}", handle.as_deref().unwrap_or_default()),
        }
    }

    fn join(&mut self, place: &Place) -> io::Result<Value> {
        self.number += 1;
        let data = json!(["join", {"client": self.name, "room": self.room(place), "jwt": self.token}]);
        self.tell(format!("42{}{data}", self.number))?;
        self.answers.recv_timeout(PATIENCE).map_err(strange)
    }
}

impl Line for Open {
    fn say(&mut self, call: u64, place: &Place, text: &str) -> Said {
        self.ear.expect(text, call);
        let data = json!({
            "sender": self.name, "content": text, "conversation_room": self.room(place), "jwt": self.token,
        });
        match self.tell(event("client_sends_message", &data)) {
            Ok(()) => Said::Later,
            Err(_) => Said::Unknown,
        }
    }

    fn leave(mut self: Box<Self>) -> bool {
        self.number += 1;
        let data = json!(["client_disconnection", {"client": self.name, "jwt": self.token}]);
        if self.tell(format!("42{}{data}", self.number)).is_ok() {
            let _ = self.answers.recv_timeout(PATIENCE);
        }
        // Its last acknowledgement may have crossed the end of the session: then it is told the same once more.
        false
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(poll) = self.poll.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = poll.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
