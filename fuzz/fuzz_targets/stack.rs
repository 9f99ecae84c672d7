//! Accepter and connector strings: no panic, and what is read is written and read again the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serbroker::config::gensio::{Side, parse, split_words};

fuzz_target!(|text: &str| {
    for side in [Side::Accepter, Side::Connector] {
        if let Ok(stack) = parse(text, side) {
            let written = stack.to_string();
            let again = parse(&written, side).expect("what was written can be read");
            assert_eq!(again.to_string(), written);
        }
    }
    let _ = split_words(text, 0);
});
