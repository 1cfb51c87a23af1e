//! States of the four scopes, over the real log in memory: what operations do, what others see, and what is there after a crash.

mod checker;
mod clients;
mod crash;
mod evolve;
mod fold;
mod histories;
mod instance;
mod operations;
mod rules;
mod scopes;
mod support;
mod views;
