//! OpenAI's speech and transcriptions, over the transport of its models. Not by way of rig: its answers have neither a language nor the times
//! of what was said, and its forms do not say what a file is.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use rig_core::error::ProviderError;
use rig_core::http_client::Request;
use serde::Deserialize;
use serde_json::json;

use super::super::{ModelError, ModelErrorKind, Route};
use super::failure::Failures;
use super::form::Form;
use super::transport::Http;
use crate::voice::{
    Speech, SpeechFormat, SpeechModel, SpeechRequest, Transcription, TranscriptionModel, TranscriptionRequest,
    TranscriptionSegment, wav_duration,
};

/// Where OpenAI is.
const BASE_URL: &str = "https://api.openai.com/v1";
/// Whose voice it is if nobody says: these servers want one.
const VOICE: &str = "alloy";
/// Sound without a header: 24 kHz, 16 bits, one channel.
const PCM_BYTES_PER_SECOND: f64 = 48_000.0;
const PCM_MEDIA_TYPE: &str = "audio/pcm;rate=24000";

/// A model of OpenAI's, or of a server that speaks as it does, that speaks or writes down.
#[derive(Clone)]
pub(crate) struct Audio {
    route: Route,
    failures: Failures,
}

impl Audio {
    /// The one at the end of this way. Nothing is sent before it is asked.
    pub(crate) fn new(route: Route) -> Self {
        Self {
            failures: Failures::new(&route),
            route,
        }
    }

    async fn post(&self, path: &str, content_type: &str, body: Bytes) -> Result<Bytes, ModelError> {
        let base = self.route.base_url.as_deref().unwrap_or(BASE_URL);
        let url = format!("{}/{path}", base.trim_end_matches('/'));
        let request = Request::post(url).header("content-type", content_type).body(body);
        let request = request.map_err(|error| self.failures.error(ModelErrorKind::BadRequest, error.to_string()))?;
        let failed = |error| self.failures.of(ProviderError::from_transport_error(error));
        let http = Http::new(&self.route, &self.failures)?;
        let mut answer = http.open(request).await.map_err(failed)?.into_body();
        let mut whole = Vec::new();
        while let Some(chunk) = answer.next().await {
            whole.extend_from_slice(&chunk.map_err(failed)?);
        }
        Ok(whole.into())
    }

    async fn say(self, request: SpeechRequest) -> Result<Speech, ModelError> {
        let format = match request.format {
            SpeechFormat::Pcm16 => "pcm",
            format => format.as_str(),
        };
        let voice = request.voice.as_deref().unwrap_or(VOICE);
        let mut body =
            json!({"model": self.route.model, "input": request.text, "voice": voice, "response_format": format});
        if let Some(speed) = request.speed {
            // As it was written: 1.1 is no 1.10000002384.
            body["speed"] = speed.to_string().parse::<f64>().unwrap_or(1.0).into();
        }
        if let Some(instructions) = request.instructions {
            body["instructions"] = instructions.into();
        }
        let body = Bytes::from(body.to_string());
        let audio = self.post("audio/speech", "application/json", body).await?;
        let (media_type, duration) = match request.format {
            SpeechFormat::Mp3 => (SpeechFormat::Mp3.media_type(), None),
            SpeechFormat::Wav => (SpeechFormat::Wav.media_type(), wav_duration(&audio)),
            SpeechFormat::Pcm16 => (PCM_MEDIA_TYPE, Some(audio.len() as f64 / PCM_BYTES_PER_SECOND)),
        };
        Ok(Speech {
            audio,
            media_type: media_type.to_owned(),
            duration,
        })
    }

    async fn write_down(self, request: TranscriptionRequest) -> Result<Transcription, ModelError> {
        // Only this family tells times, and only if it is asked.
        let told = match self.route.model.contains("whisper") {
            true => "verbose_json",
            false => "json",
        };
        let mut form = Form::new(&request.audio)
            .text("model", &self.route.model)
            .text("response_format", told);
        if let Some(language) = &request.language {
            form = form.text("language", language);
        }
        let (content_type, body) = form.file("file", request.media_type.as_deref(), &request.audio);
        let answer = self.post("audio/transcriptions", &content_type, body).await?;
        let written: Written = serde_json::from_slice(&answer).map_err(|error| {
            let what = format!("the answer can't be read: {error}");
            self.failures.error(ModelErrorKind::Malformed, what)
        })?;
        Ok(written.into())
    }
}

impl SpeechModel for Audio {
    fn name(&self) -> &str {
        &self.route.name
    }

    fn generate(&self, request: SpeechRequest) -> BoxFuture<'static, Result<Speech, ModelError>> {
        self.clone().say(request).boxed()
    }
}

impl TranscriptionModel for Audio {
    fn name(&self) -> &str {
        &self.route.name
    }

    fn transcribe(&self, request: TranscriptionRequest) -> BoxFuture<'static, Result<Transcription, ModelError>> {
        self.clone().write_down(request).boxed()
    }
}

/// What comes back of a transcription.
#[derive(Deserialize)]
struct Written {
    text: String,
    language: Option<String>,
    duration: Option<f64>,
    #[serde(default)]
    segments: Vec<Segment>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Segment {
    text: String,
    start: f64,
    end: f64,
}

#[derive(Deserialize)]
struct Usage {
    seconds: Option<f64>,
}

impl From<Written> for Transcription {
    fn from(written: Written) -> Self {
        let segments = written.segments.into_iter().map(|segment| TranscriptionSegment {
            text: segment.text,
            start: segment.start,
            end: segment.end,
        });
        Self {
            text: written.text,
            language: written.language,
            duration: written.duration.or(written.usage.and_then(|usage| usage.seconds)),
            segments: segments.collect(),
        }
    }
}
