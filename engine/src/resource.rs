//! Resources: `resource/pattern` says which keys a collection has, `resource/key` makes them.

#[allow(dead_code)]
mod key;
#[allow(dead_code)]
mod pattern;
