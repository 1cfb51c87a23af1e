//! Voice: what is spoken of an answer, when, in which order, and what the log keeps of it.

mod declared;
mod ends;
mod pipeline;
mod quiet;
mod stored;
mod support;
mod transcribe;
