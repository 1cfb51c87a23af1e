//! Voices as flows declare them and engines find them.

use std::sync::Arc;

use flowstate_engine::EngineOpenError;
use flowstate_engine::prelude::*;
use flowstate_engine::voice::{ScriptedSpeech, SpeechModel, VoiceProviders};
use flowstate_log::Options;

use super::support::*;

fn flow_with(kind: &str, voice: VoiceConfig) -> Flow {
    let flow = flow(kind).action("a", action(asks())).voice(voice);
    flow.instance("i").expect("a flow")
}

async fn problems(flows: Vec<Flow>, providers: Option<VoiceProviders>) -> Vec<String> {
    let builder = flows
        .into_iter()
        .fold(Engine::builder(), |builder, flow| builder.flow(flow));
    let builder = match providers {
        Some(providers) => builder.voice(providers),
        None => builder,
    };
    match builder.open(Options::in_memory()).await {
        Err(EngineOpenError::Assembly(problems)) => problems,
        Err(error) => panic!("{error}"),
        Ok(_) => Vec::new(),
    }
}

#[tokio::test]
async fn an_id_that_nobody_knows_is_told_when_the_engine_is_opened() {
    let flows = || {
        vec![
            flow_with("one", VoiceConfig::tts("openai/tts-9")),
            flow_with("two", VoiceConfig::tts("scripted")),
        ]
    };
    let nobody = problems(flows(), None).await;
    assert_eq!(
        nobody,
        [
            "flow \"one\", voice: the model \"openai/tts-9\" can't be found: there is no speech provider: give the engine one with VoiceProviders::speech",
            "flow \"two\", voice: the model \"scripted\" can't be found: there is no speech provider: give the engine one with VoiceProviders::speech",
        ]
    );
    let some = problems(flows(), Some(VoiceProviders::scripted())).await;
    assert_eq!(
        some,
        ["flow \"one\", voice: the model \"openai/tts-9\" can't be found: no speech provider knows it"]
    );
    let more = VoiceProviders::new().speech(|id| id.starts_with("openai/").then(|| Arc::new(ScriptedSpeech) as _));
    let all = problems(flows(), Some(VoiceProviders::scripted().and(more))).await;
    assert_eq!(all, [""; 0]);
    let own: Arc<dyn SpeechModel> = Arc::new(ScriptedSpeech);
    assert_eq!(
        problems(vec![flow_with("one", VoiceConfig::tts(own))], None).await,
        [""; 0]
    );
}

#[test]
fn what_is_wrong_with_a_voice_is_told_when_the_flow_is_built() {
    for (speed, fits) in [(0.25, true), (4.0, true), (0.2, false), (4.5, false), (f32::NAN, false)] {
        let voice = VoiceConfig::tts("scripted").speed(speed);
        let built = flow("f").action("a", action(asks())).voice(voice).instance("i");
        assert_eq!(built.is_ok(), fits, "{speed}");
    }
    let voice = || VoiceConfig::tts(" ");
    let built = flow("f").action("a", action(asks())).voice(voice()).voice(voice());
    let problems = built.instance("i").expect_err("problems").problems;
    let empty = "the id of the voice's model is empty";
    assert_eq!(problems, [empty, empty, "the voice is declared twice"]);
}
