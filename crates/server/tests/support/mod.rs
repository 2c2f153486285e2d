//! A server in this process, and a client that sends exactly the bytes it is told to.

#![allow(clippy::unwrap_used, reason = "this is a test, though clippy does not see that of its helpers")]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{net::SocketAddr, time::Duration};

use chinwag_server::{config::Config, serve::Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

/// Long enough for any machine; only a broken server waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs until it is dropped or stopped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Option<SocketAddr>,
    /// Makes whoever registers with it an administrator.
    pub(crate) setup: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// Starts a server on a fresh folder and any free port.
pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { data: folder.path().into(), ..Config::default() };
    config.listen.set_port(0);
    change(&mut config);
    let server = Server::start(config).await.unwrap();
    let (address, metrics) = (server.address(), server.metrics_address());
    let setup = server.setup_token().map(str::to_owned);
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    Running { address, metrics, setup, stop: Some(stop), ended, _folder: folder }
}

impl Running {
    /// A connection to it.
    pub(crate) async fn connect(&self) -> Raw {
        Raw { stream: TcpStream::connect(self.address).await.unwrap(), read: Vec::new() }
    }

    /// A connection to its figures.
    pub(crate) async fn connect_to_metrics(&self) -> Raw {
        let address = self.metrics.expect("the configuration asks for figures");
        Raw { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    /// Sends one request of its own connection and reads its answer.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut raw = self.connect().await;
        raw.send(request).await;
        raw.answer().await
    }

    /// `Host: ...` of this server.
    pub(crate) fn host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// A whole request for JSON, with these further header lines.
    pub(crate) fn post(&self, path: &str, headers: &str, body: &str) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            self.host(),
            body.len()
        )
    }

    /// A whole request without a body, with these further header lines.
    pub(crate) fn get(&self, path: &str, headers: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.host())
    }

    /// A good handshake, with these further header lines.
    pub(crate) fn handshake(&self, headers: &str) -> String {
        let usual = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        self.get("/api/ws", &format!("{usual}{headers}"))
    }

    /// Makes an account; answers its token.
    pub(crate) async fn register(&self, handle: &str) -> String {
        self.register_with(handle, "").await
    }

    /// The same with what was in an invitation.
    pub(crate) async fn register_with(&self, handle: &str, invite: &str) -> String {
        let mut body = serde_json::json!({ "handle": handle, "password": "correct horse" });
        if !invite.is_empty() {
            body["invite"] = invite.into();
        }
        let body = body.to_string();
        let answer = self.ask(self.post("/api/register", "", &body)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let signed_in: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        signed_in["token"].as_str().unwrap().to_owned()
    }

    /// Stops it and waits for its end.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        tokio::time::timeout(PATIENCE, self.ended).await.expect("the server ends").unwrap();
    }
}

/// An answer of HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert_eq!(values.next(), None, "{name} is there twice");
        first
    }

    /// The code of the refusal in it.
    pub(crate) fn code(&self) -> String {
        let refused: serde_json::Value = serde_json::from_str(&self.body).expect("a refusal is JSON");
        refused["code"].as_str().expect("a refusal has a code").to_owned()
    }
}

/// A connection.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The server may refuse and close before it has read everything.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Reads more; `false` at the end of the connection.
    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        read.expect("the server answers or closes").is_ok_and(|len| len > 0)
    }

    /// The next head, of an answer that has no body.
    pub(crate) async fn head(&mut self) -> String {
        self.try_head().await.expect("an answer before the end of the connection")
    }

    async fn try_head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                return Some(String::from_utf8(self.read.drain(..at + 4).collect()).unwrap());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("an answer before the end of the connection")
    }

    /// The next answer; `None` if the connection ends instead.
    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        let head = self.try_head().await?;
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, value)| value.parse::<usize>().unwrap());
        while self.read.len() < length {
            assert!(self.more().await, "the body is cut off");
        }
        let body = String::from_utf8_lossy(&self.read.drain(..length).collect::<Vec<_>>()).into_owned();
        Some(Answer { status, headers, body })
    }

    /// Waits until the server closes the connection without another word.
    pub(crate) async fn closes(mut self) {
        while self.more().await {}
        assert!(self.read.is_empty(), "unexpected: {:?}", String::from_utf8_lossy(&self.read));
    }

    /// Reads frames of the server up to its close frame; answers its code.
    pub(crate) async fn close_code(mut self) -> u16 {
        loop {
            while let Some((opcode, payload)) = self.take_frame() {
                if opcode == 8 {
                    return u16::from_be_bytes([payload[0], payload[1]]);
                }
            }
            assert!(self.more().await, "closed without a close frame");
        }
    }

    /// The next text frame.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            if let Some((opcode, payload)) = self.take_frame() {
                assert_eq!(opcode, 1, "{payload:?}");
                return String::from_utf8(payload).unwrap();
            }
            assert!(self.more().await, "closed without a text frame");
        }
    }

    /// The next text frame; `None` at the end of the connection.
    pub(crate) async fn try_text(&mut self) -> Option<String> {
        loop {
            match self.take_frame() {
                Some((1, payload)) => return Some(String::from_utf8(payload).unwrap()),
                Some(_) => {}
                None if !self.more().await => return None,
                None => {}
            }
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, second) = (*self.read.first()?, *self.read.get(1)?);
        assert_eq!(first & 0xf0, 0x80, "complete, and no extension");
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (start, len) = match second {
            126 => (4, usize::from(u16::from_be_bytes(self.read.get(2..4)?.try_into().unwrap()))),
            127 => (10, u64::from_be_bytes(self.read.get(2..10)?.try_into().unwrap()) as usize),
            short => (2, usize::from(short)),
        };
        let payload = self.read.get(start..start + len)?.to_vec();
        self.read.drain(..start + len);
        Some((first & 0x0f, payload))
    }
}

/// A masked frame with any first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}
