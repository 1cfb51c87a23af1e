//! Accepting connections and ending them: the bounds that a single caller meets before any route, and the orderly stop.
//! `axum::serve` has neither a time limit for request heads nor one for the stop.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// Most connections at once; further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 10_000;
/// File descriptors that connections leave to the rest of the process: segments, the view store, the listener.
const DESCRIPTORS_KEPT: u64 = 128;
/// Longest time that a connection may take none of what is written to it. A reader that stalls longer resumes with a cursor.
const WRITE_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest time between two requests of a connection, and for the head of a request to arrive.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// Largest request head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Pause after the system refused to hand out a connection (no file descriptors left, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest time that open connections are given at a stop to finish what they answer.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(4);

/// Serves `router` until `stopping`, then lets open calls finish. Streams must end themselves when `stopping`.
pub(crate) async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let slots = Arc::new(Semaphore::new(connections_max()));
    let mut connections = JoinSet::new();
    while let Some(next) = stopping.run_until_cancelled(next(&listener, &slots)).await {
        while connections.try_join_next().is_some() {}
        match next {
            Ok((socket, slot)) => {
                let connection = connection(socket, router.clone(), stopping.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = timeout(DRAIN_TIME_MAX, async {
        while connections.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut at the stop");
    }
}

/// The next connection, and its place among [`CONNECTIONS_MAX`]. Cancel-safe.
async fn next(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, _peer) = listener.accept().await?;
    // A token must not wait until the client has acknowledged the one before it. It fails on a connection that is gone already.
    let _ = socket.set_nodelay(true);
    Ok((socket, slot))
}

/// How many connections the process has descriptors for, after it asked for as many as it may have.
fn connections_max() -> usize {
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
    usize::try_from(for_connections)
        .unwrap_or(usize::MAX)
        .min(CONNECTIONS_MAX)
}

async fn connection(socket: TcpStream, router: Router, stopping: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let mut socket = TimeoutStream::new(socket);
    socket.set_write_timeout(Some(WRITE_TIME_MAX));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(socket)), service);
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
