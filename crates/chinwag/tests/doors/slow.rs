//! Clients that ask and ask and take next to nothing: they are slowed and not cut off, and nothing is lost.
//!
//! Each takes a little of what it was told only while it can send no more. What it sends is more than may wait at a link
//! and in the sockets; so a door that went on reading would cut it off.

use std::{io::ErrorKind, net::SocketAddr, path::Path};

use chinwag_protocol::ConversationId;
use tokio::{
    io::Interest,
    net::{TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
    time::timeout,
};

use crate::{
    support::{PASSWORD, PATIENCE, Person, Server, folder, lifted},
    wires::door,
};

const REQUESTS: usize = 10_000;

/// Letters of a request: all together ten megabytes.
const WEIGHT: usize = 1_000;

/// A client with small buffers.
struct Narrow {
    runtime: Runtime,
    stream: TcpStream,
    heard: Vec<u8>,
    /// It could not send what it wanted to.
    was_slowed: bool,
}

impl Narrow {
    fn connect(to: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let stream = runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(4_096)?;
            socket.set_send_buffer_size(4_096)?;
            socket.connect(to).await
        });
        Self { runtime, stream: stream.expect("the door is open"), heard: Vec::new(), was_slowed: false }
    }

    /// Sends all of it, whatever has to be read for that.
    fn say(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.was_slowed = true;
                    self.take(Interest::READABLE | Interest::WRITABLE, 512);
                }
                Err(error) => panic!("cut off: {error}"),
            }
        }
    }

    /// Takes at most so much of what there is when one of these is possible.
    fn take(&mut self, interest: Interest, most: usize) {
        let ready = async { timeout(PATIENCE, self.stream.ready(interest)).await };
        self.runtime.block_on(ready).expect("something happens").expect("a live connection");
        let mut buffer = vec![0; most];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => panic!("cut off after {} bytes", self.heard.len()),
            Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("cut off: {error}"),
        }
    }

    /// Reads on until this is the last that was heard.
    fn until(&mut self, ending: &str) {
        while !self.heard.ends_with(ending.as_bytes()) {
            self.take(Interest::READABLE, 64 * 1024);
        }
    }
}

/// Somebody with an account, at a server that is in nobody's way.
fn opened(data: &Path, name: &str) -> (Server, Person, Narrow) {
    let config = lifted(data);
    let wish = format!("{name}=127.0.0.1:0");
    let server = Server::start_with(data, &["--config", config.to_str().expect("UTF-8"), "--door", &wish]);
    let anna = server.register("anna");
    let client = Narrow::connect(door(&server, name));
    (server, anna, client)
}

/// Something heavy that has a number.
fn heavy(number: usize) -> String {
    format!("{number:_>WEIGHT$}")
}

/// The number of something heavy.
fn number(heavy: &str) -> usize {
    heavy[..WEIGHT].trim_start_matches('_').parse().expect("a number")
}

fn frame(text: &str) -> String {
    format!("{:05}{text}", text.chars().count())
}

#[test]
fn tcp_json_slows_a_client_down_and_loses_nothing() {
    let data = folder();
    let (_server, anna, mut client) = opened(data.path(), "tcp_json");
    let login = format!(r#"{{"action": "login", "username": "anna", "password": "{PASSWORD}"}}"#);
    client.say(frame(&login).as_bytes());
    client.say(frame(r#"{"action": "load_history"}"#).as_bytes());
    // Half of them are answered, and each answer is waited for; the others are messages, and come back.
    for number in 0..REQUESTS {
        let text = heavy(number);
        let request = match number % 2 {
            0 => format!(r#"{{"action": "poem", "index": "{text}"}}"#),
            _ => format!(r#"{{"action": "send_chat", "send_to": 200001, "message": "{text}"}}"#),
        };
        client.say(frame(&request).as_bytes());
    }
    client.say(frame(r#"{"action": "logout"}"#).as_bytes());
    client.until(r#""message": "anna has logged out"}"#);
    assert!(client.was_slowed);
    let heard = String::from_utf8(client.heard).expect("ASCII");
    let poems = heard.split(r#""poem", "index": ""#).skip(1).map(number);
    assert!(poems.eq((0..REQUESTS).step_by(2)), "an answer is missing, or in a wrong place");
    let said = anna.texts(ConversationId(1)).into_iter().map(|(_, text)| number(&text));
    assert!(said.eq((1..REQUESTS).step_by(2)), "a message is missing, or in a wrong place");
}

#[test]
fn tag_json_slows_a_client_down_and_loses_nothing() {
    let data = folder();
    let (_server, _anna, mut client) = opened(data.path(), "tag_json");
    client.say(format!(r#"{{"ACTION": "LOGIN", "ID": "anna", "KEY": "{PASSWORD}"}}<TAG>"#).as_bytes());
    for number in 0..REQUESTS {
        let id = heavy(number);
        let tag =
            format!(r#"{{"ACTION": "ADD", "TYPE": "CONTACT", "user_id": "nobody", "ID": "{id}"}}<TAG>"#);
        client.say(tag.as_bytes());
    }
    client.until(&format!(r#""ID": "{}", "RESPONSE": "EXTINCT"}}<TAG>"#, heavy(REQUESTS - 1)));
    assert!(client.was_slowed);
    let heard = String::from_utf8(client.heard).expect("UTF-8");
    let ids = heard.split(r#""ACTION": "ADD", "ID": ""#).skip(1).map(number);
    assert!(ids.eq(0..REQUESTS), "an answer is missing, or in a wrong place");
}

#[test]
fn pipe_line_slows_a_client_down_and_loses_nothing() {
    let data = folder();
    let (_server, _anna, mut client) = opened(data.path(), "pipe_line");
    client.say(format!("LOGIN|anna|{PASSWORD}\n").as_bytes());
    for number in 0..REQUESTS {
        client.say(format!("MSG|anna|nobody|{}\n", heavy(number)).as_bytes());
    }
    client.say(b"QUIT|DISCONNECT\n");
    // Answers of this wire say nothing of what they answer, and nothing stands between them.
    let answers = "2|no target user".repeat(REQUESTS);
    client.until(&format!("{answers}0|OK"));
    assert!(client.was_slowed);
    assert_eq!(client.heard.len(), "0|OK".len() + answers.len() + "0|OK".len());
}
