//! The voice of one run: sentences are spoken beside the chain, some at once, and recorded in their order. It has no task of its own:
//! whoever polls the chain polls it, and dropping that stops it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{FutureExt, StreamExt, stream};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::mpsc::Receiver;

use super::recorder::{Recorder, Sentence};
use super::run::Run;
use super::{Core, panic_message};
use crate::flow::Flow;
use crate::voice::{Speech, Voice};

/// Sentences of one request that are spoken at once.
const AT_ONCE: usize = 3;
/// How long a sentence may take.
const LIMIT: Duration = Duration::from_secs(15);

/// See the module.
pub(super) struct Speaker {
    voice: Voice,
    sentences: Mutex<Option<Receiver<Sentence>>>,
}

impl Speaker {
    /// Of a request of this flow with this metadata, and its recorder; `None` if it is not spoken to.
    pub(super) fn of(
        core: &Core,
        flow: &Flow,
        metadata: Option<&Map<String, Value>>,
        recorder: Recorder,
    ) -> (Option<Self>, Recorder) {
        let Some(voice) = core.voices.of(flow).filter(|_| Voice::is_wanted(metadata)) else {
            return (None, recorder);
        };
        let (recorder, sentences) = recorder.speaking();
        let speaker = Self {
            voice: voice.clone(),
            sentences: Mutex::new(Some(sentences)),
        };
        (Some(speaker), recorder)
    }

    async fn speak(&self, run: &Run, sentences: Receiver<Sentence>) {
        let sentences = stream::unfold(sentences, |mut sentences| async move {
            let sentence = sentences.recv().await?;
            Some((sentence, sentences))
        });
        let spoken = sentences.map(|sentence| self.say(run, sentence)).buffered(AT_ONCE);
        let mut spoken = pin!(spoken);
        while let Some((sentence, speech)) = spoken.next().await {
            run.recorder.spoken(sentence, speech).await;
        }
    }

    /// Says one sentence. What fails, or takes too long, is left out.
    async fn say(&self, run: &Run, sentence: Sentence) -> (Sentence, Option<Speech>) {
        let said = async {
            let said = self.voice.model.generate(self.voice.says(&sentence.text));
            tokio::select! {
                biased;
                said = said => said.map_err(|error| error.to_string()),
                () = run.core.timer.wait(LIMIT) => Err(format!("it took longer than {LIMIT:?}")),
            }
        };
        let said = AssertUnwindSafe(said).catch_unwind();
        let said = match sentence.over.run_until_cancelled(said).await {
            None => Err("its message was closed".to_owned()),
            Some(Err(panic)) => Err(format!("it panicked: {}", panic_message(&*panic))),
            Some(Ok(Ok(speech))) if speech.audio.is_empty() => Err("there is no sound".to_owned()),
            Some(Ok(said)) => said,
        };
        let said = said.inspect_err(|error| {
            let model = self.voice.model.name();
            tracing::debug!(request = &*run.request, model, error, "a sentence is not spoken");
        });
        (sentence, said.ok())
    }
}

/// Polls `chain` to its end, and speaks beside it.
pub(super) async fn beside<T>(run: &Run, chain: impl Future<Output = T>) -> T {
    let speaker = run.speaker.as_ref();
    let speaker = speaker.and_then(|speaker| Some((speaker, speaker.sentences.lock().take()?)));
    let Some((speaker, sentences)) = speaker else {
        return chain.await;
    };
    // On the heap: few requests are spoken to, and each that runs keeps room for what it may do.
    let speaking = speaker.speak(run, sentences).boxed();
    match select(pin!(chain), speaking).await {
        Either::Left((ended, _)) => ended,
        Either::Right(((), chain)) => chain.await,
    }
}
