//! The smallest client of the documented protocol: one HTTP request, one WebSocket. Blocking, without reconnecting.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use chinwag_protocol::{ClientFrame, Kind, Refused, ServerFrame};
use rustix::net::{self, AddressFamily, SocketType, sockopt};
use serde::{Serialize, de::DeserializeOwned};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket, client::IntoClientRequest};

const PATIENCE: Duration = Duration::from_secs(10);

/// For a connection to be made: where nothing passes, soon enough another try.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Bytes that the kernel keeps for a client that does not read: few, so that a stalled one is noticed.
const RECEIVE_BYTES: usize = 16 * 1024;

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket(family, SocketType::STREAM, None)?;
    sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BYTES)?;
    // Linux bounds a connect by this too.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(CONNECT_WITHIN))?;
    net::connect(&socket, &address)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// One request on a connection of its own. `Err`: refused, or `unavailable` if nobody knows.
pub(crate) fn post<T: DeserializeOwned>(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
    body: &impl Serialize,
) -> Result<T, Refused> {
    let lost = |error: String| Refused::new(Kind::Unavailable, "unreachable", error);
    let body = serde_json::to_vec(body).map_err(|error| lost(error.to_string()))?;
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut head = vec![("Content-Type", "application/json")];
    head.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
    let talked = connect(address).and_then(|stream| talk(stream, "POST", path, &head, &body));
    let (status, _, body) = talked.map_err(|error| lost(error.to_string()))?;
    if (200..300).contains(&status) {
        serde_json::from_str(&body).map_err(|error| lost(error.to_string()))
    } else {
        Err(serde_json::from_str(&body).map_err(|error| lost(error.to_string()))?)
    }
}

/// One HTTP request on a connection that is over then: status, head and body of its answer.
pub(crate) fn talk(
    mut stream: TcpStream,
    method: &str,
    path: &str,
    more: &[(&str, &str)],
    body: &[u8],
) -> io::Result<(u16, String, String)> {
    let address = stream.peer_addr()?;
    let more: String = more.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer).map_err(io::Error::other)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(ErrorKind::InvalidData)?, head.to_owned(), body.to_owned()))
}

/// Signs in as a web page does: the token comes as a cookie. What to send back from then on.
pub(crate) fn cookie(address: SocketAddr, device: &impl Serialize) -> io::Result<String> {
    let body = serde_json::to_vec(device)?;
    let origin = format!("http://{address}");
    let head = [("Content-Type", "application/json"), ("Origin", &*origin)];
    let (_, head, _) = talk(connect(address)?, "POST", "/api/sign-in", &head, &body)?;
    let line = head.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = line.and_then(|line| line.split(';').next()).ok_or(ErrorKind::InvalidData)?;
    Ok(cookie.to_owned())
}

/// One WebSocket.
pub(crate) struct Socket(WebSocket<TcpStream>);

/// What reading led to.
pub(crate) enum Came {
    Frame(Box<ServerFrame>),
    /// Nothing, for the time being.
    Nothing,
    /// The connection has ended.
    End,
}

impl Socket {
    /// Connects and says hello. A web page shows its cookie and where it is from.
    pub(crate) fn open(address: SocketAddr, cookie: Option<&str>, hello: &ClientFrame) -> Option<Self> {
        let stream = connect(address).ok()?;
        let mut request = format!("ws://{address}/api/ws").into_client_request().ok()?;
        if let Some(cookie) = cookie {
            let head = request.headers_mut();
            head.insert("cookie", cookie.parse().ok()?);
            head.insert("origin", format!("http://{address}").parse().ok()?);
        }
        let (socket, _response) = tungstenite::client(request, stream).ok()?;
        let mut socket = Self(socket);
        socket.send(hello).then_some(socket)
    }

    /// How long a read waits for something.
    pub(crate) fn wait_at_most(&self, wait: Duration) {
        // A socket that is gone says so when it is read.
        let _ = self.0.get_ref().set_read_timeout(Some(wait.max(Duration::from_millis(1))));
    }

    /// Sends a frame; false if the connection has ended.
    pub(crate) fn send(&mut self, frame: &ClientFrame) -> bool {
        let Ok(text) = serde_json::to_string(frame) else { return false };
        self.0.send(Message::Text(text.into())).is_ok()
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> Came {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => {
                    return serde_json::from_str(&text)
                        .map_or(Came::End, |frame| Came::Frame(Box::new(frame)));
                }
                Ok(Message::Close(_)) => return Came::End,
                Ok(_) => {}
                Err(tungstenite::Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Came::Nothing;
                }
                Err(_) => return Came::End,
            }
        }
    }

    /// Cuts the connection without a word.
    pub(crate) fn cut(&self) {
        let _ = self.0.get_ref().shutdown(Shutdown::Both);
    }
}
