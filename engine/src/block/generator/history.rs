//! What a model sees of the session before: whole turns, read from the log as items and shown as messages.

use flowstate_log::record::Record;

use crate::error::{BlockError, QueryError};
use crate::exec::Ctx;
use crate::item::{ContentPart, ItemBody, Role, ToolOutput};
use crate::model::{AssistantPart, ModelMessage, ToolResult, ToolUse, UserPart};
use crate::record::{Fact, HistoryRange, decode};

/// Characters that count as one token. Providers count differently; this errs on the side of fewer messages for most languages.
const TOKEN_CHARS: usize = 4;
/// Tokens that a message counts besides its text.
const MESSAGE_TOKENS: usize = 4;
/// Turns that are read at once when only as much is shown as fits.
const TURNS_AT_ONCE: usize = 16;

/// How much of the session a model sees. Always whole turns (requests), and always the running one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    turns_max: Option<usize>,
    tokens_max: Option<usize>,
    /// Between which records it lies, once that is recorded.
    within: Option<HistoryRange>,
}

impl History {
    /// All of it.
    pub fn all() -> Self {
        Self {
            turns_max: None,
            tokens_max: None,
            within: None,
        }
    }

    /// The newest turns, the running one included.
    pub fn turns(turns_max: usize) -> Self {
        Self::all().turns_max(turns_max)
    }

    /// The newest turns that have together at most so many tokens, a token counted as 4 characters. The running turn is there even if
    /// it has more.
    pub fn tokens(tokens_max: usize) -> Self {
        Self::all().tokens_max(tokens_max)
    }

    /// Of these, the newest so many turns only.
    pub fn turns_max(mut self, turns_max: usize) -> Self {
        self.turns_max = Some(turns_max);
        self
    }

    /// Of these, as many of the newest as have at most so many tokens.
    pub fn tokens_max(mut self, tokens_max: usize) -> Self {
        self.tokens_max = Some(tokens_max);
        self
    }

    /// What it was when it lay between these records.
    pub(super) fn within(mut self, range: HistoryRange) -> Self {
        self.within = Some(range);
        self
    }

    /// The messages, and where they lie in the session's stream.
    pub(crate) async fn read(self, ctx: &Ctx) -> Result<(Vec<ModelMessage>, Option<HistoryRange>), BlockError> {
        // What has been said since does not count as a turn, either.
        let turns_max = self.turns_max.filter(|_| self.within.is_none());
        let mut turns = ctx.history_turns(turns_max).await?;
        if let Some(range) = self.within {
            for turn in &mut turns {
                turn.retain(|position| (range.from..=range.to).contains(position));
            }
            turns.retain(|turn| !turn.is_empty());
        }
        let (positions, messages) = match self.tokens_max {
            None => {
                let positions = turns.concat();
                let messages = messages(&ctx.session_records(&positions).await?)?;
                (positions, messages)
            }
            Some(tokens_max) => newest(turns, tokens_max, ctx).await?,
        };
        let (first, last) = (positions.iter().min(), positions.iter().max());
        let range = first.zip(last).map(|(from, to)| HistoryRange { from: *from, to: *to });
        Ok((messages, range))
    }
}

/// The newest turns that fit, always the newest of all. Older ones are not read.
async fn newest(
    mut turns: Vec<Vec<u64>>,
    tokens_max: usize,
    ctx: &Ctx,
) -> Result<(Vec<u64>, Vec<ModelMessage>), BlockError> {
    let (mut kept, mut tokens) = (Vec::new(), 0usize);
    'read: while !turns.is_empty() {
        let some = turns.split_off(turns.len().saturating_sub(TURNS_AT_ONCE));
        let records = ctx.session_records(&some.concat()).await?;
        let mut end = records.len();
        for positions in some.into_iter().rev() {
            let begin = end.saturating_sub(positions.len());
            let turn = messages(records.get(begin..end).unwrap_or_default())?;
            tokens = tokens.saturating_add(turn.iter().map(count).sum());
            if tokens > tokens_max && !kept.is_empty() {
                break 'read;
            }
            kept.push((positions, turn));
            end = begin;
        }
    }
    let (positions, messages): (Vec<_>, Vec<_>) = kept.into_iter().rev().unzip();
    Ok((positions.concat(), messages.concat()))
}

