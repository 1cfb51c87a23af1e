//! The pages of the guide that are about serving, so that their snippets compile.

#[doc = include_str!("../../docs/guide/authentication.md")]
pub mod authentication {}

#[doc = include_str!("../../docs/guide/command_line.md")]
pub mod command_line {}

#[doc = include_str!("../../docs/guide/limits.md")]
pub mod limits {}
