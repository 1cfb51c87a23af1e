//! Who can speak and write down, by id; and what the voices of an engine's flows are once they are found.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::config::Chosen;
use super::{ScriptedSpeech, ScriptedTranscription, SpeechModel, SpeechRequest, TranscriptionModel};
use crate::flow::Flow;
use crate::model::providers::Audio;
use crate::model::{ModelError, Provider, Resolver, Route};

type Factory<M> = Arc<dyn Fn(&str) -> Option<Arc<M>> + Send + Sync>;

/// Who can speak and who can write down what was spoken: functions that give the model of an id if they know it. They are asked in the
/// order in which they were added.
#[derive(Clone, Default)]
pub struct VoiceProviders {
    speech: Vec<Factory<dyn SpeechModel>>,
    transcription: Vec<Factory<dyn TranscriptionModel>>,
}

impl VoiceProviders {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// The scripted models, as `scripted`: for development and tests.
    pub fn scripted() -> Self {
        let is_scripted = |id: &str| id == ScriptedSpeech::NAME;
        Self::new()
            .speech(move |id| is_scripted(id).then(|| Arc::new(ScriptedSpeech) as _))
            .transcription(move |id| is_scripted(id).then(|| Arc::new(ScriptedTranscription) as _))
    }

    /// OpenAI's models, as `openai/gpt-4o-mini-tts`, `openai/tts-1`, `openai/gpt-4o-mini-transcribe` and `openai/whisper-1`, with the key and the
    /// address that `models` has for `openai`. At OpenAI itself only names that can speak, or write down, are known; at another address
    /// all are. Nobody is known if `models` has neither.
    pub fn openai(models: &Resolver) -> Self {
        let audio = |id: &str, is: fn(&str) -> bool, way: &Route| {
            let model = id.strip_prefix("openai/")?;
            let route = Route {
                name: id.to_owned(),
                model: model.to_owned(),
                ..way.clone()
            };
            (is(model) || way.base_url.is_some()).then(|| Arc::new(Audio::new(route)))
        };
        let Some(way) = models.direct_route(Provider::OpenAi, "") else {
            tracing::warn!("there is no key for openai: its models can't speak and not write down");
            return Self::new();
        };
        let other = way.clone();
        Self::new()
            .speech(move |id| Some(audio(id, |model| model.contains("tts"), &way)? as _))
            .transcription(move |id| {
                let writes = |model: &str| model.contains("whisper") || model.contains("transcribe");
                Some(audio(id, writes, &other)? as _)
            })
    }

    /// Adds who can speak.
    pub fn speech(mut self, models: impl Fn(&str) -> Option<Arc<dyn SpeechModel>> + Send + Sync + 'static) -> Self {
        self.speech.push(Arc::new(models));
        self
    }

    /// Adds who can write down.
    pub fn transcription(
        mut self,
        models: impl Fn(&str) -> Option<Arc<dyn TranscriptionModel>> + Send + Sync + 'static,
    ) -> Self {
        self.transcription.push(Arc::new(models));
        self
    }

    /// Adds everybody of other providers, behind those who are here.
    pub fn and(mut self, others: Self) -> Self {
        self.speech.extend(others.speech);
        self.transcription.extend(others.transcription);
        self
    }
}

/// Why nothing was written down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranscribeError {
    /// The engine was given nobody who can.
    #[error("there is no transcription provider: give the engine one with VoiceProviders::transcription")]
    NoProvider,
    /// Nobody knows this id.
    #[error("no transcription provider knows the model {0:?}")]
    UnknownModel(String),
    /// There is no sound.
    #[error("there is no audio to transcribe")]
    NoAudio,
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Who speaks for a flow, and how.
#[derive(Clone)]
pub(crate) struct Voice {
    pub(crate) model: Arc<dyn SpeechModel>,
    how: SpeechRequest,
}

impl Voice {
    /// Whether a request asks to be spoken to: `{"voice": {"ttsEnabled": true}}`.
    pub(crate) fn is_wanted(metadata: Option<&Map<String, Value>>) -> bool {
        let voice = metadata.and_then(|metadata| metadata.get("voice"));
        voice.and_then(|voice| voice.get("ttsEnabled")) == Some(&Value::Bool(true))
    }

    /// How this text is asked for.
    pub(crate) fn says(&self, text: &str) -> SpeechRequest {
        SpeechRequest {
            text: text.to_owned(),
            ..self.how.clone()
        }
    }
}

/// The voices of an engine's flows, by kind, and who can write down.
#[derive(Default)]
pub(crate) struct Voices {
    of_flows: HashMap<String, Voice>,
    transcription: Vec<Factory<dyn TranscriptionModel>>,
}

impl Voices {
    /// `Err` names every flow whose voice nobody knows.
    pub(crate) fn find(flows: &[Flow], providers: VoiceProviders) -> Result<Self, Vec<String>> {
        let (mut of_flows, mut problems) = (HashMap::new(), Vec::new());
        for flow in flows {
            let Some(config) = &flow.voice else { continue };
            let model = match &config.model.0 {
                Chosen::Model(model) => Some(model.clone()),
                Chosen::Id(id) => {
                    let found = providers.speech.iter().find_map(|models| models(id));
                    if found.is_none() {
                        let kind = flow.kind();
                        let why = match providers.speech.is_empty() {
                            true => "there is no speech provider: give the engine one with VoiceProviders::speech",
                            false => "no speech provider knows it",
                        };
                        problems.push(format!("flow {kind:?}, voice: the model {id:?} can't be found: {why}"));
                    }
                    found
                }
            };
            let how = config.how.clone();
            of_flows.extend(model.map(|model| (flow.kind().to_owned(), Voice { model, how })));
        }
        match problems.is_empty() {
            true => Ok(Self {
                of_flows,
                transcription: providers.transcription,
            }),
            false => Err(problems),
        }
    }

    pub(crate) fn of(&self, flow: &Flow) -> Option<&Voice> {
        self.of_flows.get(flow.kind())
    }

    pub(crate) fn transcription(&self, id: &str) -> Result<Arc<dyn TranscriptionModel>, TranscribeError> {
        if self.transcription.is_empty() {
            return Err(TranscribeError::NoProvider);
        }
        let found = self.transcription.iter().find_map(|models| models(id));
        found.ok_or_else(|| TranscribeError::UnknownModel(id.to_owned()))
    }
}
