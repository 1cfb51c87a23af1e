//! Speech and transcriptions of OpenAI's kind: what is sent, the form byte by byte, and what is made of the answer.

use std::sync::Arc;

use flowstate_engine::model::{ModelErrorKind, Models};
use flowstate_engine::prelude::*;
use flowstate_engine::voice::{
    ScriptedSpeech, Speech, SpeechFormat, SpeechModel, SpeechRequest, TranscribeError, Transcription,
    TranscriptionRequest, VoiceProviders,
};
use flowstate_engine::{EngineOpenError, Submission};
use flowstate_log::Options;
use serde_json::{Value, json};

use super::server::{Asked, Reply, Server};
use super::support::KEY;

/// OpenAI at this address.
fn providers(url: &str) -> VoiceProviders {
    let models = Models::new().key("openai", KEY).base_url("openai", format!("{url}/v1"));
    VoiceProviders::openai(&models.build().expect("models"))
}

/// An engine with a flow that is spoken by this voice.
async fn engine(providers: VoiceProviders, voice: VoiceConfig) -> Result<Engine, EngineOpenError> {
    let says = handler("says").run(|text: String, ctx: Ctx| async move {
        let message = ctx.emit().open_message().await?;
        message.append(text).await?;
        message.done().await?;
        Ok(())
    });
    let flow = flow("f").action("a", action(says)).voice(voice).instance("i");
    let builder = Engine::builder().flow(flow.expect("a flow")).voice(providers);
    builder.open(Options::in_memory()).await
}

/// What is asked for a text, and the audio parts that come of the answer.
async fn spoken(voice: VoiceConfig, reply: Reply) -> (Asked, Vec<Value>) {
    let server = Server::start([reply]).await;
    let engine = engine(providers(&server.url), voice).await.expect("an engine");
    let metadata = json!({"voice": {"ttsEnabled": true}});
    let submission = Submission {
        flow: "f".into(),
        action: "a".into(),
        input: Some("Two words.".into()),
        user: "u".into(),
        metadata: metadata.as_object().cloned(),
        ..Submission::default()
    };
    let result = engine.run_submission(submission).await.expect("a result");
    let item = serde_json::to_value(&result.items[0].body).expect("JSON");
    let parts = item["content"].as_array().expect("content")[1..].to_vec();
    (server.asked().remove(0), parts)
}

fn sound(media_type: &'static str, bytes: impl Into<Vec<u8>>) -> Reply {
    Reply::status(200, bytes).header("content-type", media_type)
}

async fn wav() -> Speech {
    let request = SpeechRequest {
        text: "Four".into(),
        format: SpeechFormat::Wav,
        ..SpeechRequest::default()
    };
    ScriptedSpeech.generate(request).await.expect("speech")
}

#[tokio::test]
async fn a_sentence_is_asked_for_as_the_voice_says() {
    let voice = VoiceConfig::tts("openai/gpt-4o-mini-tts")
        .voice("verse")
        .speed(1.1)
        .instructions("Be calm.")
        .format(SpeechFormat::Wav);
    let wav = wav().await.audio;
    let (asked, parts) = spoken(voice, sound("audio/wav", wav).in_chunks_of(700)).await;
    assert_eq!(asked.path, "/v1/audio/speech");
    assert_eq!(asked.headers["authorization"], format!("Bearer {KEY}"));
    assert_eq!(asked.headers["content-type"], "application/json");
    let expected = json!({
        "model": "gpt-4o-mini-tts", "input": "Two words.", "voice": "verse", "speed": 1.1,
        "instructions": "Be calm.", "response_format": "wav",
    });
    assert_eq!(asked.body, expected);
    assert_eq!(
        (&parts[0]["media_type"], &parts[0]["duration"]),
        (&json!("audio/wav"), &json!(0.24))
    );
    assert!(
        parts[0]["audio"]
            .as_str()
            .is_some_and(|audio| audio.starts_with("UklGR"))
    );
}

#[tokio::test]
async fn other_forms_are_asked_for_and_told_by_their_names() {
    let (asked, parts) = spoken(VoiceConfig::tts("openai/tts-1"), sound("audio/mpeg", "\u{1}mp3")).await;
    let expected = json!({"model": "tts-1", "input": "Two words.", "voice": "alloy", "response_format": "mp3"});
    assert_eq!(asked.body, expected);
    assert_eq!(
        (&parts[0]["media_type"], &parts[0]["duration"]),
        (&json!("audio/mpeg"), &Value::Null)
    );
    let voice = VoiceConfig::tts("openai/tts-1").format(SpeechFormat::Pcm16);
    let (asked, parts) = spoken(voice, sound("audio/pcm", vec![0; 24_000])).await;
    assert_eq!(asked.body["response_format"], "pcm");
    assert_eq!(parts[0]["media_type"], "audio/pcm;rate=24000");
    assert_eq!(parts[0]["duration"], 0.5);
}

