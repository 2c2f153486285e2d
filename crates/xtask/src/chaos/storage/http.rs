//! Somebody with an account, by plain HTTP: for what the checker's clients do not do.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// One request on a connection of its own: the status and the body.
pub(super) fn ask(address: SocketAddr, request: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").context("no answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}

/// Somebody who is signed in.
pub(super) struct Person {
    pub(super) address: SocketAddr,
    token: String,
}

impl Person {
    pub(super) fn register(address: SocketAddr, handle: &str) -> Result<Self> {
        let mut person = Self { address, token: String::new() };
        let device = json!({"handle": handle, "password": "correct horse battery", "device": "chaos"});
        let answer = person.must("/api/register", &device)?;
        answer["token"].as_str().context("no token")?.clone_into(&mut person.token);
        Ok(person)
    }

    /// The status and the answer.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        let body = body.to_string();
        let token = match self.token.as_str() {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n{token}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let (status, answer) = ask(self.address, &request)?;
        Ok((status, serde_json::from_str(&answer).unwrap_or_default()))
    }

    fn must(&self, path: &str, body: &Value) -> Result<Value> {
        match self.post(path, body)? {
            (200, answer) => Ok(answer),
            (status, answer) => bail!("{path} {body}: {status} {answer}"),
        }
    }

    /// Makes a group.
    pub(super) fn group(&self, name: &str) -> Result<u64> {
        let command = json!({"create_conversation": {"client_id": format!("make-{name}"), "kind": "group",
            "name": name, "public": false, "history": "all", "members": []}});
        let answer = self.must("/api/command", &command)?;
        answer["conversation"]["conversation"].as_u64().with_context(|| format!("no conversation: {answer}"))
    }

    /// Says something: the status and the answer.
    pub(super) fn say(&self, conversation: u64, client_id: &str, text: &str) -> Result<(u16, Value)> {
        let post = json!({"conversation": conversation, "client_id": client_id, "text": text});
        self.post("/api/command", &json!({"post": post}))
    }

    /// A page of a log, up to 200 entries.
    pub(super) fn page(&self, conversation: u64, after: u64) -> Result<(u16, Value)> {
        let log = format!("c{conversation}");
        self.post("/api/query", &json!({"entries": {"log": log, "after": after, "limit": 200}}))
    }
}
