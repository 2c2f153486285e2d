//! From an HTTP request to a WebSocket connection: takes the socket out of the HTTP library.

use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt;
use tokio::net::TcpStream;

use crate::{
    connection,
    listen::{GuardedStream, Peer, Permit},
    shared::Shared,
};

/// What the system keeps of what was written and not taken. Left to itself it keeps megabytes for each stalled reader,
/// who would cost ten times his outbox.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Runs the connection of an accepted upgrade, once the answer 101 is on its way.
pub(crate) fn spawn(shared: Shared, mut request: Request, credential: Option<String>) {
    let peer = *request.extensions().get::<Peer>().expect("the listener knows the peer");
    // The place of the connection in the budget stays taken until its end.
    let permit = request.extensions().get::<Permit>().cloned();
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        match hyper::upgrade::on(&mut request).await {
            Ok(upgraded) => {
                drop(request);
                if let Some((stream, leftover)) = raw(upgraded) {
                    let messenger = shared.messenger.clone();
                    drop(shared);
                    connection::run(stream, leftover, peer.0, credential, messenger).await;
                }
            }
            Err(error) => tracing::debug!(peer = %peer.0, %error, "upgrade failed"),
        }
        drop(permit);
    });
}

/// The bare socket, and what was read from it after the request.
fn raw(upgraded: hyper::upgrade::Upgraded) -> Option<(TcpStream, Bytes)> {
    let Ok(parts) = upgraded.downcast::<TokioIo<GuardedStream>>() else {
        tracing::error!("an upgraded connection is not one of our listeners'");
        return None;
    };
    let (stream, held_back) = parts.io.into_inner().into_parts();
    if let Err(error) = sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES) {
        tracing::debug!(%error, "the size of a send buffer cannot be set");
    }
    let mut leftover = BytesMut::from(parts.read_buf);
    leftover.extend_from_slice(&held_back);
    Some((stream, leftover.freeze()))
}
