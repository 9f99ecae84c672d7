//! The `serbroker` program.
fn main() {}
