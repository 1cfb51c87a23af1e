//! The flow that the command brings along: a chat with the default model. Also an example of what users write.

use serde_json::json;

use crate::prelude::*;

/// What the chat is asked.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct ChatInput {
    /// What to answer.
    #[schemars(length(min = 1))]
    message: String,
}

/// What a session of the chat remembers besides its messages.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
struct ChatState {
    /// How often it was answered.
    turns: u64,
    /// The last answer's length, in characters.
    last_answer_chars: u64,
}

/// The flow `hello-chat`, with the action `chat`: asks the default model and counts its turns.
pub fn hello_chat() -> Result<Flow, FlowError> {
    let answer = generator("answer")
        .prompt("You are a friendly assistant.")
        .history(History::all())
        .user(|input: &ChatInput, _ctx| input.message.clone());

    let count = handler("count-turns").run(|answer: String, ctx: Ctx| async move {
        let state = ctx.session::<ChatState>();
        state.inc("turns", 1).await?;
        state
            .patch(json!({ "last_answer_chars": answer.chars().count() }))
            .await?;
        Ok(answer)
    });

    flow("hello-chat")
        .action(
            "chat",
            action(sequencer("chat").then(answer).then(count)).user_message(|input: &ChatInput| input.message.clone()),
        )
        .session(scope::<ChatState>().client_data("turns", |state: &ChatState| state.turns))
        .instance("default")
}
