//! Speech of open messages. Sentences go out as their text is recorded; what is spoken of them comes back in their order and becomes parts of
//! the message, which stays open until then. The bytes are in a record of their own, to which every record that describes the part refers.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{RUNTIME, Recorder, State};
use crate::error::RecordError;
use crate::item::open::closed;
use crate::item::{ContentPart, ItemBody, ItemStatus, Role};
use crate::record::{ContentAdded, ContentDone, Fact, ItemCompleted, MediaStored};
use crate::voice::sentences::Sentences;
use crate::voice::{Speech, told_apart};

/// The text of a message is its first part.
const TEXT: u32 = 0;
/// Most sentences of one request that wait to be spoken; further ones are not spoken.
const SENTENCES_MAX: usize = 256;
/// Most bytes of the audio of one message: whoever is shown the message is shown all of it.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A sentence that is to be spoken.
pub(in crate::exec) struct Sentence {
    item: u32,
    pub(in crate::exec) text: String,
    /// Its message takes nothing more.
    pub(in crate::exec) over: CancellationToken,
}

/// The open messages of a run that are spoken.
pub(super) struct Speaking {
    out: mpsc::Sender<Sentence>,
    messages: BTreeMap<u32, Message>,
}

/// An open message.
struct Message {
    text: Sentences,
    /// Sentences on their way.
    waiting: usize,
    /// It is final but for them.
    whole: bool,
    bytes: usize,
    over: CancellationToken,
    _over: DropGuard,
}

impl Speaking {
    /// Takes in what was recorded.
    pub(super) fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::ItemAdded(added) => {
                let item = &added.item;
                let is_said = matches!(&item.body, ItemBody::Message { role, .. } if *role == Role::Assistant);
                if is_said && item.visibility.client && item.status == ItemStatus::InProgress {
                    let over = CancellationToken::new();
                    let message = Message {
                        text: Sentences::default(),
                        waiting: 0,
                        whole: false,
                        bytes: 0,
                        _over: over.clone().drop_guard(),
                        over,
                    };
                    self.messages.insert(item.index, message);
                }
            }
            Fact::ContentDelta(more) if more.part == TEXT => self.say(more.item, Some(&more.delta)),
            Fact::ContentDone(done) if done.part == TEXT => self.say(done.item, None),
            Fact::ItemCompleted(completed) => drop(self.messages.remove(&completed.item.index)),
            _ => {}
        }
    }

    /// A message has more text, or all of it.
    fn say(&mut self, item: u32, more: Option<&str>) {
        let Self { out, messages } = self;
        let Some(Message {
            text, waiting, over, ..
        }) = messages.get_mut(&item)
        else {
            return;
        };
        let sentence = |text| {
            let over = over.clone();
            match out.try_send(Sentence { item, text, over }) {
                Ok(()) => *waiting += 1,
                Err(error) => tracing::debug!(item, %error, "a sentence is not spoken: too many wait"),
            }
        };
        match more {
            Some(more) => text.push(more, sentence),
            None => text.end(sentence),
        }
    }

    /// A message is whole; `true` if it stays open until it is spoken.
    pub(super) fn holds(&mut self, item: u32) -> bool {
        self.say(item, None);
        let message = self.messages.get_mut(&item).filter(|message| message.waiting > 0);
        message.is_some_and(|message| {
            message.whole = true;
            true
        })
    }

    /// Whether a message only waits to be spoken.
    pub(super) fn is_held(&self, item: u32) -> bool {
        self.messages.get(&item).is_some_and(|message| message.whole)
    }

    fn held(&self) -> impl Iterator<Item = u32> {
        let held = self.messages.iter().filter(|(_, message)| message.whole);
        held.map(|(item, _)| *item)
    }
}

impl Recorder {
    /// Speaks the messages that clients see; what is to be said comes out of the other end.
    pub(in crate::exec) fn speaking(mut self) -> (Self, mpsc::Receiver<Sentence>) {
        let (out, sentences) = mpsc::channel(SENTENCES_MAX);
        let messages = BTreeMap::new();
        self.state.get_mut().speech = Some(Speaking { out, messages });
        (self, sentences)
    }

