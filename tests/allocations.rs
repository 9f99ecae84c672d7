//! The hot path takes nothing from the heap: a port in this process, its device and its clients on
//! another thread, and the allocations of the port's thread counted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]
#![allow(dead_code, reason = "the parts are those of the benchmarks, which use more of them")]

#[path = "../benches/data_path/allocations.rs"]
mod allocations;
#[path = "../benches/side_by_side/client.rs"]
mod client;
#[path = "../benches/side_by_side/ends.rs"]
mod ends;
#[path = "../benches/side_by_side/exchange.rs"]
mod exchange;
#[path = "../benches/side_by_side/fault.rs"]
mod fault;
#[path = "../benches/side_by_side/floor.rs"]
mod floor;
#[path = "../benches/side_by_side/floor_many.rs"]
mod floor_many;
#[path = "../benches/side_by_side/floor_tokio.rs"]
mod floor_tokio;
#[path = "../benches/data_path/keys.rs"]
mod keys;
#[path = "../benches/side_by_side/measured.rs"]
mod measured;
#[path = "../benches/side_by_side/pattern.rs"]
mod pattern;
#[path = "../benches/side_by_side/peer.rs"]
mod peer;
#[path = "../benches/side_by_side/pin.rs"]
mod pin;
#[path = "../benches/side_by_side/process.rs"]
mod process;
#[path = "../benches/side_by_side/pump.rs"]
mod pump;
#[path = "../benches/side_by_side/roundtrip.rs"]
mod roundtrip;
#[path = "../benches/data_path/scene.rs"]
mod scene;
#[path = "../benches/data_path/stage.rs"]
mod stage;
#[path = "../benches/data_path/subject.rs"]
mod subject;
#[path = "../benches/side_by_side/telnet.rs"]
mod telnet;
#[path = "../benches/side_by_side/tls.rs"]
mod tls;
#[path = "../benches/side_by_side/transfer.rs"]
mod transfer;

use allocations::count_with;
use keys::Keys;
use scene::Scene;
use subject::Timing;

/// What may be taken once for each client, whatever the number of chunks: the runtime's list of tasks
/// that gave way, and the memory of a client's queue, which it then keeps.
const ONCE: u64 = 8;

/// 10,000 chunks or round trips after a warm-up.
#[track_caller]
fn nothing_is_allocated(scene: Scene, timing: Timing) {
    let heap = count_with(scene, timing, &Keys::none()).unwrap();
    assert!(heap.units >= 10_000.0, "{heap:?}");
    let once = ONCE * (1 + scene.clients() as u64);
    assert!(heap.allocations <= once, "{scene:?} {timing:?}: {heap:?}");
}

#[test]
fn raw_chunks_to_the_net() {
    nothing_is_allocated(Scene::ChunkToNet, Timing::Off);
}

#[test]
fn raw_chunks_to_the_device() {
    nothing_is_allocated(Scene::ChunkToDevice, Timing::Off);
}

#[test]
fn raw_round_trips() {
    nothing_is_allocated(Scene::RoundTrip, Timing::Off);
}

#[test]
fn gathered_chunks_to_the_net() {
    nothing_is_allocated(Scene::ChunkToNet, Timing::Gather);
}

#[test]
fn telnet_chunks_with_escapes_to_the_net() {
    nothing_is_allocated(Scene::TelnetChunkToNet, Timing::Off);
}

#[test]
fn telnet_round_trips() {
    nothing_is_allocated(Scene::TelnetRoundTrip, Timing::Off);
}

#[test]
fn chunks_to_many_clients() {
    nothing_is_allocated(Scene::FanOut, Timing::Off);
}

/// The counter counts at all.
#[test]
fn what_is_allocated_is_seen() {
    let info = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!((info.count_total, info.bytes_total), (1, 100));
}
