//! Accepting connections and ending them: the bounds that a single caller meets before any route, and the orderly stop.
//! `axum::serve` has neither a time limit for request heads nor one for the stop.

mod pace;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::limits::Limits;
use super::metrics::Metrics;
use super::shares::{Client, Full, Shares};

/// File descriptors that connections leave to the rest of the process: segments, the view store, the listener.
const DESCRIPTORS_KEPT: u64 = 128;
/// Most connections that are told at once that there is no room; more are closed without a word.
const REFUSALS_MAX: usize = 32;
/// Longest time that telling so takes.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(1);
/// Least size of the buffer that heads and bodies are read into.
const BUFFER_BYTES: usize = 64 << 10;
/// Pause after the system refused to hand out a connection (no file descriptors left, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest time that open connections are given at a stop to finish what they answer, unless a server says otherwise.
pub(crate) const DRAIN_WITHIN: Duration = Duration::from_secs(4);

/// Serves `router` until `stopping`, then lets open calls finish. Streams must end themselves when `stopping`.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Arc<Limits>,
    metrics: &Metrics,
    stopping: CancellationToken,
    drain_within: Duration,
) {
    let room = Shares::new(limits.connections.min(descriptors()), limits.connections_per_address);
    let refusals = Shares::new(REFUSALS_MAX, REFUSALS_MAX);
    let mut connections = JoinSet::new();
    while let Some(accepted) = stopping.run_until_cancelled(listener.accept()).await {
        while connections.try_join_next().is_some() {}
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match room.take(Some(Client::at(peer.ip()))) {
            Ok(share) => {
                let connection = connection(socket, peer, router.clone(), Arc::clone(&limits), stopping.clone());
                let open = metrics.connection();
                connections.spawn(async move {
                    connection.await;
                    drop((share, open));
                });
            }
            Err(full) => {
                let Ok(share) = refusals.take(None) else { continue };
                connections.spawn(async move {
                    // Whether it is heard is up to the client.
                    let _ = timeout(REFUSAL_TIME_MAX, refuse(socket, full)).await;
                    drop(share);
                });
            }
        }
    }
    drop(listener);
    let drained = timeout(drain_within, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut at the stop");
    }
}

/// Answers whatever is asked with that there is no room.
async fn refuse(mut socket: TcpStream, full: Full) {
    let (status, code, whose) = match full {
        Full::OfClient => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "this address"),
        Full::OfAll => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the server"),
    };
    let body = format!(
        "{{\"error\":\"{whose} has too many connections: try again when some have ended\",\"code\":\"{code}\"}}"
    );
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
    // A socket that is closed with unread bytes in it takes back what was written.
    let mut unread = [0; 4096];
    while socket.read(&mut unread).await.is_ok_and(|bytes| bytes > 0) {}
}

/// How many connections the process has descriptors for, after it asked for as many as it may have.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    };
    // `None` is no limit. At least one connection, however few there are.
    let for_connections = limit.map_or(u64::MAX, |limit| limit.saturating_sub(DESCRIPTORS_KEPT).max(1));
    usize::try_from(for_connections).unwrap_or(usize::MAX)
}

async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Arc<Limits>,
    stopping: CancellationToken,
) {
    // A token must not wait until the client has acknowledged the one before it. It fails on a connection that is gone already.
    let _ = socket.set_nodelay(true);
    let service = Calls {
        router: TowerToHyperService::new(router),
        peer,
    };
    let mut socket = TimeoutStream::new(socket);
    socket.set_write_timeout(Some(limits.write_time));
    let (socket, timer) = pace::pair(Box::pin(socket), limits.head_time);
    let connection = http1::Builder::new()
        .timer(timer)
        .header_read_timeout(limits.idle_time)
        .max_headers(limits.headers)
        .max_header_size(limits.head_bytes)
        .max_buf_size(limits.head_bytes.max(BUFFER_BYTES))
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let ended = match stopping.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The routes, told where each call comes from.
struct Calls {
    router: TowerToHyperService<Router>,
    peer: SocketAddr,
}

impl Service<Request<Incoming>> for Calls {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        self.router.call(request)
    }
}