fn count(message: &ModelMessage) -> usize {
    let other = match message {
        ModelMessage::Assistant { parts } => parts
            .iter()
            .map(|part| match part {
                AssistantPart::ToolUse(call) => call.name.chars().count() + call.arguments.chars().count(),
                _ => 0,
            })
            .sum(),
        _ => 0,
    };
    (message.text().chars().count() + other).div_ceil(TOKEN_CHARS) + MESSAGE_TOKENS
}

/// The messages that items are, in order. What one answer said and called is one message, what its tools gave is the next.
fn messages(records: &[Record]) -> Result<Vec<ModelMessage>, BlockError> {
    let mut told = Told::default();
    for record in records {
        if let Fact::ItemCompleted(completed) = decode(record).map_err(QueryError::from)? {
            told.item(completed.item.body);
        }
    }
    Ok(told.end())
}

#[derive(Default)]
struct Told {
    messages: Vec<ModelMessage>,
    parts: Vec<AssistantPart>,
    results: Vec<ToolResult>,
}

impl Told {
    fn item(&mut self, body: ItemBody) {
        match body {
            ItemBody::Message { role, content } => self.message(role, &content),
            ItemBody::Reasoning { summary } => {
                let text = text(&summary);
                self.flush_if(|told| !told.results.is_empty());
                if !text.is_empty() {
                    self.parts.push(AssistantPart::Reasoning { text, native: None });
                }
            }
            ItemBody::ToolOutput(output) => self.tool(output),
            _ => {}
        }
    }

    fn message(&mut self, role: Role, content: &[ContentPart]) {
        let text = text(content);
        match role {
            Role::Assistant if text.is_empty() => {}
            Role::Assistant => {
                let spoke = |part: &AssistantPart| !matches!(part, AssistantPart::Reasoning { .. });
                self.flush_if(|told| !told.results.is_empty() || told.parts.iter().any(spoke));
                self.parts.push(AssistantPart::Text { text });
            }
            Role::User => {
                self.flush();
                let parts: Vec<UserPart> = content.iter().filter_map(shown).collect();
                if !parts.is_empty() {
                    self.messages.push(ModelMessage::User { parts });
                }
            }
            Role::System | Role::Developer | Role::Tool => {
                self.flush();
                if !text.is_empty() {
                    self.messages.push(ModelMessage::system(text));
                }
            }
        }
    }

    fn tool(&mut self, output: ToolOutput) {
        let call = output.call;
        // Two calls of one id can't be told apart.
        self.flush_if(|told| told.results.iter().any(|result| result.id == call.call_id));
        let content = match (&output.error, output.output) {
            (Some(error), _) => error.message.clone(),
            (None, Some(value)) => super::drive::shown_to_model(&value),
            (None, None) => "it was stopped".to_owned(),
        };
        self.results.push(ToolResult {
            id: call.call_id.clone(),
            name: call.name.clone(),
            content,
            is_error: output.error.is_some(),
        });
        self.parts.push(AssistantPart::ToolUse(ToolUse {
            id: call.call_id,
            name: call.name,
            arguments: call.arguments,
            native: None,
        }));
    }

    fn flush_if(&mut self, ends: impl FnOnce(&Self) -> bool) {
        if ends(self) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        let said = parts
            .iter()
            .any(|part| !matches!(part, AssistantPart::Reasoning { .. }));
        if said {
            self.messages.push(ModelMessage::Assistant { parts });
        }
        let results = std::mem::take(&mut self.results);
        if !results.is_empty() {
            self.messages.push(ModelMessage::Tool { results });
        }
    }

    fn end(mut self) -> Vec<ModelMessage> {
        self.flush();
        self.messages
    }
}

fn text(parts: &[ContentPart]) -> String {
    parts.iter().map(ContentPart::as_text).collect()
}

fn shown(part: &ContentPart) -> Option<UserPart> {
    match part {
        ContentPart::File {
            media_type,
            data,
            filename,
        } => Some(UserPart::File {
            media_type: media_type.clone(),
            data: data.clone(),
            filename: filename.clone(),
        }),
        part if part.as_text().is_empty() => None,
        part => Some(UserPart::Text {
            text: part.as_text().to_owned(),
        }),
    }
}
