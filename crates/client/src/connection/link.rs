//! One WebSocket: frames in, frames out. Knows nothing of what they mean.

use std::time::Duration;

use chinwag_protocol::{ClientFrame, Hello, Origin, PROTOCOL_VERSION, ServerFrame};
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

use crate::{Address, ClientError};

const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that takes nothing for so long is not there any more.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);
/// A snapshot of a thousand conversations is a few megabytes.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// An open connection whose first frame was sent.
pub(super) struct Link {
    socket: WebSocketStream<TcpStream>,
}

/// What came over a link.
pub(super) enum Heard {
    Frame(ServerFrame),
    /// A control frame: the server is there.
    Life,
    /// Nothing more will come.
    Gone,
}

impl Link {
    pub(super) async fn open(
        server: &Address,
        token: &str,
        resume: Option<Origin>,
    ) -> Result<Self, ClientError> {
        let opening = async {
            let stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
            stream.set_nodelay(true)?;
            let request = format!("ws://{}/api/ws", server.authority()).into_client_request()?;
            let config = WebSocketConfig::default()
                .read_buffer_size(16 * 1024)
                .max_message_size(Some(FRAME_BYTES_MAX))
                .max_frame_size(Some(FRAME_BYTES_MAX));
            let (socket, _) =
                tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
            Ok::<_, tokio_tungstenite::tungstenite::Error>(socket)
        };
        let socket = match timeout(OPEN_TIMEOUT, opening).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(ClientError::unreachable(server, error)),
            Err(_) => {
                return Err(ClientError::unreachable(
                    server,
                    std::io::Error::from(std::io::ErrorKind::TimedOut),
                ));
            }
        };
        let mut link = Self { socket };
        let hello = Hello { version: PROTOCOL_VERSION, token: Some(token.to_owned()), resume };
        link.send(&ClientFrame::Hello(hello)).await.map_err(|()| ClientError::Lost)?;
        Ok(link)
    }

    /// Sends one frame. On an error the link is of no use any more.
    pub(super) async fn send(&mut self, frame: &ClientFrame) -> Result<(), ()> {
        let text = serde_json::to_string(frame).expect("the language has only text keys");
        match timeout(SEND_TIMEOUT, self.socket.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }

    /// Waits for the next thing. May be dropped while waiting without losing anything.
    pub(super) async fn hear(&mut self) -> Heard {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => match serde_json::from_str(text.as_str()) {
                Ok(frame) => Heard::Frame(frame),
                // A newer server may say what this version has no word for; entries of that kind would show as a
                // gap and are asked for again, so nothing is lost silently.
                Err(_) => Heard::Life,
            },
            Some(Ok(Message::Close(_)) | Err(_)) | None => Heard::Gone,
            Some(Ok(_)) => Heard::Life,
        }
    }

    /// Waits, not for long, until the server has taken everything that was sent: a signal is not answered, and what
    /// is still on its way when the connection closes may be dropped.
    pub(super) async fn settle(&mut self) {
        let answered = async {
            if self.send(&ClientFrame::Ping {}).await.is_err() {
                return;
            }
            while !matches!(self.hear().await, Heard::Gone | Heard::Frame(ServerFrame::Pong {})) {}
        };
        // What is lost after that is told again by the next connection that reads.
        let _ = timeout(SETTLE_TIMEOUT, answered).await;
    }

    /// Says good-bye, without waiting long for an answer.
    pub(super) async fn close(mut self) {
        let _ = timeout(Duration::from_millis(500), self.socket.close(None)).await;
    }
}
