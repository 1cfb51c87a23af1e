//! Generators: what a model is shown, what becomes of its answers, and the loop of tools.

mod chain;
mod context;
mod history;
mod hostile;
mod output;
mod records;
mod repeat;
mod shown;
mod slots;
mod support;
mod tools;
