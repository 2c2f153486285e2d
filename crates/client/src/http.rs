//! Single questions over HTTP: signing in, and what a script asks once.

use std::time::Duration;

use bytes::Bytes;
use chinwag_protocol::{
    Answer, Command, Device, DoorView, Kind, Query, Refused, Reply, ServerInfo, SetDoor, SignedIn,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::TcpStream, time::timeout};

use crate::Address;

/// A server that says nothing for so long is not there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server said no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nobody there; nothing was sent.
    #[error("cannot reach {address}")]
    Unreachable {
        /// Who was tried.
        address: Address,
        /// Why not.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection was lost or nothing came in time: nobody knows whether it happened.
    #[error("lost the connection before the answer came; it may or may not have happened")]
    Lost,
    /// There is somebody, but he does not speak our language.
    #[error("{0} does not answer like a Chinwag server")]
    Foreign(Address),
    /// A file on this machine cannot be written.
    #[error("cannot write the file: {cause}")]
    File {
        /// Why not.
        cause: std::io::Error,
    },
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
}

impl ClientError {
    /// Who cannot be reached, and why.
    pub(crate) fn unreachable(
        address: &Address,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unreachable { address: address.clone(), cause: cause.into() }
    }

    /// Whether trying the same again later may succeed.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(refused) => matches!(refused.kind, Kind::Unavailable | Kind::TooMany),
            Self::Unreachable { .. } | Self::Lost => true,
            Self::Foreign(_) | Self::File { .. } | Self::Closed => false,
        }
    }
}

/// A server, and who one is there. Each question has a connection of its own.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where.
    pub server: Address,
    /// The session's token, if one is signed in.
    pub token: Option<String>,
}

impl Http {
    /// Makes an account and signs it in.
    pub async fn register(&self, device: &Device) -> Result<SignedIn, ClientError> {
        self.ask(Method::POST, "/api/register", Some(device)).await
    }

    /// Signs in.
    pub async fn sign_in(&self, device: &Device) -> Result<SignedIn, ClientError> {
        self.ask(Method::POST, "/api/sign-in", Some(device)).await
    }

    /// Ends this session.
    pub async fn sign_out(&self) -> Result<(), ClientError> {
        let (_, body) = self.exchange(Method::POST, "/api/sign-out", b"{}".to_vec()).await?;
        drop(body);
        Ok(())
    }

    /// What anybody may know of the server.
    pub async fn server_info(&self) -> Result<ServerInfo, ClientError> {
        self.ask::<(), _>(Method::GET, "/api/server", None).await
    }

    /// Asks for a change.
    pub async fn command(&self, command: &Command) -> Result<Reply, ClientError> {
        self.ask(Method::POST, "/api/command", Some(command)).await
    }

    /// Asks to read.
    pub async fn query(&self, query: &Query) -> Result<Answer, ClientError> {
        self.ask(Method::POST, "/api/query", Some(query)).await
    }

    /// The doors to other chat systems; for administrators.
    pub async fn doors(&self) -> Result<Vec<DoorView>, ClientError> {
        self.ask::<(), _>(Method::GET, "/api/doors", None).await
    }

    /// Opens or stops a door; for administrators.
    pub async fn set_door(&self, set: &SetDoor) -> Result<DoorView, ClientError> {
        self.ask(Method::POST, "/api/doors", Some(set)).await
    }

    async fn ask<B: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<A, ClientError> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).expect("the language has only text keys"),
            None => Vec::new(),
        };
        let (_, answer) = self.exchange(method, path, body).await?;
        serde_json::from_slice(&answer).map_err(|_| ClientError::Foreign(self.server.clone()))
    }

    /// One question, one answer; a status that is not a success is a refusal.
    async fn exchange(&self, method: Method, path: &str, body: Vec<u8>) -> Result<(u16, Bytes), ClientError> {
        let unreachable = |cause| ClientError::unreachable(&self.server, cause);
        let target = (self.server.host.as_str(), self.server.port);
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(target)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(unreachable(error)),
            Err(_) => return Err(unreachable(std::io::ErrorKind::TimedOut.into())),
        };
        let request = self.request(method, path, body);
        match timeout(ANSWER_TIMEOUT, answer(stream, request)).await {
            Ok(Ok((status, body))) if status < 300 => Ok((status, body)),
            Ok(Ok((_, body))) => match serde_json::from_slice::<Refused>(&body) {
                Ok(refused) => Err(refused.into()),
                Err(_) => Err(ClientError::Foreign(self.server.clone())),
            },
            // The request may have arrived: nobody knows.
            Ok(Err(_)) | Err(_) => Err(ClientError::Lost),
        }
    }

    fn request(&self, method: Method, path: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.server.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(Full::new(body.into())).expect("the parts of the request are plain ASCII")
    }
}

type Trouble = Box<dyn std::error::Error + Send + Sync>;

async fn answer(stream: TcpStream, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), Trouble> {
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends by itself with the answer: the request asks to close.
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
    driver.abort();
    Ok((status, body))
}
