//! The integration tests: one binary, a module per area that users see.

fn main() {}
