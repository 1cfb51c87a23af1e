//! Resources: `resource/pattern` says which keys a collection has, `resource/key` makes them, `resource/template` fills a body from a state.

#[allow(dead_code)]
mod key;
#[allow(dead_code)]
mod pattern;
#[allow(dead_code)]
mod template;
