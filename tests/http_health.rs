//! The health endpoints over real sockets, with good and bad clients.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use serbroker::alarm::Alarms;
use serbroker::http::{HttpState, Limits, serve_with};
use serbroker::metrics::{DeviceFailure, Metrics, PortState};
use serbroker::status::{PortInfo, PortReporter, StatusTable};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    address: SocketAddr,
    table: Arc<StatusTable>,
    metrics: Arc<Metrics>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (table, metrics) = (StatusTable::new(), Arc::new(Metrics::new().unwrap()));
        let state =
            HttpState { metrics: Arc::clone(&metrics), status: table.clone(), alarms: Alarms::default() };
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve_with(listener, state, limits, async {
            let _ = stopped.await;
        }));
        Self { address, table, metrics, stop, task }
    }

    fn port(&self, name: &str) -> PortReporter {
        let info = PortInfo {
            name: name.into(),
            accepter: "tcp,127.0.0.1,2000".into(),
            device: "/dev/ttyUSB0".into(),
            enabled: true,
        };
        self.table.register(&self.metrics, info)
    }

    async fn ask(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        read_answer(&mut stream).await
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.task).await.expect("ends in time").unwrap();
    }
}

async fn read_answer(stream: &mut TcpStream) -> (u16, String) {
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closes in time").unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    (status, answer)
}

fn body(answer: &str) -> serde_json::Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn paths_and_methods() {
    let server = Server::start(Limits::default()).await;
    let (status, answer) = server.get("/").await;
    assert_eq!(status, 200);
    assert!(answer.contains("/metrics") && answer.contains("/readyz"));
    let (status, answer) = server.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains("\nserbroker_build_info{version="));
    let (status, answer) = server.get("/healthz").await;
    assert_eq!(status, 200);
    assert_eq!(body(&answer)["status"], "ok");
    assert_eq!(server.get("/nothing").await.0, 404);
    assert_eq!(server.get("/metrics/").await.0, 404);
    let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(server.ask(post).await.0, 405);
    let (status, answer) = server.ask("HEAD /readyz HTTP/1.0\r\n\r\n").await;
    assert_eq!(status, 503);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn readiness_follows_the_ports() {
    let server = Server::start(Limits::default()).await;
    let (status, answer) = server.get("/readyz").await;
    assert_eq!((status, &body(&answer)["started"]), (503, &serde_json::Value::Bool(false)));
    server.table.set_started();
    assert_eq!(server.get("/readyz").await.0, 200, "no ports: nothing is wrong");
    let port = server.port("heatpump");
    assert_eq!(server.get("/readyz").await.0, 503, "does not listen");
    port.listening();
    let (status, answer) = server.get("/readyz").await;
    assert_eq!(status, 200, "device not asked for yet");
    assert_eq!(body(&answer)["ports"][0]["state"], "closed");
    port.failed(DeviceFailure::Missing, "/dev/ttyUSB0: no such file".to_owned());
    let (status, answer) = server.get("/readyz").await;
    let shown = &body(&answer)["ports"][0];
    assert_eq!(status, 503);
    assert_eq!(shown["name"], "heatpump");
    assert_eq!(shown["reason"], "missing");
    assert_eq!(shown["detail"], "/dev/ttyUSB0: no such file");
    assert_eq!(server.get("/healthz").await.0, 200, "the process itself is well");
    port.state(PortState::Open);
    assert_eq!(server.get("/readyz").await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn garbage_and_endless_headers_are_refused() {
    let server = Server::start(Limits::default()).await;
    assert_eq!(server.ask("\x01\x02\x03garbage\r\n\r\n").await.0, 400);
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n", "a".repeat(100_000));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // the server may close before it has taken all of it
    let _ = stream.write_all(long.as_bytes()).await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closes in time");
    assert!(read.is_err() || answer.starts_with(b"HTTP/1.1 431"), "{:?}", String::from_utf8_lossy(&answer));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    assert_eq!(server.ask(&many).await.0, 431);
    assert_eq!(server.get("/healthz").await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_silent_client_loses_its_place() {
    let limits = Limits { connections: 1, header: Duration::from_millis(300), ..Limits::default() };
    let server = Server::start(limits).await;
    let begun = Instant::now();
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    // the only place is taken: this one waits until the slow client is thrown out
    assert_eq!(server.get("/healthz").await.0, 200);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let mut rest = Vec::new();
    timeout(PATIENCE, slow.read_to_end(&mut rest)).await.expect("closed").unwrap();
    server.stop().await;
}

#[tokio::test]
async fn keep_alive_works_and_ends_with_the_server() {
    let server = Server::start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let read = timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap().unwrap();
            assert!(read > 0, "closed early");
        }
    }
    server.stop().await;
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0; 16])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_connection_has_a_longest_life() {
    let limits = Limits { connection: Duration::from_millis(200), ..Limits::default() };
    let server = Server::start(limits).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(timeout(PATIENCE, idle.read(&mut [0; 16])).await.expect("closed").unwrap(), 0);
    server.stop().await;
}
