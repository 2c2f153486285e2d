//! People with accounts, by plain HTTP: for what the checker's clients do not do.
//!
//! It shares no code with the server, and blocks.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::net::{self, AddressFamily, SocketType, sockopt};
use serde_json::{Value, json};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const PASSWORD: &str = "correct horse battery";

/// Connects; `receive_bytes` is what the kernel keeps for somebody who does not read.
pub(super) fn connect(address: SocketAddr, receive_bytes: Option<usize>) -> io::Result<TcpStream> {
    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    if let Some(bytes) = receive_bytes {
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    }
    // Linux also bounds a connect by this.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(PATIENCE))?;
    net::connect(&socket, &address)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A request without its body.
pub(super) fn head(
    address: SocketAddr,
    verb: &str,
    token: Option<&str>,
    kind: &str,
    length: usize,
) -> Vec<u8> {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "{verb} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {kind}\r\n{token}Content-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}

/// What a server answered: its status and the body.
pub(super) fn answer(stream: &mut TcpStream) -> Result<(u16, Vec<u8>)> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("no answer")?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, body))
}

/// One request on a connection of its own.
pub(super) fn exchange(
    address: SocketAddr,
    verb: &str,
    token: Option<&str>,
    (kind, body): (&str, &[u8]),
    patience: Duration,
) -> Result<(u16, Vec<u8>)> {
    let mut stream = connect(address, None)?;
    stream.set_read_timeout(Some(patience))?;
    let mut request = head(address, verb, token, kind, body.len());
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    answer(&mut stream)
}

/// What is there to be read by anybody.
pub(super) fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let (status, body) = exchange(address, &format!("GET {path}"), None, ("text/plain", b""), PATIENCE)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// A question in JSON: its status and answer.
pub(super) fn ask(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
    body: &Value,
    patience: Duration,
) -> Result<(u16, Value)> {
    let body = body.to_string();
    let content = ("application/json", body.as_bytes());
    let (status, answer) = exchange(address, &format!("POST {path}"), token, content, patience)?;
    Ok((status, serde_json::from_slice(&answer).unwrap_or_default()))
}

/// One that has to succeed.
pub(super) fn post(address: SocketAddr, path: &str, token: Option<&str>, body: &Value) -> Result<Value> {
    let (status, answer) = ask(address, path, token, body, PATIENCE)?;
    if status != 200 {
        bail!("{path} {body}: {status} {answer}");
    }
    Ok(answer)
}

/// Somebody who is signed in, wherever the server is.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) handle: String,
    pub(super) user: u64,
    pub(super) token: String,
}

pub(super) fn device(handle: &str, password: &str) -> Value {
    json!({"handle": handle, "password": password, "device": "chaos"})
}

fn account(address: SocketAddr, path: &str, handle: &str) -> Result<Account> {
    let answer = post(address, path, None, &device(handle, PASSWORD))?;
    let user = answer["user"].as_u64().context("no user")?;
    let token = answer["token"].as_str().context("no token")?.to_owned();
    Ok(Account { handle: handle.to_owned(), user, token })
}

impl Account {
    pub(super) fn register(address: SocketAddr, handle: &str) -> Result<Self> {
        account(address, "/api/register", handle)
    }

    /// Another session of the same user.
    pub(super) fn sign_in(address: SocketAddr, handle: &str) -> Result<Self> {
        account(address, "/api/sign-in", handle)
    }

    /// Opens a conversation between two.
    pub(super) fn direct(&self, address: SocketAddr, other: &Self) -> Result<u64> {
        self.conversation(address, &json!({"open_direct": {"user": other.user}}))
    }

    /// Makes a public group, so that anybody can join.
    pub(super) fn group(&self, address: SocketAddr, name: &str, members: &[u64]) -> Result<u64> {
        let group = json!({"create_conversation": {"client_id": format!("make-{name}"), "kind": "group", "name": name,
            "public": true, "history": "all", "members": members}});
        self.conversation(address, &group)
    }

    fn conversation(&self, address: SocketAddr, command: &Value) -> Result<u64> {
        let answer = post(address, "/api/command", Some(&self.token), command)?;
        answer["conversation"]["conversation"].as_u64().with_context(|| format!("no conversation: {answer}"))
    }
}

/// People, some at a time: a password is slow to hash by design.
pub(super) fn people(address: SocketAddr, name: &str, count: usize) -> Result<Vec<Account>> {
    let handles: Vec<String> = (0..count).map(|number| format!("{name}-{number}")).collect();
    let all: Vec<Result<Vec<Account>>> = std::thread::scope(|scope| {
        let parts: Vec<_> = handles
            .chunks(count.div_ceil(4).max(1))
            .map(|part| {
                scope.spawn(|| part.iter().map(|handle| Account::register(address, handle)).collect())
            })
            .collect();
        parts.into_iter().map(|part| part.join().expect("registering does not panic")).collect()
    });
    let mut people = Vec::new();
    for part in all {
        people.extend(part?);
    }
    Ok(people)
}

/// Somebody who is signed in to one server, which stays where it is.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) address: SocketAddr,
    pub(super) account: Account,
}

impl Person {
    pub(super) fn register(address: SocketAddr, handle: &str) -> Result<Self> {
        Ok(Self { address, account: Account::register(address, handle)? })
    }

    fn token(&self) -> Option<&str> {
        Some(&self.account.token)
    }

    /// The status and the answer.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        ask(self.address, path, self.token(), body, Duration::from_secs(30))
    }

    /// Makes a group.
    pub(super) fn group(&self, name: &str) -> Result<u64> {
        self.account.group(self.address, name, &[])
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

    /// What stands before the bytes of an upload.
    pub(super) fn upload_head(&self, name: &str, length: usize) -> Vec<u8> {
        let verb = format!("POST /api/files?name={name}");
        head(self.address, &verb, self.token(), "application/octet-stream", length)
    }

    /// Hands a file over: the status and the answer.
    pub(super) fn upload(&self, name: &str, bytes: &[u8]) -> Result<(u16, Value)> {
        let verb = format!("POST /api/files?name={name}");
        let content = ("application/octet-stream", bytes);
        let (status, answer) = exchange(self.address, &verb, self.token(), content, PATIENCE)?;
        Ok((status, serde_json::from_slice(&answer).unwrap_or_default()))
    }

    /// Posts a file that was handed over: the status and the answer.
    pub(super) fn post_file(&self, conversation: u64, name: &str, file: &str) -> Result<(u16, Value)> {
        let post = json!({"conversation": conversation, "client_id": format!("file-{name}"), "text": "",
            "attachments": [{"file": file, "name": name}]});
        self.post("/api/command", &json!({"post": post}))
    }

    /// The first file of a message: the status and the bytes.
    pub(super) fn download(&self, conversation: u64, seq: u64) -> Result<(u16, Vec<u8>)> {
        let verb = format!("GET /api/files/{conversation}/{seq}/0");
        exchange(self.address, &verb, self.token(), ("text/plain", b""), PATIENCE)
    }
}
