//! How flows run, over the real log in memory: one file per theme. Every run is also held to the laws in `support`.

mod cancel;
mod container;
mod durable;
mod errors;
mod fan_out;
mod kill;
mod lifecycle;
mod loops;
mod methods;
mod odd;
mod rescue;
mod router;
mod steps;
mod support;
mod targets;
mod tool;
mod trace;
mod work;
