//! A client of `socket_io`, over WebSocket and with the packets written by hand.

use std::{
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use chinwag_protocol::Refused;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, WebSocket, client::IntoClientRequest, protocol::Role};

use super::{Heard, PASSWORD, door, next};
use crate::support::{Server, post};

/// "The heartbeat: every 6 s."
const ALIVE_EVERY: Duration = Duration::from_secs(6);

type Writer = Arc<Mutex<WebSocket<TcpStream>>>;

/// A client of `socket_io`.
pub(crate) struct SocketIo {
    write: Writer,
    name: String,
    token: String,
    answers: Receiver<Value>,
    /// Its own messages are among them.
    pub(crate) heard: Receiver<Heard>,
    /// Who has come.
    appeared: Receiver<String>,
    /// Dropped with the client, which ends the heartbeat.
    alive: Option<Sender<()>>,
}

/// "The pair in code-point order."
pub(crate) fn pair(one: &str, other: &str) -> String {
    if one < other { format!("{one}&{other}") } else { format!("{other}&{one}") }
}

impl SocketIo {
    /// Logs in and joins these rooms; ready when it has appeared.
    pub(crate) fn sign_in(server: &Server, name: &str, rooms: &[&str]) -> Self {
        let at = door(server, "socket_io");
        let login: Result<Value, Refused> =
            post(at, "/log_in", None, &json!({"username": name, "password": PASSWORD}));
        let login = login.expect("an answer");
        assert_eq!(login["result"], "success", "{login}");
        let mut one = Self::connect(at);
        one.name = name.to_owned();
        one.token = login["token"].as_str().expect("a token").to_owned();
        for room in rooms {
            assert_eq!(one.join_as(name, room), json!({"result": "success"}), "{room}");
        }
        while next(&one.appeared, "it appears") != name {}
        let (living, own, (alive, ended)) = (Arc::clone(&one.write), name.to_owned(), channel());
        thread::spawn(move || live(&living, &own, &ended));
        one.alive = Some(alive);
        one
    }

    /// A connection of nobody yet.
    pub(crate) fn connect(at: SocketAddr) -> Self {
        let request = format!("ws://{at}/socket.io/?EIO=4&transport=websocket").into_client_request();
        let stream = TcpStream::connect(at).expect("the door is open");
        stream.set_nodelay(true).expect("a live socket");
        let write = stream.try_clone().expect("a second handle");
        let (read, _) =
            tokio_tungstenite::tungstenite::client(request.expect("a request"), stream).expect("an upgrade");
        let write = Arc::new(Mutex::new(WebSocket::from_raw_socket(write, Role::Client, None)));
        let ((answer, answers), (tell, heard), (appear, appeared)) = (channel(), channel(), channel());
        let answering = Arc::clone(&write);
        thread::spawn(move || listen(read, &answering, &answer, &tell, &appear));
        let (name, token) = (String::new(), String::new());
        let one = Self { write, name, token, answers, heard, appeared, alive: None };
        say(&one.write, "40");
        // What is said before the answer ends the connection.
        assert_eq!(next(&one.answers, "the connection"), "connected");
        one
    }

    /// The answer to an event.
    pub(crate) fn ask(&self, event: &str, data: &Value) -> Value {
        say(&self.write, &format!("420{}", json!([event, data])));
        next(&self.answers, event)
    }

    /// The answer to joining a room under a name.
    pub(crate) fn join_as(&self, name: &str, room: &str) -> Value {
        self.ask("join", &json!({"client": name, "room": room, "jwt": self.token}))
    }

    pub(crate) fn chat(&self, room: &str, text: &str) {
        self.chat_as(&self.name, room, text);
    }

    pub(crate) fn chat_as(&self, name: &str, room: &str, text: &str) {
        let said = json!({"sender": name, "content": text, "conversation_room": room, "jwt": self.token});
        say(&self.write, &format!("42{}", json!(["client_sends_message", said])));
    }
}

impl Drop for SocketIo {
    fn drop(&mut self) {
        // The heartbeat ends; and the listening thread, which has the socket too.
        self.alive = None;
        say(&self.write, "41");
        say(&self.write, "1");
    }
}

fn say(write: &Writer, packet: &str) {
    // A cut connection shows when listening.
    let _ = write.lock().unwrap_or_else(PoisonError::into_inner).send(Message::text(packet));
}

/// Says every six seconds that it lives, until the client is dropped.
fn live(write: &Writer, own: &str, ended: &Receiver<()>) {
    while ended.recv_timeout(ALIVE_EVERY) == Err(RecvTimeoutError::Timeout) {
        say(write, &format!("42{}", json!(["connection_alive", {"client": own}])));
    }
}

fn listen(
    mut read: WebSocket<TcpStream>,
    write: &Writer,
    answer: &Sender<Value>,
    tell: &Sender<Heard>,
    appear: &Sender<String>,
) {
    while let Ok(message) = read.read() {
        let Message::Text(packet) = message else { continue };
        let digits = packet.get(2..).map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        let (head, args) = packet.as_str().split_at((2 + digits).min(packet.len()));
        match head.get(..2) {
            Some("42") => {
                if digits > 0 {
                    say(write, &format!("43{}[]", &head[2..]));
                }
                let args: Value = serde_json::from_str(args).expect("JSON");
                let word = |key: &str| args[1][key].as_str().unwrap_or_default().to_owned();
                // Whoever no longer listens has what he wanted.
                let _ = match args[0].as_str() {
                    Some("received_message" | "ai_response_received") => {
                        let group = word("conversation_room").strip_prefix('#').map(str::to_owned);
                        tell.send(Heard { group, from: word("sender"), text: word("content") }).is_ok()
                    }
                    Some("new_user_online") => appear.send(word("username")).is_ok(),
                    _ => true,
                };
            }
            Some("43") => {
                let args: Value = serde_json::from_str(args).expect("JSON");
                let _ = answer.send(args[0].clone());
            }
            Some("40") => drop(answer.send(json!("connected"))),
            _ if packet.as_str() == "2" => say(write, "3"),
            _ => {}
        }
    }
}
