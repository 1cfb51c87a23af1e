//! The guide's pages, so that their snippets compile.

#[doc = include_str!("../../docs/guide/blocks.md")]
pub mod blocks {}

#[doc = include_str!("../../docs/guide/sequencer.md")]
pub mod sequencer {}

#[doc = include_str!("../../docs/guide/errors.md")]
pub mod errors {}

#[doc = include_str!("../../docs/guide/state.md")]
pub mod state {}

#[doc = include_str!("../../docs/guide/resources.md")]
pub mod resources {}

#[doc = include_str!("../../docs/guide/collections.md")]
pub mod collections {}

#[doc = include_str!("../../docs/guide/items.md")]
pub mod items {}

#[doc = include_str!("../../docs/guide/generators.md")]
pub mod generators {}

#[doc = include_str!("../../docs/guide/context.md")]
pub mod context {}

#[doc = include_str!("../../docs/guide/tools.md")]
pub mod tools {}

#[doc = include_str!("../../docs/guide/models.md")]
pub mod models {}

#[doc = include_str!("../../docs/guide/providers.md")]
pub mod providers {}

#[doc = include_str!("../../docs/guide/voice.md")]
pub mod voice {}

#[doc = include_str!("../../docs/guide/client_data.md")]
pub mod client_data {}
