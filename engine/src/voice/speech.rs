//! The port to models that speak.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::model::ModelError;

/// A model that speaks.
pub trait SpeechModel: Send + Sync + 'static {
    /// The name that flows refer to.
    fn name(&self) -> &str;

    /// Says a text. It tries once. Dropping the future stops it.
    fn generate(&self, request: SpeechRequest) -> BoxFuture<'static, Result<Speech, ModelError>>;
}

/// What is to be said, and how.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SpeechRequest {
    /// The words.
    pub text: String,
    /// Whose voice, by the name that the model has for it; without one, the model's own.
    pub voice: Option<String>,
    /// How fast, from 0.25 to 4; 1 is the model's own pace.
    pub speed: Option<f32>,
    /// How it is to be said, in words, if the model can follow them.
    pub instructions: Option<String>,
    /// What comes back.
    pub format: SpeechFormat,
}

/// The form of audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpeechFormat {
    /// MP3, the smallest.
    #[default]
    Mp3,
    /// WAV.
    Wav,
    /// 16 bits per sample, without a header.
    Pcm16,
}

impl SpeechFormat {
    /// Its name: `mp3`, `wav`, `pcm16`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Wav => "wav",
            Self::Pcm16 => "pcm16",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Wav => "audio/wav",
            Self::Pcm16 => "audio/pcm",
        }
    }
}

/// What was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Speech {
    /// The sound.
    pub audio: Bytes,
    /// Its media type.
    pub media_type: String,
    /// How long it is in seconds, if that is known.
    pub duration: Option<f64>,
}
