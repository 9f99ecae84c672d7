//! A text of legacy lines, read, resolved and reported: no panic, and no place outside the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serbroker::broker;
use serbroker::config::load::{Inputs, recognise};
use serbroker::config::render::render;
use std::path::Path;

fuzz_target!(|text: &str| {
    let _ = recognise(text, Path::new("x.conf"));
    let reading = broker::read(&Inputs { legacy: vec![text.to_owned()], ..Inputs::default() });
    for span in reading.diagnostics.iter().filter_map(|d| d.span.as_ref()) {
        assert!(span.source.text.get(span.start..span.end).is_some(), "a place outside the text");
    }
    let _ = render(&reading.diagnostics);
});
