//! Resources: typed states with a text body, attached to sessions, users and projects; and collections of them.
//! `resource/define` has the builders, `resource/def` what they give without its type, `resource/handle` and `resource/instances` what a block
//! calls, `resource/reader` what is read outside of a run, `resource/decide` what a change of a collection appends, `resource/pattern` and `resource/key` which keys there are,
//! `resource/template` how bodies are rendered. Which records hold a resource is in [`crate::projection::resource`].

mod body;
mod client;
pub(crate) mod decide;
mod def;
mod define;
mod error;
mod handle;
mod hooks;
mod instances;
mod key;
mod lookup;
mod pattern;
mod reader;
pub mod template;
mod tools;

pub use body::ContentVersion;
pub use client::ClientAccess;
pub use define::{Collection, Definition, Eviction, Many, One, Resource, collection, resource};
pub use error::{ResourceError, ResourceProblem};
pub use handle::ResourceRef;
pub use hooks::InstanceContext;
pub use instances::CollectionRef;
pub use key::{Key, KeyError, KeyProblem, StorageKey};
pub use lookup::Resources;
pub use pattern::{Pattern, PatternError, PatternProblem};
pub use reader::ScopeResources;
pub use tools::{
    ReadResourceContent, ResourceContent, ResourceContentWritten, WriteResourceContent, read_resource_content,
    write_resource_content,
};

pub(crate) use decide::Decided;
pub(crate) use def::ResourceDef;
pub(crate) use lookup::SCOPES as RESOURCE_SCOPES;