#[tokio::test]
async fn a_voice_that_is_refused_leaves_the_text() {
    let refusal = Reply::status(401, r#"{"error": {"message": "no such key"}}"#);
    let (_, parts) = spoken(VoiceConfig::tts("openai/tts-1"), refusal).await;
    assert_eq!(parts, [Value::Null; 0]);
}

async fn written(
    model: &str,
    request: TranscriptionRequest,
    reply: Reply,
) -> (Asked, Result<Transcription, TranscribeError>) {
    let server = Server::start([reply]).await;
    let builder = Engine::builder().voice(providers(&server.url));
    let engine = builder.open(Options::in_memory()).await.expect("an engine");
    let written = engine.transcribe(model, request).await;
    (server.asked().remove(0), written)
}

fn recorded() -> TranscriptionRequest {
    TranscriptionRequest {
        audio: b"\x1a\x45\xdf\xa3 \r\n--sound\r\n\0".to_vec().into(),
        media_type: Some("audio/webm;codecs=opus".into()),
        language: Some("en".into()),
    }
}

/// The form, but for what stands between its fields.
fn form(asked: &Asked) -> Vec<u8> {
    let boundary = asked.headers["content-type"].strip_prefix("multipart/form-data; boundary=");
    let boundary = boundary.expect("a form").as_bytes();
    let (mut form, mut rest) = (Vec::new(), &asked.bytes[..]);
    while let Some(at) = rest.windows(boundary.len()).position(|window| window == boundary) {
        form.extend_from_slice(&rest[..at]);
        form.push(b'=');
        rest = &rest[at + boundary.len()..];
    }
    [&form, rest].concat()
}

#[tokio::test]
async fn what_was_spoken_is_sent_as_a_form() {
    let answer = json!({"text": "how long", "usage": {"type": "duration", "seconds": 1.5}});
    let reply = Reply::status(200, answer.to_string());
    let (asked, written) = written("openai/gpt-4o-mini-transcribe", recorded(), reply).await;
    assert_eq!(asked.path, "/v1/audio/transcriptions");
    assert_eq!(asked.headers["authorization"], format!("Bearer {KEY}"));
    let expected = b"--=\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\ngpt-4o-mini-transcribe\r\n\
        --=\r\ncontent-disposition: form-data; name=\"response_format\"\r\n\r\njson\r\n\
        --=\r\ncontent-disposition: form-data; name=\"language\"\r\n\r\nen\r\n\
        --=\r\ncontent-disposition: form-data; name=\"file\"; filename=\"audio.webm\"\r\n\
        content-type: audio/webm;codecs=opus\r\n\r\n\x1a\x45\xdf\xa3 \r\n--sound\r\n\0\r\n--=--\r\n";
    assert_eq!(
        String::from_utf8_lossy(&form(&asked)),
        String::from_utf8_lossy(expected)
    );
    let expected = Transcription {
        text: "how long".into(),
        duration: Some(1.5),
        ..Transcription::default()
    };
    assert_eq!(written, Ok(expected));
}

#[tokio::test]
async fn whisper_tells_when_what_was_said() {
    let segment = json!({"id": 0, "start": 0.0, "end": 1.25, "text": "how long", "tokens": [1]});
    let answer = json!({"text": "how long", "language": "english", "duration": 1.25, "segments": [segment]});
    let request = TranscriptionRequest {
        media_type: Some("audio/wav\r\nx-evil: 1".into()),
        language: None,
        ..recorded()
    };
    let (asked, written) = written("openai/whisper-1", request, Reply::status(200, answer.to_string())).await;
    let form = form(&asked);
    let form = String::from_utf8_lossy(&form);
    assert!(form.contains("\r\n\r\nverbose_json\r\n"), "{form}");
    assert!(form.contains("content-type: application/octet-stream\r\n"), "{form}");
    assert!(!form.contains("evil") && !form.contains("language"), "{form}");
    let written = written.expect("text");
    assert_eq!(
        (written.language.as_deref(), written.duration),
        (Some("english"), Some(1.25))
    );
    assert_eq!((written.segments.len(), written.segments[0].end), (1, 1.25));
}

#[tokio::test]
async fn refusals_are_told_in_the_port_s_words_and_without_the_key() {
    let body = json!({"error": {"message": format!("Incorrect API key provided: {KEY}"), "code": "invalid_api_key"}});
    for (reply, kind, retryable) in [
        (Reply::status(401, body.to_string()), ModelErrorKind::Auth, false),
        (
            Reply::status(429, "{}").header("retry-after", "3"),
            ModelErrorKind::RateLimit,
            true,
        ),
        (
            Reply::status(400, r#"{"error": {"message": "bad audio"}}"#),
            ModelErrorKind::BadRequest,
            false,
        ),
        (Reply::status(200, "<html>"), ModelErrorKind::Malformed, false),
    ] {
        let (_, written) = written("openai/whisper-1", recorded(), reply).await;
        let Err(TranscribeError::Model(error)) = written else {
            panic!("{written:?}")
        };
        assert_eq!(
            (error.kind, error.retryable, error.model.as_str()),
            (kind, retryable, "openai/whisper-1")
        );
        assert!(!error.to_string().contains(KEY), "{error}");
        assert_eq!(
            error.retry_after_ms.is_some(),
            kind == ModelErrorKind::RateLimit,
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn at_openai_itself_only_names_that_can_speak_are_known() {
    let openai = |id: &str| {
        let models = Models::new().key("openai", KEY).build().expect("models");
        engine(VoiceProviders::openai(&models), VoiceConfig::tts(id))
    };
    for (id, known) in [
        ("openai/gpt-4o-mini-tts", true),
        ("openai/tts-1-hd", true),
        ("openai/gpt-5-mini", false),
        ("openai/whisper-1", false),
        ("tts-1", false),
    ] {
        assert_eq!(openai(id).await.is_ok(), known, "{id}");
    }
    let elsewhere = engine(providers("http://127.0.0.1:9"), VoiceConfig::tts("openai/kokoro")).await;
    assert!(elsewhere.is_ok(), "another server has names of its own");
    let nobody = VoiceProviders::openai(&Models::new().build().expect("models"));
    assert!(
        engine(nobody, VoiceConfig::tts("openai/tts-1")).await.is_err(),
        "there is no key"
    );
    let own: Arc<dyn SpeechModel> = Arc::new(ScriptedSpeech);
    assert!(engine(VoiceProviders::new(), VoiceConfig::tts(own)).await.is_ok());
}
