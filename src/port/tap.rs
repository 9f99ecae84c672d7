//! A monitor: somebody who watches the bytes of a port without being able to hold them up.

use super::actor::Port;
use crate::metrics::{DropDirection, DropReason};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes that wait for a monitor; what comes while they do is not shown.
pub const MONITOR_LIMIT: usize = 256 * 1024;
/// Pieces that wait for a monitor: small ones cost more than their bytes.
const MONITOR_PIECES: usize = 1024;

/// Whose bytes are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What clients send, telnet taken off.
    Clients,
    /// What the device sends.
    Device,
}

/// The port's end.
#[derive(Debug)]
pub struct Tap {
    side: Side,
    pieces: Sender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

/// The end of the one who watches; the port forgets about it when it is dropped.
#[derive(Debug)]
pub struct Monitor {
    pieces: Receiver<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

/// A monitor of one side, with its two ends.
pub fn tap(side: Side) -> (Tap, Monitor) {
    let (sender, pieces) = channel(MONITOR_PIECES);
    let waiting = Arc::<AtomicUsize>::default();
    (Tap { side, pieces: sender, waiting: Arc::clone(&waiting) }, Monitor { pieces, waiting })
}

impl Tap {
    /// Somebody still watches.
    pub(super) fn is_watched(&self) -> bool {
        !self.pieces.is_closed()
    }

    /// Offers bytes; false when they do not fit. They are taken whole or not at all.
    fn offer(&self, data: &[u8]) -> bool {
        if self.waiting.load(Ordering::Relaxed) + data.len() > MONITOR_LIMIT {
            return false;
        }
        let Ok(place) = self.pieces.try_reserve() else { return false };
        self.waiting.fetch_add(data.len(), Ordering::Relaxed);
        place.send(data.to_vec());
        true
    }
}

impl Monitor {
    /// The next bytes; `None` when the port has ended.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        let piece = self.pieces.recv().await?;
        self.waiting.fetch_sub(piece.len(), Ordering::Relaxed);
        Some(piece)
    }
}

impl Port {
    /// Shows bytes to whoever watches that side. Never waits; what is not taken is counted.
    #[inline]
    pub(super) fn show(&mut self, side: Side, data: &[u8]) {
        if self.tap.as_ref().is_some_and(|tap| tap.side == side) {
            self.show_to_tap(side, data);
        }
    }

    #[cold]
    fn show_to_tap(&mut self, side: Side, data: &[u8]) {
        match &self.tap {
            Some(tap) if !tap.is_watched() => self.tap = None,
            Some(tap) if !tap.offer(data) => {
                let direction = match side {
                    Side::Clients => DropDirection::ToDevice,
                    Side::Device => DropDirection::ToClients,
                };
                self.dropped(direction, DropReason::Monitor, data.len());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_left_out_whole() {
        let (tap, mut monitor) = tap(Side::Device);
        let chunk = vec![7; 60 * 1024];
        let taken = (0..10).filter(|_| tap.offer(&chunk)).count();
        assert_eq!(taken, MONITOR_LIMIT / chunk.len());
        assert!(tap.offer(b"small"), "there is still room for a little");
        assert_eq!(monitor.next().await.map(|p| p.len()), Some(chunk.len()));
        assert!(tap.offer(&chunk), "what was read makes room");
        drop(monitor);
        assert!(!tap.is_watched());
    }

    #[test]
    fn many_small_pieces_are_bounded_too() {
        let (tap, _monitor) = tap(Side::Clients);
        assert_eq!((0..5000).filter(|_| tap.offer(b"x")).count(), MONITOR_PIECES);
    }
}
