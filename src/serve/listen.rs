//! Connections: as many as are allowed, each with its timers, and their orderly end.
//!
//! `axum::serve` is not used: it gives hyper no timer, and without one hyper's timeouts are off, so that a client who sends a header
//! a byte at a time would hold its connection for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use super::server::{Phase, Shared};

/// How long a piece of a reply may wait for its reader.
const WRITE: Duration = Duration::from_secs(60);

/// What has arrived at the last moment is read within this time.
const LAST_MOMENT: Duration = Duration::from_millis(50);

/// Serves until the server is to end. Whether everything that was begun was answered in time.
pub async fn serve(listener: TcpListener, shared: &Arc<Shared>, router: Router) -> bool {
    let graceful = GracefulShutdown::new();
    let bounds = &shared.config.bounds;
    let permits = Arc::new(Semaphore::new(bounds.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let connect = |socket: TcpStream, permit: OwnedSemaphorePermit| {
        // Answers are small and complete: none should wait for more.
        let _ = socket.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        // Who does not read its reply would hold its connection for ever.
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(WRITE));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(bounds.header)
            .serve_connection(TokioIo::new(Box::pin(socket)), service);
        let connection = graceful.watch(connection);
        let shared = shared.clone();
        tokio::spawn(async move {
            let _counted = Counted::new(shared, permit);
            // It breaks off when the other side does, which is its right.
            let _ = connection.await;
        });
    };
    let mut ending = Box::pin(until_draining(shared.phase.subscribe(), bounds.shutdown_delay));
    loop {
        // Before accepting: who is not let in waits in the system's queue.
        let permit = tokio::select! {
            permit = permits.clone().acquire_owned() => permit,
            () = &mut ending => break,
        };
        let Ok(permit) = permit else { break };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => connect(socket, permit),
                // Out of file descriptors, or the other side has gone again.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            () = &mut ending => break,
        }
    }
    shared.phase.send_if_modified(|phase| {
        let before = std::mem::replace(phase, Phase::Draining);
        before != Phase::Draining
    });
    // Connections that the system has taken already would be cut off.
    while let (Ok(permit), Ok(Ok((socket, _)))) =
        (permits.clone().try_acquire_owned(), timeout(Duration::ZERO, listener.accept()).await)
    {
        connect(socket, permit);
    }
    drop(listener);
    sleep(LAST_MOMENT).await;
    timeout(bounds.drain, graceful.shutdown()).await.is_ok()
}

/// A connection among the others, until it is dropped.
struct Counted {
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Counted {
    fn new(shared: Arc<Shared>, permit: OwnedSemaphorePermit) -> Self {
        shared.metrics.connected(1);
        Self { shared, _permit: permit }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.shared.metrics.connected(-1);
    }
}

/// Waits until nothing new is to be taken: at once when draining is asked for, after a while when leaving is.
async fn until_draining(mut phase: watch::Receiver<Phase>, delay: Duration) {
    let reached = |phase: &mut watch::Receiver<Phase>, least: Phase| {
        let mut phase = phase.clone();
        async move {
            // The sender lives as long as the server.
            let _ = phase.wait_for(|now| *now >= least).await;
        }
    };
    reached(&mut phase, Phase::Leaving).await;
    tokio::select! {
        () = sleep(delay) => {}
        () = reached(&mut phase, Phase::Draining) => {}
    }
}
