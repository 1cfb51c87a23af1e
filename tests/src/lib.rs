//! What the test binaries share. The product is used from outside only.

pub mod http;
pub mod linear;
pub mod log;
pub mod process;
pub mod store;

/// The number in a variable of whoever runs the test.
pub fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| {
        value.parse().unwrap_or_else(|_| panic!("{name} is not a number"))
    })
}
