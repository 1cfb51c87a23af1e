//! What was spoken, written down.

use std::sync::Arc;

use flowstate_engine::Engine;
use flowstate_engine::voice::{
    ScriptedTranscription, SpeechModel, SpeechRequest, TranscribeError, TranscriptionRequest, VoiceProviders,
};
use flowstate_log::Options;

async fn engine(providers: VoiceProviders) -> Engine {
    let builder = Engine::builder().voice(providers);
    builder.open(Options::in_memory()).await.expect("an engine")
}

#[tokio::test]
async fn a_provider_that_knows_the_model_writes_it_down() {
    let engine = engine(VoiceProviders::scripted()).await;
    let speech = SpeechRequest {
        text: "Four".into(),
        ..SpeechRequest::default()
    };
    let spoken = flowstate_engine::voice::ScriptedSpeech
        .generate(speech)
        .await
        .expect("speech");
    let request = TranscriptionRequest {
        audio: spoken.audio,
        media_type: Some(spoken.media_type),
        language: Some("de".into()),
    };
    let written = engine.transcribe("scripted", request.clone()).await.expect("text");
    assert_eq!(written.text, "3884 bytes of audio/wav");
    assert_eq!(
        (written.duration, written.language.as_deref()),
        (Some(0.24), Some("de"))
    );
    let unknown = engine.transcribe("openai/whisper-1", request).await;
    assert_eq!(unknown, Err(TranscribeError::UnknownModel("openai/whisper-1".into())));
    let silence = engine.transcribe("scripted", TranscriptionRequest::default()).await;
    assert_eq!(silence, Err(TranscribeError::NoAudio));
}

#[tokio::test]
async fn an_engine_that_nobody_gave_a_provider_says_so() {
    let request = TranscriptionRequest {
        audio: "sound".into(),
        ..TranscriptionRequest::default()
    };
    let speech_only = VoiceProviders::new().speech(|_| None);
    for providers in [VoiceProviders::new(), speech_only] {
        let none = engine(providers).await.transcribe("scripted", request.clone()).await;
        assert_eq!(none, Err(TranscribeError::NoProvider));
    }
    let all = VoiceProviders::new().transcription(|_| Some(Arc::new(ScriptedTranscription) as _));
    assert!(engine(all).await.transcribe("any", request).await.is_ok());
}
