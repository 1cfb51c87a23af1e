//! A model that says what the test tells it, a voice that speaks when the test lets it, and requests that are read back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flowstate_engine::item::{ContentPart, Item, ItemBody};
use flowstate_engine::model::{Finish, Model, ModelError, ModelErrorKind, ModelEvent, ModelRequest};
use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, decode};
use flowstate_engine::voice::{Speech, SpeechModel, SpeechRequest};
use flowstate_engine::{Accepted, EngineBuilder, Principal, RequestRef, Submission, Timer};
use flowstate_log::disk::Disk;
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::{FollowSub, Options};
use futures_util::future::{self, BoxFuture};
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{mpsc, watch};

/// Nothing in these tests takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// Says, answer by answer, the pieces that it is sent, each as it comes; an answer ends with its sender.
#[derive(Clone, Default)]
pub struct Mouth {
    answers: Arc<Mutex<Vec<mpsc::UnboundedReceiver<String>>>>,
    /// What it was asked, one text for all messages of a call.
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Mouth {
    /// One more answer, to be said piece by piece.
    pub fn answer(&self) -> mpsc::UnboundedSender<String> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.answers.lock().insert(0, receiver);
        sender
    }

    /// One more answer, all of it.
    pub fn says(self, text: &str) -> Self {
        self.answer().send(text.into()).expect("heard");
        self
    }
}

impl Model for Mouth {
    fn name(&self) -> &str {
        "mouth"
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        let heard: Vec<_> = request.messages.iter().map(|message| message.text()).collect();
        self.asked.lock().push(heard.join(" | "));
        let pieces = self.answers.lock().pop().expect("an answer is left");
        let pieces = stream::unfold(pieces, |mut pieces| async move {
            let piece = pieces.recv().await?;
            Some((Ok(ModelEvent::Text(piece)), pieces))
        });
        let end = ModelEvent::End {
            finish: Finish::Stop,
            usage: None,
        };
        pieces.chain(stream::iter([Ok(end)])).boxed()
    }
}

#[derive(Default)]
struct State {
    /// In the order in which they were asked for.
    asked: Vec<SpeechRequest>,
    running: usize,
    running_max: usize,
    done: usize,
    dropped: usize,
    held: BTreeSet<String>,
}

/// Speaks a sentence at once, unless it is held; fails at "Fail.", panics at "Panic.", says nothing at "Mute.".
#[derive(Clone)]
pub struct Voice {
    state: Arc<watch::Sender<State>>,
    sound: Arc<BTreeMap<String, Bytes>>,
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
            sound: Arc::default(),
        }
    }
}

impl Voice {
    /// That holds these sentences.
    pub fn holding(held: impl IntoIterator<Item = &'static str>) -> Self {
        let voice = Self::default();
        let held = held.into_iter().map(str::to_owned);
        voice.state.send_modify(|state| state.held.extend(held));
        voice
    }

    /// That has these bytes for this sentence.
    pub fn sounding(sound: impl IntoIterator<Item = (&'static str, Bytes)>) -> Self {
        let sound = sound.into_iter().map(|(text, bytes)| (text.to_owned(), bytes));
        Self {
            sound: Arc::new(sound.collect()),
            ..Self::default()
        }
    }

    pub fn release(&self, text: &str) {
        self.state.send_modify(|state| state.held.retain(|held| held != text));
    }

    pub fn asked(&self) -> Vec<SpeechRequest> {
        self.state.borrow().asked.clone()
    }

    pub fn texts(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.text).collect()
    }

    pub fn running_max(&self) -> usize {
        self.state.borrow().running_max
    }

    pub fn dropped(&self) -> usize {
        self.state.borrow().dropped
    }

    /// Waits until so many were asked for.
    pub async fn begun(&self, count: usize) {
        self.until(|state| state.asked.len() >= count).await;
    }

    /// Waits until so many are spoken.
    pub async fn done(&self, count: usize) {
        self.until(|state| state.done >= count).await;
    }

