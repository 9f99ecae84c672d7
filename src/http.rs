//! The health endpoints: `/metrics`, `/healthz`, `/readyz` and an index.
//!
//! `axum::serve` sets no timer, so a client that never ends its request header would keep its task
//! and descriptor for ever. Connections are therefore driven by hyper itself, with limits on the time
//! and size of headers, on the life of a connection and on their number.

use crate::alarm::{Alarm, Alarms};
use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::status::StatusSource;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// What the endpoints show.
#[derive(Clone)]
pub struct HttpState {
    /// `/metrics`.
    pub metrics: Arc<Metrics>,
    /// `/readyz`.
    pub status: Arc<dyn StatusSource>,
    /// Who ends connections when their time is over.
    pub alarms: Alarms,
}

/// hyper's limits of time go by the alarms too: a scraper keeps its connection for minutes, and one timer of
/// the runtime would cost all ports something.
impl hyper::rt::Timer for Alarms {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        hyper::rt::Timer::sleep_until(self, Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(self.until(deadline))
    }
}

impl hyper::rt::Sleep for Alarm {}

/// What a client of the health endpoints may take up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's backlog.
    pub connections: usize,
    /// Time from the first chance to send a request until its header is complete. A connection that
    /// is kept alive without requests ends by it too.
    pub header: Duration,
    /// Life of a connection; after it the answer under way is finished and that is all.
    pub connection: Duration,
    /// Time for finishing an answer when the connection's life or the server's ends, and the
    /// longest time that sent bytes may stay unacknowledged.
    pub finish: Duration,
}

impl Default for Limits {
    /// Scrapers ask every 15 to 60 seconds, one connection each.
    fn default() -> Self {
        Self {
            connections: 64,
            header: Duration::from_secs(30),
            connection: Duration::from_secs(300),
            finish: Duration::from_secs(10),
        }
    }
}

/// Largest request line and header together, in bytes (hyper's least).
const HEADER_BYTES: usize = 8 * 1024;
/// Most header lines.
const HEADER_LINES: usize = 64;
/// Wait after `accept` failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The routes. Other paths are 404, other methods than GET and HEAD 405.
pub fn router(state: HttpState) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(|| async { (StatusCode::NOT_FOUND, "404: see / for what there is\n") })
        .with_state(state)
}

async fn index() -> &'static str {
    concat!(
        "serbroker ",
        env!("CARGO_PKG_VERSION"),
        "\n\n",
        "/metrics  counters and states for Prometheus\n",
        "/healthz  200 while the process serves (JSON)\n",
        "/readyz   200 when every port listens and no device is known to be bad, else 503 (JSON per port)\n",
    )
}

/// Metrics of thousands of ports take tens of milliseconds to write: a thread of its own does that,
/// so that no byte of a port waits for it.
async fn apart(make: impl FnOnce() -> Response + Send + 'static) -> Response {
    tokio::task::spawn_blocking(make).await.unwrap_or_else(|error| {
        tracing::error!("a request for health could not be answered: {error}");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

async fn metrics(State(state): State<HttpState>) -> Response {
    apart(move || match state.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!("metrics cannot be rendered: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    })
    .await
}

async fn healthz(State(state): State<HttpState>) -> impl IntoResponse {
    Json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": state.metrics.uptime_seconds(),
    }))
}

async fn readyz(State(state): State<HttpState>) -> Response {
    apart(move || {
        let started = state.status.started();
        let ports = state.status.status();
        let rotators = state.metrics.rotators();
        let ready = started
            && ports.iter().all(|port| port.ready)
            && rotators.iter().all(|rotator| rotator.listening);
        let code = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = json!({ "ready": ready, "started": started, "ports": ports, "rotators": rotators });
        (code, Json(body)).into_response()
    })
    .await
}

/// Serves until `shutdown` completes, then lets answers under way finish. Never fails: a listener
/// that cannot accept is tried again.
pub async fn serve(listener: TcpListener, state: HttpState, shutdown: impl Future<Output = ()>) {
    serve_with(listener, state, Limits::default(), shutdown).await;
}

/// [`serve`] with other limits.
pub async fn serve_with(
    listener: TcpListener,
    state: HttpState,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let metrics = Arc::clone(&state.metrics);
    let alarms = state.alarms.clone();
    let app = router(state);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let (stop, stopped) = tokio::sync::watch::channel(());
    let mut tasks = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            // finished tasks are collected, so that the set does not grow
            Some(_) = tasks.join_next() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                tasks.spawn(connection(stream, app.clone(), limits, alarms.clone(), stopped.clone(), slot));
            }
            Err(error) if concerns_one_client(&error) => {}
            Err(error) => {
                metrics.accept_error();
                tracing::warn!("health endpoints: cannot accept: {error}");
                tokio::select! {
                    () = &mut shutdown => break,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    drop(stop);
    // the tasks end by themselves within `finish`
    while tasks.join_next().await.is_some() {}
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

/// `accept` also reports errors of the client that it was about to hand over (accept(2)).
fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut, WouldBlock,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | ConnectionRefused | Interrupted | TimedOut | WouldBlock
    )
}

async fn connection(
    stream: TcpStream,
    app: Router,
    limits: Limits,
    alarms: Alarms,
    mut stopped: tokio::sync::watch::Receiver<()>,
    slot: OwnedSemaphorePermit,
) {
    // a client that stops reading is dropped by the kernel (tcp(7), TCP_USER_TIMEOUT); should the
    // option be refused, the life of the connection is still limited below
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(limits.finish));
    let mut builder = http1::Builder::new();
    builder
        .timer(alarms.clone())
        .header_read_timeout(limits.header)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_LINES);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app)));
    // errors here are the client's: garbage, timeouts, resets
    tokio::select! {
        _ = serving.as_mut() => return,
        () = alarms.until(Instant::now() + limits.connection) => {}
        // there is nothing to receive: this is the sender's drop
        _ = stopped.changed() => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = timeout(limits.finish, serving).await;
    drop(slot);
}
