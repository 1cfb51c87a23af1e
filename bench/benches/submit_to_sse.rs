//! From an accepted action to the last byte of its stream.

fn main() {}
