//! Files over HTTP: handing one over before it is posted, and fetching one of a message.

use std::time::Duration;

use bytes::Bytes;
use chinwag_protocol::{Attachment, ConversationId, Refused, Seq};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, body::Incoming, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{Http, http::ClientError};

/// A file may take long, but not while nothing moves.
const SILENCE: Duration = Duration::from_secs(60);
/// How long all of an upload may take: the server answers only at its end.
const UPLOAD: Duration = Duration::from_secs(3600);
/// A refusal is short.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

impl Http {
    /// Hands a file over; a message can take it within an hour.
    pub async fn upload(&self, name: &str, bytes: impl Into<Bytes>) -> Result<Attachment, ClientError> {
        let path = format!("/api/files?name={}", escaped(name));
        let request = self.file_request(Method::POST, &path, bytes.into());
        let response = match timeout(UPLOAD, self.begin(request)).await {
            Ok(response) => response?,
            Err(_elapsed) => return Err(ClientError::Lost),
        };
        let mut body = response;
        let answer = collect(&mut body).await?;
        serde_json::from_slice(&answer).map_err(|_| ClientError::Foreign(self.server.clone()))
    }

    /// Writes a file of a message to `out`; answers how many bytes. An error means that `out` has only a part.
    pub async fn download(
        &self,
        (conversation, seq, index): (ConversationId, Seq, usize),
        out: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, ClientError> {
        let request =
            self.file_request(Method::GET, &format!("/api/files/{conversation}/{seq}/{index}"), Bytes::new());
        let mut body = match timeout(SILENCE, self.begin(request)).await {
            Ok(body) => body?,
            Err(_elapsed) => return Err(ClientError::Lost),
        };
        let mut count = 0;
        while let Some(piece) = next(&mut body).await? {
            count += piece.len() as u64;
            out.write_all(&piece).await.map_err(|cause| ClientError::File { cause })?;
        }
        out.flush().await.map_err(|cause| ClientError::File { cause })?;
        Ok(count)
    }

    fn file_request(&self, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.server.authority())
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONNECTION, "close");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(Full::new(body)).expect("the parts of the request are plain ASCII")
    }

    /// Sends a request; answers the body of a success, and a refusal as what it is.
    async fn begin(&self, request: Request<Full<Bytes>>) -> Result<Incoming, ClientError> {
        let unreachable = |cause| ClientError::unreachable(&self.server, cause);
        let target = (self.server.host.as_str(), self.server.port);
        let stream = match timeout(Duration::from_secs(5), TcpStream::connect(target)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreachable(error)),
            Err(_elapsed) => return Err(unreachable(std::io::ErrorKind::TimedOut.into())),
        };
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|_| ClientError::Lost)?;
        // Ends by itself with the answer: the request asks to close.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|_| ClientError::Lost)?;
        let status = response.status();
        let mut body = response.into_body();
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Refused>(&collect(&mut body).await?) {
            Ok(refused) => Err(refused.into()),
            Err(_) => Err(ClientError::Foreign(self.server.clone())),
        }
    }
}

/// The next piece of a body; `None` at its end.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, ClientError> {
    loop {
        match timeout(SILENCE, body.frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            // Cut off before its length, or silent: not the whole of it.
            Ok(Some(Err(_))) | Err(_) => return Err(ClientError::Lost),
        }
    }
}

async fn collect(body: &mut Incoming) -> Result<Vec<u8>, ClientError> {
    let mut all = Vec::new();
    while let Some(piece) = next(body).await? {
        all.extend_from_slice(&piece);
        if all.len() > REFUSAL_BYTES_MAX {
            return Err(ClientError::Lost);
        }
    }
    Ok(all)
}

/// A name as it may stand in an address.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_fits_into_an_address() {
        assert_eq!(escaped("tea & cake #1.png"), "tea%20%26%20cake%20%231.png");
        assert_eq!(escaped("日"), "%E6%97%A5");
    }
}
