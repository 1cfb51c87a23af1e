//! What was spoken: the JSON form of a sound, and what was understood of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flowstate_engine::voice::{Transcription, TranscriptionRequest};
use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::Fields;
use super::problem::Problem;

/// The media type of a sound that has none.
pub(crate) const MEDIA_TYPE_DEFAULT: &str = "audio/webm";

/// A sound, and whose it is.
#[derive(Debug)]
pub(crate) struct TranscribeBody {
    pub(crate) user_id: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) sound: TranscriptionRequest,
}

impl TranscribeBody {
    /// Reads the fields; every problem is told.
    pub(crate) fn from_fields(fields: Map<String, Value>, requires_user: bool) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::new(fields);
        let audio = fields.text("audio").unwrap_or_default();
        let audio = STANDARD.decode(audio).unwrap_or_else(|error| {
            fields.refuse("audio", &format!("is not base64: {error}"));
            Vec::new()
        });
        let media_type = fields
            .text("mediaType")
            .unwrap_or_else(|| MEDIA_TYPE_DEFAULT.to_owned());
        let body = Self {
            user_id: fields.user(requires_user),
            model: fields.text("model"),
            sound: TranscriptionRequest {
                audio: audio.into(),
                media_type: Some(media_type),
                language: fields.text("language"),
            },
        };
        fields.finish(body)
    }
}

/// What was understood.
#[derive(Debug, Serialize)]
pub(crate) struct TranscriptionBody {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    segments: Vec<Segment>,
}

/// A piece of it, and when it was said, in seconds.
#[derive(Debug, Serialize)]
struct Segment {
    text: String,
    start: f64,
    end: f64,
}

impl From<Transcription> for TranscriptionBody {
    fn from(said: Transcription) -> Self {
        let segments = said.segments.into_iter().map(|segment| Segment {
            text: segment.text,
            start: segment.start,
            end: segment.end,
        });
        Self {
            text: said.text,
            language: said.language,
            duration: said.duration,
            segments: segments.collect(),
        }
    }
}
