//! Any bytes of a client through the telnet codec: see `serbroker::telnet::exercise::check`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Err(broken) = serbroker::telnet::exercise::check(data) {
        panic!("{broken}");
    }
});
