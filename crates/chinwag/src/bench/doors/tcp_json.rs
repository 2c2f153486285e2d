//! A lean client of the door `tcp_json`. The sender's own copy of a message is its acknowledgement.

use std::{io, net::SocketAddr};

use serde_json::{Value, json};

use super::{
    drive::{Marks, Seen},
    stream::Stream,
};

/// One signed-in client.
pub(super) struct TcpJson {
    stream: Stream,
    name: String,
    /// The number of the conversation with the other one.
    to: u64,
}

impl TcpJson {
    /// Signs in and asks for the list of groups, after which messages come.
    pub(super) async fn sign_in(at: SocketAddr, name: &str, password: &str) -> io::Result<Self> {
        let mut one = Self { stream: Stream::connect(at).await?, name: name.to_owned(), to: 0 };
        let login = json!({"action": "login", "username": name, "password": password});
        one.ask("login", &login, true).await?;
        one.ask("load_history", &json!({"action": "load_history", "send_from": name}), true).await?;
        Ok(one)
    }

    /// Opens the direct conversation with somebody.
    pub(super) async fn write_to(&mut self, other: &str) -> io::Result<()> {
        let group = format!("@{other}");
        let join = json!({"action": "join_group", "send_from": self.name, "group_name": group});
        // It was in the list before if an earlier run opened it; the answer has its number all the same.
        let answer = self.ask("join_group", &join, false).await?;
        self.to = answer["group_id"].as_u64().ok_or_else(|| io::Error::other("no such conversation"))?;
        Ok(())
    }

    async fn ask(&mut self, action: &str, request: &Value, must: bool) -> io::Result<Value> {
        let text = request.to_string();
        self.stream.say(&format!("{:05}{text}", text.len())).await?;
        loop {
            while let Some(length) = whole(self.stream.input()) {
                let answer: Value = serde_json::from_slice(&self.stream.input()[5..length])?;
                self.stream.took(length);
                if answer["action"] != action {
                    continue;
                }
                return match answer["status"] == true || !must {
                    true => Ok(answer),
                    false => Err(io::Error::other(format!("tcp_json: {answer}"))),
                };
            }
            self.stream.more().await?;
        }
    }

    pub(super) fn post(&mut self, text: &str) {
        let (name, to) = (&self.name, self.to);
        let text = format!(
            r#"{{"action": "send_chat", "send_from": "{name}", "send_to": {to}, "message": "{text}\n"}}"#
        );
        self.stream.output.extend_from_slice(format!("{:05}{text}", text.len()).as_bytes());
    }

    pub(super) fn take(&mut self, marks: &Marks, mut see: impl FnMut(Seen)) {
        while let Some(length) = whole(self.stream.input()) {
            marks.find(&self.stream.input()[..length], &mut see);
            self.stream.took(length);
        }
    }

    pub(super) async fn more(&mut self) -> io::Result<()> {
        self.stream.more().await
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.stream.flush().await
    }
}

/// The length of the frame at the beginning, if all of it is there. The server writes ASCII only.
fn whole(bytes: &[u8]) -> Option<usize> {
    let digits = bytes.get(..5)?;
    let length = 5 + digits.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit & 15));
    (bytes.len() >= length).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_found_when_it_is_whole() {
        assert_eq!(whole(b"0001"), None);
        assert_eq!(whole(b"00012{\"a\": \"bcd\"}"), Some(17));
        assert_eq!(whole(b"00012{\"a\": \"bc\""), None);
        assert_eq!(whole(b"00002{}00"), Some(7));
    }
}
