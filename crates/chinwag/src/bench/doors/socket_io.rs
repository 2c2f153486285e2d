//! A lean client of the door `socket_io`, over WebSocket and without Socket.IO's libraries: each packet is a frame.
//! The sender's own copy of a message is its acknowledgement.

use std::{io, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{
    super::socket::{self, Got, Incoming, Outgoing},
    drive::{Marks, Seen},
    stream::Stream,
};

/// "The heartbeat: every 6 s."
const ALIVE_EVERY: Duration = Duration::from_secs(6);

/// One signed-in client.
pub(super) struct SocketIo {
    incoming: Incoming,
    outgoing: Outgoing,
    name: String,
    token: String,
    /// The room with the other one.
    to: String,
    alive_at: Instant,
    /// What one is told when one has come, after which messages come.
    coming: Option<Vec<u8>>,
}

impl SocketIo {
    /// Logs in, connects and joins the room of one's own notices; one appears some seconds later.
    pub(super) async fn sign_in(at: SocketAddr, name: &str, password: &str) -> io::Result<Self> {
        let token = log_in(at, name, password).await?;
        let path = "/socket.io/?EIO=4&transport=websocket";
        let (incoming, outgoing) = socket::open_at(at, &at.to_string(), path, 0).await?;
        let mut one = Self {
            incoming,
            outgoing,
            name: name.to_owned(),
            token,
            to: String::new(),
            alive_at: Instant::now(),
            coming: Some(format!(r#"42["new_user_online",{{"username":"{name}"}}]"#).into_bytes()),
        };
        // What is said before the answer ends the connection.
        one.ask("40", b"40").await?;
        one.join(&pair("Admin", name)).await?;
        Ok(one)
    }

    /// Says something and waits for what begins like this; for preparing.
    async fn ask(&mut self, packet: &str, answer: &[u8]) -> io::Result<Vec<u8>> {
        self.outgoing.text(packet.as_bytes());
        loop {
            self.outgoing.flush().await?;
            let packet = self.incoming.next_text().await?;
            if let Some(rest) = packet.strip_prefix(answer) {
                return Ok(rest.to_vec());
            }
            if packet == b"2" {
                self.outgoing.text(b"3");
            }
        }
    }

    /// Whether one has appeared.
    pub(super) fn is_here(&self) -> bool {
        self.coming.is_none()
    }

    /// Joins the room with somebody.
    pub(super) async fn write_to(&mut self, other: &str) -> io::Result<()> {
        self.to = pair(&self.name, other);
        self.join(&self.to.clone()).await
    }

    async fn join(&mut self, room: &str) -> io::Result<()> {
        let join = json!(["join", {"client": self.name, "room": room, "jwt": self.token}]);
        let answer = self.ask(&format!("420{join}"), b"430").await?;
        match serde_json::from_slice::<Value>(&answer)?[0]["result"] == "success" {
            true => Ok(()),
            false => Err(io::Error::other(format!("socket_io: {}", String::from_utf8_lossy(&answer)))),
        }
    }

    pub(super) fn post(&mut self, text: &str) {
        let (name, to, token) = (&self.name, &self.to, &self.token);
        let packet = format!(
            r#"42["client_sends_message",{{"sender":"{name}","content":"{text}","conversation_room":"{to}","jwt":"{token}"}}]"#
        );
        self.outgoing.text(packet.as_bytes());
    }

    pub(super) fn take(&mut self, marks: &Marks, mut see: impl FnMut(Seen)) -> io::Result<()> {
        while let Some(got) = self.incoming.take()? {
            match got {
                Got::Text(place) => {
                    let packet = self.incoming.text(place);
                    if packet == b"2" {
                        self.outgoing.text(b"3");
                    } else if let Some(event) = packet.strip_prefix(b"42") {
                        let digits = event.iter().take_while(|byte| byte.is_ascii_digit()).count();
                        if digits > 0 {
                            self.outgoing.text(&[b"43", &event[..digits], b"[]"].concat());
                        }
                        if event[digits..].starts_with(br#"["received_message",{"sender":"Admin""#) {
                            see(Seen::Refused);
                        }
                        marks.find(event, &mut see);
                        self.coming.take_if(|coming| coming == packet);
                    }
                }
                Got::Ping(payload) => self.outgoing.pong(&payload),
                Got::Other => {}
                Got::Closed => return Err(io::Error::other("the server closed a connection")),
            }
        }
        Ok(())
    }

    pub(super) async fn more(&mut self) -> io::Result<()> {
        let left = ALIVE_EVERY.saturating_sub(self.alive_at.elapsed());
        if let Ok(more) = timeout(left, self.incoming.more()).await {
            return if more? { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        self.outgoing.text(format!(r#"42["connection_alive",{{"client":"{}"}}]"#, self.name).as_bytes());
        self.alive_at = Instant::now();
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.outgoing.flush().await
    }
}

/// "The pair in code-point order."
fn pair(one: &str, other: &str) -> String {
    if one < other { format!("{one}&{other}") } else { format!("{other}&{one}") }
}

/// The token for a name and a password, asked for as old clients do.
async fn log_in(at: SocketAddr, name: &str, password: &str) -> io::Result<String> {
    let body = json!({"username": name, "password": password}).to_string();
    let length = body.len();
    let mut stream = Stream::connect(at).await?;
    stream
        .say(&format!(
            "POST /log_in HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ))
        .await?;
    loop {
        let answer = String::from_utf8_lossy(stream.input());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| serde_json::from_str::<Value>(body));
        if let Some(Ok(body)) = body {
            let token = body["token"].as_str().map(str::to_owned);
            return token.ok_or_else(|| io::Error::other(format!("socket_io: {body}")));
        }
        stream.more().await?;
    }
}
