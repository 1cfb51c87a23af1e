//! Replies that are handed out one for each call.

use std::collections::VecDeque;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;

use super::reply::{Reply, Step};
use crate::item::Role;
use crate::model::{ModelError, ModelErrorKind, ModelEvent, ModelRequest};

/// What is to be said, by conversation.
#[derive(Debug)]
pub(super) struct Script {
    lists: Vec<List>,
    state: Mutex<State>,
}

/// Replies for conversations in which a user said something; the last list is for all others.
#[derive(Debug, Clone)]
struct List {
    when: Option<String>,
    replies: Vec<Reply>,
}

#[derive(Debug, Default)]
struct State {
    /// How many replies of each list are taken.
    taken: Vec<usize>,
    asked: VecDeque<ModelRequest>,
}

impl Script {
    pub(super) fn new(replies: Vec<Reply>) -> Self {
        Self::of(vec![List { when: None, replies }])
    }

    fn of(lists: Vec<List>) -> Self {
        let taken = vec![0; lists.len()];
        let asked = VecDeque::new();
        Self {
            lists,
            state: Mutex::new(State { taken, asked }),
        }
    }

    /// The same script, of which nothing is taken.
    pub(super) fn unused(&self) -> Self {
        Self::of(self.lists.clone())
    }

    /// With these replies for conversations in which a user said `text`.
    pub(super) fn when(mut self, text: String, replies: Vec<Reply>) -> Self {
        let at = self.lists.len().saturating_sub(1);
        let when = Some(text);
        self.lists.insert(at, List { when, replies });
        Self::of(self.lists)
    }

    pub(super) fn asked(&self) -> Vec<ModelRequest> {
        self.state.lock().asked.iter().cloned().collect()
    }

    pub(super) fn left(&self) -> usize {
        let taken: usize = self.state.lock().taken.iter().sum();
        self.lists.iter().map(|list| list.replies.len()).sum::<usize>() - taken
    }

    /// The next reply of the conversation's list. It is taken now, not when the stream is read.
    pub(super) fn stream(
        &self,
        model: &str,
        request: ModelRequest,
    ) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        let said = |text: &str| {
            let users = request.messages.iter().filter(|message| message.role() == Role::User);
            users.into_iter().any(|message| message.text().contains(text))
        };
        let fits = |list: &List| list.when.as_deref().is_none_or(said);
        let Some((at, list)) = self.lists.iter().enumerate().find(|(_, list)| fits(list)) else {
            return failed(used_up(model, None, 0));
        };
        let mut state = self.state.lock();
        let number = state.taken[at];
        let Some(reply) = list.replies.get(number) else {
            return failed(used_up(model, list.when.as_deref(), number));
        };
        state.taken[at] += 1;
        state.asked.push_back(request);
        drop(state);
        let steps = reply.clone().played(number + 1);
        stream::iter(steps)
            .filter_map(async |step| match step {
                Step::Event(event) => Some(Ok(event)),
                Step::Fail(error) => Some(Err(error)),
                Step::Wait(time) => {
                    tokio::time::sleep(time).await;
                    None
                }
                Step::Tool(..) | Step::Cut => None,
            })
            .boxed()
    }
}

fn failed(error: ModelError) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
    stream::iter([Err(error)]).boxed()
}

fn used_up(model: &str, when: Option<&str>, replies: usize) -> ModelError {
    let of = when.map(|text| format!(" for {text:?}")).unwrap_or_default();
    let message = format!("the script{of} has {replies} replies, and this is call {}", replies + 1);
    ModelError::new(model, ModelErrorKind::Other, message)
}
