//! Models that speak and write down without a network and without a key: what they give follows from what they are given.
//! For demos, tests and benchmarks; they understand nothing.

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use xxhash_rust::xxh3::xxh3_64;

use super::wav::{wav, wav_duration};
use super::{
    Speech, SpeechFormat, SpeechModel, SpeechRequest, Transcription, TranscriptionModel, TranscriptionRequest,
};
use crate::model::ModelError;

const SAMPLES_PER_SECOND: u32 = 8_000;
/// Sound for one character of the text, at the usual speed.
const SAMPLES_PER_CHAR: usize = 480;
const LOUDNESS: f32 = 6_000.0;

/// Says every text as one tone: a WAV file, 60 ms for each character, as high as the text and the voice say.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScriptedSpeech;

impl ScriptedSpeech {
    /// Its name.
    pub const NAME: &'static str = "scripted";
}

impl SpeechModel for ScriptedSpeech {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn generate(&self, request: SpeechRequest) -> BoxFuture<'static, Result<Speech, ModelError>> {
        future::ready(Ok(said(&request))).boxed()
    }
}

fn said(request: &SpeechRequest) -> Speech {
    let key = format!("{}\0{}", request.text, request.voice.as_deref().unwrap_or_default());
    let hertz = 200.0 + (xxh3_64(key.as_bytes()) % 400) as f32;
    let length = request.text.chars().count() * SAMPLES_PER_CHAR;
    let length = (length as f32 / request.speed.unwrap_or(1.0)) as usize;
    let turn = std::f32::consts::TAU * hertz / SAMPLES_PER_SECOND as f32;
    let samples: Vec<i16> = (0..length)
        .map(|at| ((at as f32 * turn).sin() * LOUDNESS) as i16)
        .collect();
    let file = wav(SAMPLES_PER_SECOND, &samples);
    let duration = wav_duration(&file);
    match request.format {
        SpeechFormat::Pcm16 => Speech {
            audio: file.slice(super::wav::HEADER_BYTES..),
            media_type: format!("audio/pcm;rate={SAMPLES_PER_SECOND}"),
            duration,
        },
        // It has no encoder: whoever asks for MP3 gets the other form that every player knows.
        SpeechFormat::Wav | SpeechFormat::Mp3 => Speech {
            audio: file,
            media_type: SpeechFormat::Wav.media_type().to_owned(),
            duration,
        },
    }
}

/// Tells of every sound how many bytes it has.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScriptedTranscription;

impl TranscriptionModel for ScriptedTranscription {
    fn name(&self) -> &str {
        ScriptedSpeech::NAME
    }

    fn transcribe(&self, request: TranscriptionRequest) -> BoxFuture<'static, Result<Transcription, ModelError>> {
        let media_type = request.media_type.as_deref().unwrap_or("audio");
        let transcription = Transcription {
            text: format!("{} bytes of {media_type}", request.audio.len()),
            duration: wav_duration(&request.audio),
            language: request.language,
            segments: Vec::new(),
        };
        future::ready(Ok(transcription)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(text: &str, format: SpeechFormat) -> Speech {
        said(&SpeechRequest {
            text: text.into(),
            format,
            ..SpeechRequest::default()
        })
    }

    #[test]
    fn a_text_is_a_tone_of_its_own_and_as_long_as_it() {
        let (one, other) = (say("One.", SpeechFormat::Wav), say("Two.", SpeechFormat::Wav));
        assert_ne!(one.audio, other.audio);
        assert_eq!(one, say("One.", SpeechFormat::Wav));
        assert_eq!((one.duration, one.audio.len()), (Some(0.24), 44 + 4 * 960));
        assert_eq!(say("One.", SpeechFormat::Pcm16).audio, one.audio[44..]);
        let fast = SpeechRequest {
            text: "One.".into(),
            speed: Some(2.0),
            ..SpeechRequest::default()
        };
        assert_eq!(said(&fast).duration, Some(0.12));
    }
}
