//! Counting allocations of a port that runs inside this process, on the one thread that is counted.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use serbroker::alarm::Alarms;
use serbroker::broker;
use serbroker::config::load::Inputs;
use serbroker::metrics::Metrics;
use serbroker::port::{self, Claims, Environment};
use serbroker::status::StatusTable;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::ends::Device;
use crate::keys::Keys;
use crate::peer::connection;
use crate::process::free_port;
use crate::scene::{Amount, Scene};
use crate::stage;
use crate::subject::{Timing, options};

/// What is sent first, so that buffers have the size that they keep.
const WARM_UP: Amount = Amount { steps: 200, time: Duration::from_millis(100) };
/// What is counted.
const AMOUNT: Amount = Amount { steps: 10_000, time: Duration::from_millis(500) };
/// Time in which the port is to listen.
const START: Duration = Duration::from_secs(10);

/// What one run took from the heap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heap {
    /// Number of allocations, reallocations among them.
    pub(crate) allocations: u64,
    /// Their size.
    pub(crate) bytes: u64,
    /// Chunks, round trips or MiB.
    pub(crate) units: f64,
}

/// Plays `scene` with a port on this thread, its device and clients on another, and counts what this
/// thread allocates after the warm-up.
pub(crate) fn count(scene: Scene, keys: &Keys) -> Result<Heap, String> {
    count_with(scene, Timing::Off, keys)
}

/// As [`count`], with another timing.
pub(crate) fn count_with(scene: Scene, timing: Timing, keys: &Keys) -> Result<Heap, String> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let mut device = Device::create(None).map_err(|error| format!("no pty: {error}"))?;
    let listen = free_port().map_err(|error| format!("no port: {error}"))?;
    let accepter = format!("{},127.0.0.1,{listen}", scene.stack(keys)?);
    let text = connection(&accepter, &options(timing, scene.clients()), device.path());
    let (handle, task) = start(&runtime, text)?;
    let go = Barrier::new(2);
    let (warm, warmed) = oneshot::channel();
    let (finish, finished) = oneshot::channel();
    let outcome = thread::scope(|scope| {
        let go = &go;
        let ends = scope.spawn(move || {
            let opened = stage::connect(scene, keys, &mut device, || reach(listen))
                .and_then(|mut clients| scene.run(&mut clients, &mut device, WARM_UP).map(|_| clients));
            // what the waiting side does not hear it does not need: it has gone then
            let _ = warm.send(());
            go.wait();
            let units = opened.and_then(|mut clients| {
                let units = scene.run(&mut clients, &mut device, AMOUNT)?;
                Ok((units, clients))
            });
            let _ = finish.send(());
            // clients and device stay open until the counting is over
            go.wait();
            units.map(|(units, _clients)| units)
        });
        // the sender is dropped without a word only by a panic, which the join tells
        let _ = runtime.block_on(warmed);
        let info = measure(|| {
            go.wait();
            let _ = runtime.block_on(finished);
        });
        go.wait();
        let ended = ends.join().map_err(|_| "the thread of the ends panicked".to_string())?;
        ended.map(|units| heap(info, units))
    });
    runtime.block_on(async {
        handle.shutdown();
        task.await.map_err(|error| format!("the port: {error}"))
    })?;
    outcome
}

fn heap(info: AllocationInfo, units: f64) -> Heap {
    Heap { allocations: info.count_total, bytes: info.bytes_total, units }
}

/// Starts the one connection of a configuration.
fn start(runtime: &Runtime, text: String) -> Result<(port::Handle, tokio::task::JoinHandle<()>), String> {
    let reading = broker::read(&Inputs { yaml: vec![text], ..Inputs::default() });
    let [connection] = <[_; 1]>::try_from(reading.config.connections)
        .map_err(|_| format!("the configuration: {:?}", reading.diagnostics))?;
    let env = Arc::new(Environment {
        alarms: Alarms::default(),
        doors: Arc::default(),
        events: Arc::default(),
        names: Arc::default(),
        wrap: serbroker::net::wrap::Files::default(),
        stdio_left: Arc::default(),
        claims: Arc::new(Claims::default()),
        metrics: Arc::new(Metrics::new().map_err(|error| error.to_string())?),
        status: StatusTable::new(),
        signature: "data_path".into(),
        traces: Arc::default(),
        leds: Arc::default(),
        hotplug: Arc::default(),
    });
    let _inside = runtime.enter();
    Ok(port::start(connection, env))
}

/// Connects as soon as the port listens.
fn reach(port: u16) -> Result<TcpStream, String> {
    let deadline = Instant::now() + START;
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(format!("connect: {error}")),
            Err(_) => thread::yield_now(),
        }
    }
}
