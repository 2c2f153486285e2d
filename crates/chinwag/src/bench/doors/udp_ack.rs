//! A lean client of the door `udp_ack`: a guest, one message on its way at a time, everything through the server.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::UdpSocket,
    time::{Instant, timeout},
};

use super::drive::{Marks, Seen};

/// "Timeout 500 ms."
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// One guest.
pub(super) struct UdpAck {
    socket: UdpSocket,
    name: String,
    to: String,
    input: Vec<u8>,
    /// What waits for its acknowledgement, and since when.
    sent: Option<(Vec<u8>, Instant)>,
    /// What is to be sent now.
    output: Vec<Vec<u8>>,
}

impl UdpAck {
    /// Comes in by name.
    pub(super) async fn sign_in(at: SocketAddr, name: &str) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(at).await?;
        let (mut input, mut word) = (vec![0; 2_048], "register");
        for _ in 0..20 {
            socket.send(format!("{word} {name}").as_bytes()).await?;
            let until = Instant::now() + AGAIN_AFTER;
            while let Ok(received) = tokio::time::timeout_at(until, socket.recv(&mut input)).await {
                let datagram = &input[..received?];
                if datagram.starts_with(b"registered") || datagram.starts_with(b"reg_suc") {
                    let (sent, output) = (None, Vec::new());
                    let (name, to) = (name.to_owned(), String::new());
                    return Ok(Self { socket, name, to, input, sent, output });
                }
                if datagram.starts_with(b"please_signin") {
                    // The name is ours from an earlier run.
                    word = "reg";
                    break;
                }
            }
        }
        Err(io::Error::other(format!("udp_ack: {name} does not get in")))
    }

    pub(super) fn write_to(&mut self, other: &str) {
        other.clone_into(&mut self.to);
    }

    pub(super) fn post(&mut self, text: &str) {
        let datagram = format!("send {} {text} {}", self.to, self.name).into_bytes();
        self.output.push(datagram.clone());
        self.sent = Some((datagram, Instant::now()));
    }

    pub(super) fn take(&mut self, marks: &Marks, mut see: impl FnMut(Seen)) {
        let datagram = std::mem::take(&mut self.input);
        if datagram.starts_with(b"ack_on") {
            if self.sent.take().is_some() {
                see(Seen::Done(None));
            }
        } else if datagram.starts_with(b"send ") {
            self.output.push(format!("ack_on [Message received by {}]", self.name).into_bytes());
            marks.find(&datagram, &mut see);
        } else if datagram.starts_with(b"Channel-Message") {
            self.output.push(format!("ack_channel [Message received by {}]", self.name).into_bytes());
            marks.find(&datagram, &mut see);
        }
        self.input = datagram;
        self.input.clear();
    }

    /// Waits for a datagram, or for the time to send again.
    pub(super) async fn more(&mut self) -> io::Result<()> {
        self.input.resize(2_048, 0);
        let until = self
            .sent
            .as_ref()
            .map_or(AGAIN_AFTER, |(_, at)| (*at + AGAIN_AFTER).saturating_duration_since(Instant::now()));
        if let Ok(received) = timeout(until, self.socket.recv(&mut self.input)).await {
            let count = received?;
            self.input.truncate(count);
            return Ok(());
        }
        self.input.clear();
        if let Some((datagram, at)) = &mut self.sent {
            self.output.push(datagram.clone());
            *at = Instant::now();
        }
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        for datagram in self.output.drain(..) {
            self.socket.send(&datagram).await?;
        }
        Ok(())
    }
}
