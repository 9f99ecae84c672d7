#![no_main]
//! Any text as lines of the old format: the loader must neither panic nor hang.

use libfuzzer_sys::fuzz_target;
use serbroker::config::load::{Inputs, load};

fuzz_target!(|text: String| {
    let (file, diagnostics) = load(&Inputs { legacy: vec![text], ..Inputs::default() });
    let places = diagnostics.iter().filter_map(|d| d.span.as_ref());
    let options = file.connections.iter().flat_map(|c| &c.options).map(|o| &o.name.span);
    for span in places.chain(options) {
        assert!(span.source.text.get(span.start..span.end).is_some());
    }
});
