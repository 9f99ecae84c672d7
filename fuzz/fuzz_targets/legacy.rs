//! A text of legacy lines, read, resolved and reported: no panic, and no place outside the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serbroker::config::load::{Inputs, load, recognise};
use serbroker::config::render::render;
use serbroker::config::resolve::resolve;
use std::path::Path;

fuzz_target!(|text: &str| {
    let _ = recognise(text, Path::new("x.conf"));
    let (file, mut diagnostics) = load(&Inputs { legacy: vec![text.to_owned()], ..Inputs::default() });
    diagnostics.extend(resolve(&file).1);
    let places = diagnostics.iter().filter_map(|d| d.span.as_ref());
    let options = file.connections.iter().flat_map(|c| &c.options).map(|o| &o.name.span);
    for span in places.chain(options) {
        let inside = span.source.text.get(span.start..span.end).is_some();
        assert!(inside, "a place outside the text: {} to {}", span.start, span.end);
    }
    let _ = render(&diagnostics);
});