    /// Records what was spoken of a sentence, `None` if nothing was, and completes its message if that was the last of it.
    pub(in crate::exec) async fn spoken(&self, sentence: Sentence, speech: Option<Speech>) {
        let mut state = self.state.lock().await;
        if let Err(error) = self.add_spoken(&mut state, sentence, speech).await {
            tracing::debug!(request = &*self.request, %error, "what was spoken can't be recorded");
            state.speech = None;
        }
        self.spoken.notify_waiters();
    }

    async fn add_spoken(
        &self,
        state: &mut State,
        sentence: Sentence,
        speech: Option<Speech>,
    ) -> Result<(), RecordError> {
        let item = sentence.item;
        let Some(message) = (state.speech.as_mut()).and_then(|speech| speech.messages.get_mut(&item)) else {
            return Ok(());
        };
        message.waiting -= 1;
        let last = message.whole && message.waiting == 0;
        if let Some(speech) = speech {
            let bytes = message.bytes.saturating_add(speech.audio.len());
            match bytes <= MESSAGE_BYTES_MAX {
                true => {
                    message.bytes = bytes;
                    self.add_speech(state, sentence, speech).await?;
                }
                false => tracing::debug!(request = &*self.request, item, "a message has no room for more audio"),
            }
        }
        if last {
            self.complete_held(state, item).await?;
        }
        Ok(())
    }

    async fn add_speech(&self, state: &mut State, sentence: Sentence, speech: Speech) -> Result<(), RecordError> {
        let item = sentence.item;
        let (origin, parts) = (origin(state, item), state.open.parts(item).unwrap_or_default());
        let part = u32::try_from(parts).map_err(|_| RecordError::NotOpen { item, part: u32::MAX })?;
        let media = MediaStored {
            bytes: told_apart(speech.audio, &speech.media_type, part),
            media_type: speech.media_type.clone(),
        };
        let stored = match self.queue(state, origin, media.into()).await {
            Err(error @ RecordError::TooLarge { .. }) => {
                tracing::debug!(request = &*self.request, %error, "a sentence is not spoken");
                return Ok(());
            }
            stored => stored?,
        };
        let content = ContentPart::OutputAudio {
            media_type: speech.media_type,
            audio: String::new(),
            stored: Some(stored),
            transcript: Some(sentence.text),
            duration: speech.duration,
        };
        let added = ContentAdded {
            item,
            part,
            content: content.clone(),
        };
        self.queue(state, origin, added.into()).await?;
        self.queue(state, origin, ContentDone { item, part, content }.into())
            .await?;
        Ok(())
    }

    async fn complete_held(&self, state: &mut State, item: u32) -> Result<(), RecordError> {
        let Some(record) = state.open.get(item).cloned() else {
            return Ok(());
        };
        let item = closed(record, ItemStatus::Completed);
        let origin = origin(state, item.index);
        self.queue(state, origin, ItemCompleted { item }.into()).await?;
        Ok(())
    }

    /// Waits until every message is complete that only waits to be spoken.
    pub(in crate::exec) async fn spoken_out(&self) {
        loop {
            let spoken = self.spoken.notified();
            let mut spoken = std::pin::pin!(spoken);
            spoken.as_mut().enable();
            let is_out = (self.state.lock().await.speech.as_ref()).is_none_or(|speech| speech.held().next().is_none());
            if is_out {
                return;
            }
            spoken.await;
        }
    }

    /// Nothing more is spoken: messages that only wait for it are completed with what they have.
    pub(in crate::exec) async fn hush(&self) {
        self.hush_in(&mut *self.state.lock().await).await;
    }

    pub(super) async fn hush_in(&self, state: &mut State) {
        let Some(speech) = state.speech.take() else { return };
        for item in speech.held() {
            // What can't be recorded now can't be later: the last record then takes care of it.
            if self.complete_held(state, item).await.is_err() {
                break;
            }
        }
        self.spoken.notify_waiters();
    }
}

fn origin(state: &State, item: u32) -> u64 {
    state.owners.get(&item).map_or(RUNTIME, |place| place.origin())
}