    async fn until(&self, is: impl FnMut(&State) -> bool) {
        let mut state = self.state.subscribe();
        soon(state.wait_for(is)).await.expect("a voice");
    }
}

/// The sound that the voice has for a text.
pub fn sound(text: &str) -> Bytes {
    format!("<{text}>").into()
}

struct Running(Arc<watch::Sender<State>>, bool);

impl Running {
    fn is_done(&mut self) {
        self.1 = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|state| {
            state.running -= 1;
            state.done += usize::from(self.1);
            state.dropped += usize::from(!self.1);
        });
    }
}

impl SpeechModel for Voice {
    fn name(&self) -> &str {
        "voice"
    }

    fn generate(&self, request: SpeechRequest) -> BoxFuture<'static, Result<Speech, ModelError>> {
        let text = request.text.clone();
        self.state.send_modify(|state| {
            state.asked.push(request);
            state.running += 1;
            state.running_max = state.running_max.max(state.running);
        });
        let (mut running, sounds) = (Running(self.state.clone(), false), self.sound.clone());
        let mut state = self.state.subscribe();
        async move {
            state
                .wait_for(|state| !state.held.contains(&text))
                .await
                .expect("a voice");
            running.is_done();
            let audio = match text.as_str() {
                "Fail." => return Err(ModelError::new("voice", ModelErrorKind::Provider, "hoarse")),
                "Panic." => panic!("no words"),
                "Mute." => Bytes::new(),
                text => sounds.get(text).cloned().unwrap_or_else(|| sound(text)),
            };
            Ok(Speech {
                audio,
                media_type: "audio/test".into(),
                duration: Some(text.len() as f64 / 8.0),
            })
        }
        .boxed()
    }
}

pub fn asks() -> flowstate_engine::Generator<String> {
    generator("asks").user(|input: &String, _| input.clone())
}

/// A disk in memory, small segments.
pub fn on_disk(disk: &MemoryDisk) -> Options {
    let mut options = Options {
        disk: Arc::new(disk.clone()),
        ..Options::in_memory()
    };
    (options.limits.segment_bytes, options.limits.commit_bytes_max) = (1 << 20, 1 << 20);
    options
}

/// The flow `f` with this action `a` and this voice.
pub fn spoken<M>(block: impl IntoBlock<String, String, M>, voice: &Voice) -> Flow {
    let config = VoiceConfig::tts(Arc::new(voice.clone())).voice("alloy").speed(1.5);
    let flow = flow("f").action("a", action(block)).voice(config);
    flow.instance("i").expect("a flow")
}

/// Time stands still.
struct Never;

impl Timer for Never {
    fn wait(&self, _: Duration) -> BoxFuture<'static, ()> {
        future::pending().boxed()
    }
}

pub fn builder(flow: Flow, mouth: &Mouth) -> EngineBuilder {
    let builder = Engine::builder().flow(flow).model(Arc::new(mouth.clone()));
    builder.timer(Arc::new(Never))
}

pub async fn engine<M>(block: impl IntoBlock<String, String, M>, mouth: &Mouth, voice: &Voice) -> Engine {
    let builder = builder(spoken(block, voice), mouth);
    builder.open(Options::in_memory()).await.expect("an engine")
}

/// The request `r` in the session `s`, spoken to.
pub fn submission() -> Submission {
    let metadata = json!({"voice": {"ttsEnabled": true}});
    Submission {
        flow: "f".into(),
        action: "a".into(),
        input: Some(json!("go")),
        user: "u".into(),
        session: Some("s".into()),
        request: Some("r".into()),
        metadata: metadata.as_object().cloned(),
        ..Submission::default()
    }
}

pub async fn submit(engine: &Engine) -> Accepted {
    engine.submit(submission()).await.expect("accepted")
}

pub async fn request(engine: &Engine, request: &str) -> RequestRef {
    let whose = Principal::default();
    let found = engine.request(&whose, "f", request, Duration::ZERO);
    found.await.expect("readable").expect("a request")
}

