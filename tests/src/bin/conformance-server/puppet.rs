//! A model that says what its user tells it to: a list of answers, each a list of pieces, as JSON; any other text is repeated word by word.

use flowstate::engine::item::Role;
use flowstate::engine::model::{Finish, Model, ModelError, ModelErrorKind, ModelEvent, ModelRequest, ToolUse};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::gates;

/// A piece of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Piece {
    Text(String),
    Reasoning(String),
    Tool { id: String, name: String, arguments: Value },
    Gate(String),
    Fail(String),
}

pub(crate) struct Puppet;

impl Model for Puppet {
    fn name(&self) -> &str {
        "puppet"
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        let told = request
            .messages
            .iter()
            .rev()
            .find(|message| message.role() == Role::User);
        let told = told.map(|message| message.text()).unwrap_or_default();
        let answered = request
            .messages
            .iter()
            .filter(|message| message.role() == Role::Assistant);
        let pieces = match serde_json::from_str::<Vec<Vec<Piece>>>(&told) {
            Ok(answers) => answers.into_iter().nth(answered.count()).unwrap_or_default(),
            Err(_) => told
                .split_inclusive(' ')
                .map(|word| Piece::Text(word.to_owned()))
                .collect(),
        };
        let calls = pieces.iter().any(|piece| matches!(piece, Piece::Tool { .. }));
        let finish = if calls { Finish::ToolCalls } else { Finish::Stop };
        let end = ModelEvent::End { finish, usage: None };
        stream::iter(pieces)
            .filter_map(said)
            .chain(stream::iter([Ok(end)]))
            .boxed()
    }
}

async fn said(piece: Piece) -> Option<Result<ModelEvent, ModelError>> {
    Some(match piece {
        Piece::Text(text) => Ok(ModelEvent::Text(text)),
        Piece::Reasoning(text) => Ok(ModelEvent::Reasoning(text)),
        Piece::Tool { id, name, arguments } => Ok(ModelEvent::ToolUse(ToolUse {
            id,
            name,
            arguments: arguments.to_string(),
            native: None,
        })),
        Piece::Gate(gate) => {
            gates::wait(&gate).await;
            return None;
        }
        Piece::Fail(message) => Err(ModelError::new("puppet", ModelErrorKind::Provider, message)),
    })
}
