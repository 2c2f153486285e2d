//! A lean client of the door `pipe_line`: strictly one request at a time, each ended by a line feed, and the
//! connection that the server dials back, on which each push is answered.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

use super::{
    drive::{Marks, Seen},
    stream::Stream,
};

/// One signed-in client.
pub(super) struct PipeLine {
    main: Stream,
    back: Stream,
    name: String,
    to: String,
}

impl PipeLine {
    /// Listens, is dialled back and signs in.
    pub(super) async fn sign_in(at: SocketAddr, name: &str, password: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut main = Stream::connect(at).await?;
        ask(&mut main, &format!("PORT|{}\n", listener.local_addr()?.port()), "OK").await?;
        let back = Stream::over(listener.accept().await?.0)?;
        ask(&mut main, &format!("LOGIN|{name}|{password}\n"), "0|OK").await?;
        Ok(Self { main, back, name: name.to_owned(), to: String::new() })
    }

    pub(super) fn write_to(&mut self, other: &str) {
        other.clone_into(&mut self.to);
    }

    pub(super) fn post(&mut self, text: &str) {
        self.main.output.extend_from_slice(format!("MSG|{}|{}|{text}\n", self.name, self.to).as_bytes());
    }

    pub(super) fn take(&mut self, marks: &Marks, mut see: impl FnMut(Seen)) {
        // "One `send` is one message, one `recv` is one message", and each waits for its answer.
        let answer = self.main.input();
        if !answer.is_empty() {
            let length = answer.len();
            see(if answer.starts_with(b"0|") { Seen::Done(None) } else { Seen::Refused });
            self.main.took(length);
        }
        let push = self.back.input();
        if !push.is_empty() {
            let (length, mut answer) = (push.len(), b"0|OK".to_vec());
            if push.starts_with(b"R|") {
                marks.find(push, &mut see);
                let number = push.split(|byte| *byte == b'|').nth(2).unwrap_or_default();
                answer.truncate(2);
                answer.extend_from_slice(number);
            }
            self.back.took(length);
            self.back.output.append(&mut answer);
        }
    }

    pub(super) async fn more(&mut self) -> io::Result<()> {
        tokio::select! {
            more = self.main.more() => more,
            more = self.back.more() => more,
        }
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.main.flush().await?;
        self.back.flush().await
    }
}

async fn ask(main: &mut Stream, request: &str, wanted: &str) -> io::Result<()> {
    main.say(request).await?;
    main.more().await?;
    let answer = String::from_utf8_lossy(main.input()).into_owned();
    main.took(answer.len());
    if answer == wanted { Ok(()) } else { Err(io::Error::other(format!("pipe_line: {answer}"))) }
}
