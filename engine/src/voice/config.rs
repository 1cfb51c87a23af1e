//! What a flow declares of its voice.

use std::sync::Arc;

use super::{SpeechFormat, SpeechModel, SpeechRequest};

/// How slow and how fast speech may be.
const SPEEDS: std::ops::RangeInclusive<f32> = 0.25..=4.0;

/// What a flow declares of its voice: who speaks, and how. Nothing is spoken unless a request asks for it.
#[derive(Clone)]
pub struct VoiceConfig {
    pub(crate) model: SpeechChoice,
    pub(crate) how: SpeechRequest,
}

/// A model that speaks: an object, or the id of one that the engine's [`VoiceProviders`](super::VoiceProviders) know.
#[derive(Clone)]
pub struct SpeechChoice(pub(super) Chosen);

#[derive(Clone)]
pub(super) enum Chosen {
    Id(String),
    Model(Arc<dyn SpeechModel>),
}

impl From<&str> for SpeechChoice {
    fn from(id: &str) -> Self {
        Self(Chosen::Id(id.into()))
    }
}

impl From<String> for SpeechChoice {
    fn from(id: String) -> Self {
        Self(Chosen::Id(id))
    }
}

impl From<Arc<dyn SpeechModel>> for SpeechChoice {
    fn from(model: Arc<dyn SpeechModel>) -> Self {
        Self(Chosen::Model(model))
    }
}

impl<M: SpeechModel> From<Arc<M>> for SpeechChoice {
    fn from(model: Arc<M>) -> Self {
        Self(Chosen::Model(model))
    }
}

impl VoiceConfig {
    /// The assistant's messages are spoken by this model: an id, as `openai/gpt-4o-mini-tts`, or a model itself.
    pub fn tts(model: impl Into<SpeechChoice>) -> Self {
        Self {
            model: model.into(),
            how: SpeechRequest::default(),
        }
    }

    /// Whose voice, by the name that the model has for it. Without this, the model's own.
    pub fn voice(mut self, voice: impl Into<String>) -> Self {
        self.how.voice = Some(voice.into());
        self
    }

    /// How fast, from 0.25 to 4; 1 is the model's own pace.
    pub fn speed(mut self, speed: f32) -> Self {
        self.how.speed = Some(speed);
        self
    }

    /// How it is to be said, in words.
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.how.instructions = Some(instructions.into());
        self
    }

    /// The form of the audio; MP3 unless this says otherwise.
    pub fn format(mut self, format: SpeechFormat) -> Self {
        self.how.format = format;
        self
    }

    /// What is wrong with it.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(speed) = self.how.speed.filter(|speed| !SPEEDS.contains(speed)) {
            problems.push(format!("the voice speaks at a speed from 0.25 to 4, not {speed}"));
        }
        if matches!(&self.model.0, Chosen::Id(id) if id.trim().is_empty()) {
            problems.push("the id of the voice's model is empty".into());
        }
        problems
    }
}
