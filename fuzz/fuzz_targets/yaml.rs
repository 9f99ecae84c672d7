//! A YAML text, read, resolved and reported: no panic of ours, and no place outside the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serbroker::config::load::{Inputs, load, recognise};
use serbroker::config::render::render;
use serbroker::config::resolve::resolve;
use std::path::Path;

fuzz_target!(
    init: {
        // The YAML parser has panics that are known and caught (src/config/yaml/event.rs): only
        // those of other places end the run.
        std::panic::set_hook(Box::new(|info| {
            if info.location().is_none_or(|place| !place.file().contains("libyaml-safer")) {
                eprintln!("{info}\n{}", std::backtrace::Backtrace::force_capture());
                std::process::abort();
            }
        }));
    },
    |text: &str| {
        let _ = recognise(text, Path::new("x.yaml"));
        // what other files hold, and how long a pattern takes to match, is not for this target
        let names_files = text.contains("include") || text.contains("*{") || text.contains("={");
        if names_files && text.contains(['/', '~', '*']) {
            return;
        }
        let (file, mut diagnostics) = load(&Inputs { yaml: vec![text.to_owned()], ..Inputs::default() });
        diagnostics.extend(resolve(&file).1);
        let places = diagnostics.iter().filter_map(|d| d.span.as_ref());
        let options = file.connections.iter().flat_map(|c| &c.options).map(|o| &o.name.span);
        for span in places.chain(options) {
            let inside = span.source.text.get(span.start..span.end).is_some();
            assert!(inside, "a place outside the text: {} to {}", span.start, span.end);
        }
        let _ = render(&diagnostics);
    }
);
