//! POST a sound, and get what was spoken.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header;
use flowstate_engine::voice::{TranscribeError, TranscriptionRequest};

use super::Params;
use crate::server::Api;
use crate::server::body;
use crate::server::caller::Caller;
use crate::server::error::ApiError;
use crate::server::limits::Limits;
use crate::wire::json;
use crate::wire::problem::Problem;
use crate::wire::voice::{MEDIA_TYPE_DEFAULT, TranscribeBody, TranscriptionBody};

/// POST /api/flows/transcribe: a JSON object with the sound in base64, or the sound itself with the rest in the query.
pub(crate) async fn transcribe(
    State(api): State<Api>,
    caller: Caller,
    params: Params,
    request: Request,
) -> Result<Json<TranscriptionBody>, ApiError> {
    let media_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = media_type.map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let requires_user = caller.proven.is_none();
    let limits = Limits::of(request.extensions());
    // What arrived counts until the provider has heard it.
    let (asked, _taken) = match media_type.as_deref() {
        Some("application/json") => {
            let (bytes, taken) = body::received(request, limits.sound_json_bytes()).await?;
            let fields = json::object(&bytes, limits.json()).map_err(ApiError::BodyInvalid)?;
            let asked = TranscribeBody::from_fields(fields, requires_user).map_err(ApiError::Fields)?;
            (asked, taken)
        }
        other => {
            let user_id = params.text("userId").map(str::to_owned);
            if requires_user && user_id.is_none() {
                let what = "is required: send who asks, in the query";
                return Err(ApiError::Fields(vec![Problem::new("userId", what)]));
            }
            let media_type = other.unwrap_or(MEDIA_TYPE_DEFAULT).to_owned();
            let (bytes, taken) = body::received(request, limits.sound_bytes).await?;
            let asked = TranscribeBody {
                user_id,
                model: params.text("model").map(str::to_owned),
                sound: TranscriptionRequest {
                    audio: bytes.freeze(),
                    media_type: Some(media_type),
                    language: params.text("language").map(str::to_owned),
                },
            };
            (asked, taken)
        }
    };
    caller.user("userId", asked.user_id)?;
    if asked.sound.audio.is_empty() {
        return Err(TranscribeError::NoAudio.into());
    }
    if asked.sound.audio.len() > limits.sound_bytes {
        return Err(ApiError::BodyTooLarge(limits.sound_bytes));
    }
    let model = asked
        .model
        .or_else(|| api.settings.transcription_model.clone())
        .unwrap_or_default();
    Ok(Json(api.engine.transcribe(&model, asked.sound).await?.into()))
}
