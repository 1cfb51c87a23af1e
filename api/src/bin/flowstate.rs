//! The `flowstate` command.

fn main() {}
