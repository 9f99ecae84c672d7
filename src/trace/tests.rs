use super::*;
use crate::metrics::Metrics;
use proptest::prelude::*;
use std::path::Path;

const PATIENCE: Duration = Duration::from_secs(20);
const PLAIN: Style = Style { hexdump: false, timestamp: false };
const HEX: Style = Style { hexdump: true, timestamp: false };
const TIMES: Style = Style { hexdump: false, timestamp: true };

fn output(path: &Path, device: bool, clients: bool, style: Style) -> Output {
    Output { path: path.to_owned(), device, clients, style }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| format!("<{}>", e.kind()))
}

fn dropped(metrics: &Metrics, reason: &str) -> u64 {
    let text = metrics.render().unwrap();
    let series = format!("serbroker_port_trace_dropped_bytes_total{{port=\"p\",reason=\"{reason}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
}

#[test]
fn each_file_gets_what_it_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let [r, w, b] = ["r", "w", "b"].map(|name| dir.path().join(name));
    let metrics = Metrics::new().unwrap();
    let traces = Traces::default();
    let outputs =
        vec![output(&r, true, false, HEX), output(&w, false, true, TIMES), output(&b, true, true, PLAIN)];
    let mut tracer = traces.open(outputs, metrics.port("p"));
    tracer.client_opened("ipv4,127.0.0.1,5");
    tracer.data(Side::Device, b"from device");
    tracer.data(Side::Clients, b"from net");
    tracer.client_closed("network read close");
    tracer.port_closed("All users disconnected");
    tracer.port_closed("twice");
    drop(tracer);
    assert!(traces.finish(PATIENCE));
    assert_eq!(read(&r), "term 66 72 6f 6d 20 64 65 76  |from dev|\nterm 69 63 65                 |ice|\n");
    assert_eq!(read(&b), "from devicefrom net");
    let timed = read(&w);
    let time = &timed[.."2026/11/21 09:34:42".len()];
    assert_eq!(
        timed,
        format!(
            "{time} OPEN (ipv4,127.0.0.1,5)\nfrom net{time} CLOSE netcon (network read close)\n\
             {time} CLOSE port (All users disconnected)\n"
        )
    );
}

#[test]
fn files_are_there_from_the_beginning_and_one_name_is_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    let metrics = Metrics::new().unwrap();
    let traces = Traces::default();
    let outputs = vec![output(&path, true, false, PLAIN), output(&path, false, true, PLAIN)];
    let tracer = traces.open(outputs, metrics.port("p"));
    assert!(traces.finish(PATIENCE));
    assert_eq!(read(&path), "");
    // in the order in which it came, although two options write it
    let mut expected = String::new();
    for i in 0..500 {
        let piece = format!("{i},");
        tracer.data(if i % 3 == 0 { Side::Device } else { Side::Clients }, piece.as_bytes());
        expected += &piece;
    }
    assert!(traces.finish(PATIENCE));
    assert_eq!(read(&path), expected);
}

#[test]
fn a_file_moved_away_is_made_anew_when_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let (path, moved) = (dir.path().join("t"), dir.path().join("t.1"));
    let metrics = Metrics::new().unwrap();
    let traces = Traces::default();
    let tracer = traces.open(vec![output(&path, true, true, PLAIN)], metrics.port("p"));
    tracer.data(Side::Device, b"old");
    assert!(traces.finish(PATIENCE));
    std::fs::rename(&path, &moved).unwrap();
    traces.reopen();
    assert!(traces.finish(PATIENCE));
    // also without any data, so that nobody holds the old file
    assert_eq!((read(&path).as_str(), read(&moved).as_str()), ("", "old"));
    tracer.data(Side::Device, b"new");
    drop(tracer);
    assert!(traces.finish(PATIENCE));
    assert_eq!((read(&path).as_str(), read(&moved).as_str()), ("new", "old"));
    // closed traces are left alone
    std::fs::remove_file(&path).unwrap();
    traces.reopen();
    assert!(traces.finish(PATIENCE));
    assert!(!path.exists());
}

#[test]
fn what_cannot_be_written_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::new().unwrap();
    let traces = Traces::default();
    let path = dir.path().join("none/t");
    let port = metrics.port("p");
    let tracer = traces.open(vec![output(&path, true, true, PLAIN)], Arc::clone(&port));
    tracer.data(Side::Device, b"12345");
    assert!(traces.finish(PATIENCE));
    assert_eq!(dropped(&metrics, "write_failed"), 5);
    assert_eq!(dropped(&metrics, "queue_full"), 0);
}

fn traced(traces: &Traces, path: &Path, port: &Arc<PortMetrics>) -> Tracer {
    traces.open(vec![output(path, true, true, PLAIN)], Arc::clone(port))
}

#[test]
fn a_queue_has_a_bound_and_what_is_left_out_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t");
    let metrics = Metrics::new().unwrap();
    let port = metrics.port("p");
    let traces = Traces::default();
    let tracer = traced(&traces, &path, &port);
    assert!(traces.finish(PATIENCE));
    // as if the disk hung
    let hung = lock(&tracer.shared.files);
    let chunk = [b'x'; 4096];
    for _ in 0..300 {
        tracer.data(Side::Device, &chunk);
    }
    assert!(!traces.finish(Duration::from_millis(1)), "the thread hangs, and nobody else does");
    assert_eq!(dropped(&metrics, "queue_full"), (300 * 4096 - QUEUE_BYTES) as u64);
    drop(hung);
    drop(tracer);
    assert!(traces.finish(PATIENCE));
    assert_eq!(read(&path).len(), QUEUE_BYTES);
    // pieces have a bound too
    let tracer = traced(&traces, &path, &port);
    assert!(traces.finish(PATIENCE));
    let hung = lock(&tracer.shared.files);
    for _ in 0..QUEUE_RECORDS + 7 {
        tracer.data(Side::Clients, b"y");
    }
    assert_eq!(dropped(&metrics, "queue_full"), (300 * 4096 - QUEUE_BYTES + 7) as u64);
    drop(hung);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever comes in whatever pieces, however the thread finds them: the plain file is the data
    /// in its order, and the hexdump is what the formatter says about the pieces.
    #[test]
    fn nothing_is_lost_or_reordered(
        pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 1..40), any::<bool>()), 0..60)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (plain, dump) = (dir.path().join("plain"), dir.path().join("dump"));
        let metrics = Metrics::new().unwrap();
        let traces = Traces::default();
        let outputs = vec![output(&plain, true, true, PLAIN), output(&dump, true, true, HEX)];
        let tracer = traces.open(outputs, metrics.port("p"));
        let (mut data, mut lines) = (Vec::new(), Vec::new());
        for (device, piece, pause) in &pieces {
            let side = if *device { Side::Device } else { Side::Clients };
            tracer.data(side, piece);
            data.extend_from_slice(piece);
            HEX.data(side, piece, &Stamp::default(), &mut lines);
            if *pause {
                prop_assert!(traces.finish(PATIENCE));
            }
        }
        drop(tracer);
        prop_assert!(traces.finish(PATIENCE));
        prop_assert_eq!(std::fs::read(&plain).unwrap(), data);
        prop_assert_eq!(std::fs::read(&dump).unwrap(), lines);
    }
}
