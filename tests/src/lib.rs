//! What the test binaries share. The product is used from outside only.

pub mod http;
pub mod linear;
pub mod log;
pub mod process;
pub mod store;
