//! The escapes in banners and strings: no panic, and no growth beyond what the values explain.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serbroker::port::template::{Context, fill};

fuzz_target!(|data: &[u8]| {
    let context = Context {
        connector: "serialdev,/dev/ttyS0,9600n81",
        name: "name",
        accepter: "tcp,2000",
        settings: "9600N81",
        peer: "127.0.0.1:40000",
        ..Context::default()
    };
    let out = fill(data, &context);
    assert!(out.len() <= data.len() * 32, "an escape grew without reason");
    if !data.contains(&b'\\') {
        assert_eq!(out, data);
    }
});
