//! Items: what blocks and generators show, to whom, and how it ends.

mod audience;
mod emit;
mod support;
