#![no_main]
//! Any text as YAML: the loader must neither panic nor hang, whatever it says about it.

use libfuzzer_sys::fuzz_target;
use serbroker::config::load::{Inputs, load};

fuzz_target!(|text: String| {
    let (file, diagnostics) = load(&Inputs { yaml: vec![text], ..Inputs::default() });
    for diagnostic in &diagnostics {
        if let Some(span) = &diagnostic.span {
            assert!(span.source.text.get(span.start..span.end).is_some());
        }
    }
    for connection in &file.connections {
        let span = &connection.accepter.span;
        assert!(span.source.text.get(span.start..span.end).is_some());
    }
});
