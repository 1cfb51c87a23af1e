//! Blocks and a flow as a crate of somebody else's would export them: values behind plain functions, whose types have names. The
//! suite uses them in flows of its own.
//!
//! A step takes what the one before it gives:
//!
//! ```
//! # use flowstate::prelude::*;
//! # use flowstate_exports::{count_words, tidy};
//! action(sequencer::<String>("words").then(tidy()).then(count_words()));
//! ```
//!
//! and nothing else:
//!
//! ```compile_fail
//! # use flowstate::prelude::*;
//! # use flowstate_exports::{count_words, tidy};
//! action(sequencer::<String>("words").then(count_words()).then(tidy()));
//! ```
//!
//! A sequencer that may end early ends with the same type:
//!
//! ```
//! # use flowstate::prelude::*;
//! # use flowstate_exports::{count_words, tidy};
//! action(sequencer::<String>("words").exit_if(|text, _| text.is_empty()).then(tidy()));
//! ```
//!
//! and with no other:
//!
//! ```compile_fail
//! # use flowstate::prelude::*;
//! # use flowstate_exports::{count_words, tidy};
//! action(sequencer::<String>("words").exit_if(|text, _| text.is_empty()).then(count_words()));
//! ```
//!
//! but with what is made of the value:
//!
//! ```
//! # use flowstate::prelude::*;
//! # use flowstate_exports::{count_words, tidy};
//! action(sequencer::<String>("words").exit_with(|text, _| text.is_empty(), |_, _| 0_u32).then(count_words()));
//! ```

use flowstate::engine::prompt::{key_values, section, when};
use flowstate::engine::types::{BlockInput, BlockOutput, ContextOf, ResourceContext, StateOf};
use flowstate::engine::{Collection, Eviction, FlowBuilder, Resource, Scope, Sequencer, View, collection, resource};
use flowstate::prelude::*;

/// What [`count_words`] needs of the session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tally {
    /// All words so far.
    pub words: u32,
}

/// The part of the session that [`count_words`] needs.
pub fn tally() -> View<Tally> {
    view::<Tally>().commuting("words")
}

/// The type of that part, and of the handle to it, as they follow from the view.
type Part = StateOf<View<Tally>>;
type Handle = ContextOf<View<Tally>>;

async fn add(tally: &Handle, words: u32) -> Result<Part, BlockError> {
    tally.inc("words", words).await?;
    Ok(tally.get().await?)
}

/// A handler with a state: adds the words of a text to the session's, and gives how many there are.
pub fn count_words() -> Block<String, u32> {
    handler("count-words")
        .run(|text: String, ctx: Ctx| async move {
            let words = u32::try_from(text.split_whitespace().count())?;
            Ok(add(&ctx.session(), words).await?.words)
        })
        .session_state(tally())
}

/// A handler without one.
pub fn tidy() -> Block<String, String> {
    handler("tidy").run(|text: String, _ctx| async move { Ok(text.trim().to_owned()) })
}

/// What a [`steps`] may still be given steps with.
pub type Steps = Sequencer<String, u32>;

/// A sequencer that others may go on with.
pub fn steps() -> Steps {
    sequencer::<String>("steps").then(tidy()).then(count_words())
}

/// What it takes and gives, as a block.
pub type StepsInput = BlockInput<Steps>;
/// See [`StepsInput`].
pub type StepsOutput = BlockOutput<Steps>;

/// A sequencer as a block, with a state of its own.
pub fn pipeline() -> Block<StepsInput, StepsOutput> {
    let noted = handler("noted").run(|words: u32, ctx: Ctx| async move {
        if let Some(own) = ctx.sequencer::<Tally>() {
            own.inc("words", words).await?;
        }
        Ok(words)
    });
    sequencer::<String>("pipeline")
        .state::<Tally>()
        .then(steps())
        .then(noted)
        .build()
}

/// What a model is told of the words so far; nothing if there are none.
pub fn words_so_far() -> ContextFn {
    context_fn(|tally: Tally| when(tally.words > 0, || section("So far", [key_values(&tally)])))
}

/// The session's state of [`flow_of_words`].
pub fn session() -> Scope<Tally> {
    scope::<Tally>().expose("words")
}

/// Texts that were seen, each under its first word.
pub fn seen() -> Collection<Tally> {
    collection("seen", "seen/*").max_instances(100).eviction(Eviction::Lru)
}

/// What was said last.
pub fn last_words() -> Resource<Tally> {
    resource("last-words").content("nothing yet").llm_readable()
}

/// The types of their handles, as they follow from the declarations.
type Seen = ResourceContext<Collection<Tally>>;
type LastWords = ResourceContext<Resource<Tally>>;

async fn remember(seen: &Seen, last: &LastWords, text: &str) -> Result<usize, BlockError> {
    let words = StateOf::<Resource<Tally>> {
        words: u32::try_from(text.split_whitespace().count())?,
    };
    last.state().set(words).await?;
    last.write_content(text).await?;
    if let Some(first) = text.split_whitespace().next() {
        seen.get_or_create(first).await?.state().inc("words", 1).await?;
    }
    Ok(seen.count().await?)
}

/// A handler that needs both, and brings them to the flow that it is in. Gives how many it has seen.
pub fn remembers() -> Block<String, usize> {
    handler("remembers")
        .run(|text: String, ctx: Ctx| async move {
            remember(&ctx.collection(&seen())?, &ctx.resource(&last_words())?, &text).await
        })
        .session_resource(&seen())
        .session_resource(&last_words())
}

/// A flow to which actions may be added.
pub fn words_builder() -> FlowBuilder {
    flow("words")
        .action("count", action(pipeline()))
        .action("remember", action(remembers()))
        .session(session().resource(&last_words()))
}

/// The flow itself.
pub fn flow_of_words() -> Result<Flow, FlowError> {
    words_builder().instance("default")
}
