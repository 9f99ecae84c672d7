//! Any bytes through both ends of telnet: see `serbroker::telnet::exercise`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    use serbroker::telnet::exercise::{check, check_client};
    if let Err(broken) = check(data).and_then(|()| check_client(data)) {
        panic!("{broken}");
    }
});