/// The facts of a request as they become durable.
pub struct Facts {
    records: FollowSub,
    pub seen: Vec<Fact>,
}

impl Facts {
    pub async fn of(engine: &Engine) -> Self {
        let sub = request(engine, "r").await.sub;
        Self {
            records: engine.log().follow_sub(&sub, 0).await.expect("records"),
            seen: Vec::new(),
        }
    }

    /// Waits for one.
    pub async fn until(&mut self, is: impl Fn(&Fact) -> bool) {
        while !self.seen.iter().any(&is) {
            for record in soon(self.records.page()).await.expect("a page") {
                self.seen.push(decode(&record).expect("a fact"));
            }
        }
    }

    pub async fn end(mut self) -> Vec<Fact> {
        self.until(Fact::is_terminal).await;
        self.seen
    }
}

/// All facts of the request `r`, once it has ended.
pub async fn facts(engine: &Engine) -> Vec<Fact> {
    Facts::of(engine).await.end().await
}

/// Whether a fact says that a message has all its text.
pub fn is_said(fact: &Fact) -> bool {
    matches!(fact, Fact::ContentDone(done) if done.part == 0)
}

/// What is told of the parts of messages, in order: `added 1 One.`.
pub fn told(facts: &[Fact]) -> Vec<String> {
    let line = |what: &str, part: u32, content: &ContentPart| match content {
        ContentPart::OutputAudio { transcript, .. } => {
            Some(format!("{what} {part} {}", transcript.clone().unwrap_or_default()))
        }
        _ => None,
    };
    let told = facts.iter().filter_map(|fact| match fact {
        Fact::ContentAdded(added) => line("added", added.part, &added.content),
        Fact::ContentDone(done) => match &done.content {
            ContentPart::OutputText { .. } => Some("said".to_owned()),
            content => line("done", done.part, content),
        },
        Fact::ItemCompleted(completed) => match &completed.item.body {
            ItemBody::Message { .. } => Some(format!("message {}", completed.item.status.as_str())),
            _ => None,
        },
        fact if fact.is_terminal() => Some("end".to_owned()),
        _ => None,
    });
    told.collect()
}

/// What a snapshot of the session `s` shows of its messages.
pub async fn messages(engine: &Engine) -> Vec<Item> {
    let query = flowstate_engine::SnapshotQuery {
        items: Some(flowstate_engine::ItemPage {
            limit: 1_000,
            ..Default::default()
        }),
        ..Default::default()
    };
    let snapshot = engine.snapshot(&Principal::default(), "s", &query).await;
    let items = snapshot.expect("readable").expect("a session").items.expect("items");
    let messages = items.into_iter().filter(|item| item.body.type_name() == "message");
    messages.collect()
}

/// The transcripts and bytes of an item's audio.
pub fn audio(item: &Item) -> Vec<(String, Bytes)> {
    let ItemBody::Message { content, .. } = &item.body else {
        panic!("{item:?}")
    };
    let audio = content.iter().filter_map(|part| match part {
        ContentPart::OutputAudio {
            audio,
            transcript,
            stored: None,
            ..
        } => Some((transcript.clone().unwrap_or_default(), base64(audio))),
        ContentPart::OutputAudio { stored, .. } => panic!("callers do not read records: {stored:?}"),
        _ => None,
    });
    audio.collect()
}

/// What base64 stands for.
pub fn base64(text: &str) -> Bytes {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = LETTERS.iter().position(|known| *known == letter).expect("base64");
        (bits, count) = (bits << 6 | value as u32, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes.into()
}

/// How often some bytes are in the files of a disk.
pub fn occurrences(disk: &MemoryDisk, wanted: &[u8]) -> usize {
    let count = |name: &String| {
        let file = disk.open(name).expect("a file");
        let mut content = vec![0; usize::try_from(file.len().expect("a length")).expect("small")];
        file.read_at(0, &mut content).expect("readable");
        content.windows(wanted.len()).filter(|window| *window == wanted).count()
    };
    disk.list().expect("a list").iter().map(count).sum()
}
