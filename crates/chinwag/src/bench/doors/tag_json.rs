//! A lean client of the door `tag_json`, in the dialect of its real client. A message has no acknowledgement there.

use std::{io, net::SocketAddr};

use super::{
    drive::{Marks, Seen, find},
    stream::Stream,
};

const MARK: &[u8] = b"<TAG>";

/// One signed-in client.
pub(super) struct TagJson {
    stream: Stream,
    name: String,
    to: String,
    /// So far it was looked for a mark.
    looked: usize,
}

impl TagJson {
    /// Signs in and asks for its data, after which messages come.
    pub(super) async fn sign_in(at: SocketAddr, name: &str, password: &str) -> io::Result<Self> {
        let mut one =
            Self { stream: Stream::connect(at).await?, name: name.to_owned(), to: String::new(), looked: 0 };
        let login = format!(r#"{{"ID": "{name}", "KEY": "{password}", "ACTION": "LOGIN", "DATE_TIME": 1}}"#);
        one.ask("LOGIN", &login).await?;
        let data = format!(r#"{{"ID": "{name}", "ACTION": "DATA", "TYPE": "CONTACT"}}"#);
        one.ask("DATA", &data).await?;
        Ok(one)
    }

    pub(super) fn write_to(&mut self, other: &str) {
        other.clone_into(&mut self.to);
    }

    async fn ask(&mut self, action: &str, request: &str) -> io::Result<()> {
        self.stream.say(&format!("{request}<TAG>")).await?;
        loop {
            while let Some(at) = find(self.stream.input(), MARK) {
                let answer = serde_json::from_slice::<serde_json::Value>(&self.stream.input()[..at])?;
                self.stream.took(at + MARK.len());
                if answer["ACTION"] != action || answer["RESPONSE"].is_null() {
                    continue;
                }
                return match answer["RESPONSE"] == "SUCCESSFUL" {
                    true => Ok(()),
                    false => Err(io::Error::other(format!("tag_json: {answer}"))),
                };
            }
            self.stream.more().await?;
        }
    }

    pub(super) fn post(&mut self, text: &str, number: u32) {
        let (name, to) = (&self.name, &self.to);
        let tag = format!(
            r#"{{"RECIPIENT": "{to}", "DATA": "", "CHAT": "TEXT", "TYPE": "CONTACT", "SENDER": "{name}", "ACTION": "CHAT", "TEXT": "{text}", "ID": "{name}-{number}", "DATE_TIME": 1}}<TAG>"#
        );
        self.stream.output.extend_from_slice(tag.as_bytes());
    }

    pub(super) fn take(&mut self, marks: &Marks, mut see: impl FnMut(Seen)) {
        while let Some(at) = find(&self.stream.input()[self.looked..], MARK) {
            let length = self.looked + at + MARK.len();
            marks.find(&self.stream.input()[..length], &mut see);
            self.stream.took(length);
            self.looked = 0;
        }
        self.looked = self.stream.input().len().saturating_sub(MARK.len() - 1);
    }

    pub(super) async fn more(&mut self) -> io::Result<()> {
        self.stream.more().await
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.stream.flush().await
    }
}
