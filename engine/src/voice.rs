//! Voice: the ports to models that speak and to models that write down what was spoken, and what is declared of them. What is said aloud of a
//! request is cut into sentences in `voice/sentences`, spoken by `exec/speech` and recorded by `exec/recorder/speech`.

mod config;
mod leading;
mod providers;
mod scripted;
pub(crate) mod sentences;
mod speech;
mod transcription;
mod wav;

pub use config::{SpeechChoice, VoiceConfig};
pub use providers::{TranscribeError, VoiceProviders};
pub use scripted::{ScriptedSpeech, ScriptedTranscription};
pub use speech::{Speech, SpeechFormat, SpeechModel, SpeechRequest};
pub use transcription::{Transcription, TranscriptionModel, TranscriptionRequest, TranscriptionSegment};
pub use wav::wav_duration;

pub(crate) use leading::told_apart;
pub(crate) use providers::{Voice, Voices};
