//! Listeners: accept connections, guard them, and drive HTTP over them until they are told to stop.
//!
//! Our own loop rather than a framework's, for the deadlines, limits and sizes that only the connection can
//! enforce. HTTP/1.1 only: what HTTP/2 would bring, one WebSocket does without its attacks.

mod budget;
pub(crate) mod doors;
mod head;
mod stream;

use std::{convert::Infallible, future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

pub use budget::{Budget, Permit};
pub use head::{Fault, Head, HeadSizes, read_head};
pub use stream::{Deadlines, FAULT_PATH, FaultCell, GuardedStream};

use crate::{http, shared::Shared};

/// How long to wait when the system has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// From where a request came.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Serves the application until the shutdown. Returns once nothing new is accepted; connections end by themselves
/// and are found in `shared.tasks`.
pub async fn run(listener: TcpListener, shared: Shared) {
    let router = http::router(shared.clone());
    accept(listener, shared, Site::App(router)).await;
}

/// Serves the figures of `/metrics` until the shutdown.
pub async fn run_metrics(listener: TcpListener, shared: Shared) {
    accept(listener, shared, Site::Metrics).await;
}

#[derive(Clone)]
enum Site {
    App(Router),
    Metrics,
}

async fn accept(listener: TcpListener, shared: Shared, site: Site) {
    loop {
        let accepted = tokio::select! {
            () = shared.shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let task = connection(stream, peer, shared.clone(), site.clone());
                shared.tasks.spawn(task);
            }
            // A connection that was gone before we took it, or no files left: neither ends the listener.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, shared: Shared, site: Site) {
    let answering = shared.clone();
    let answer = move |request: hyper::Request<Incoming>, fault: FaultCell| {
        let (shared, site) = (answering.clone(), site.clone());
        async move {
            let request = request.map(Body::new);
            match site {
                Site::App(router) => http::serve(&shared, router, &fault, request).await,
                Site::Metrics => http::serve_metrics(&shared, &fault, &request),
            }
        }
    };
    drive(stream, peer, &shared, &shared.shutdown, answer).await;
}

/// Drives HTTP over a connection until it ends, or until the shutdown and the end of the answer that is being given.
/// Each request knows from where it came and holds the connection's place in the budget.
async fn drive<A, F>(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Shared,
    shutdown: &CancellationToken,
    answer: A,
) where
    A: Fn(hyper::Request<Incoming>, FaultCell) -> F,
    F: Future<Output = hyper::Response<Body>> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "connection lost at its start");
        return;
    }
    let fault = FaultCell::default();
    let config = &shared.config.http;
    let mut stream = GuardedStream::new(stream, config.head_sizes(), config.deadlines(), Arc::clone(&fault));
    let permit = shared.budget.open(peer.ip());
    if permit.is_none() {
        metrics::counter!("chinwag_connections_refused_total").increment(1);
        stream.fail(Fault::TooManyConnections);
    }
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        if let Some(permit) = &permit {
            // What is made of a request may keep it, and the place in the budget with it.
            request.extensions_mut().insert(permit.clone());
        }
        let answer = answer(request, Arc::clone(&fault));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection =
        pin!(builder(config).serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

fn builder(config: &crate::config::HttpConfig) -> http1::Builder {
    let (sizes, deadlines) = (config.head_sizes(), config.deadlines());
    let mut builder = http1::Builder::new();
    builder
        // Without a timer the library's own deadline is silently off. It is only behind the guard's, which answers.
        .timer(TokioTimer::new())
        .header_read_timeout(deadlines.head.max(deadlines.idle) + Duration::from_secs(5))
        .max_headers(sizes.headers_max)
        .max_header_size(sizes.head_bytes_max)
        .max_buf_size(sizes.head_bytes_max.max(8192) * 2);
    builder
}
