//! The small flows: one without states, one whose names need encoding, one with a voice.

use flowstate::prelude::*;

use super::gates;

/// What a message is made of.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Say {
    pieces: Vec<String>,
    /// Waited for before the last piece.
    #[serde(default)]
    gate: Option<String>,
}

/// Says the pieces as one message.
pub(crate) fn say() -> Block<Say, usize> {
    handler("say").run(|say: Say, ctx: Ctx| async move {
        let message = ctx.emit().open_message().await?;
        for (at, piece) in say.pieces.iter().enumerate() {
            if let Some(gate) = say.gate.as_ref().filter(|_| at + 1 == say.pieces.len()) {
                gates::wait(gate).await;
            }
            message.append(piece).await?;
        }
        message.done().await?;
        Ok(say.pieces.len())
    })
}

/// Without states and resources.
pub(crate) fn plain() -> Result<Flow, FlowError> {
    flow("plain").action("say", action(say())).instance("default")
}

/// With names that a path has to encode.
pub(crate) fn unicode() -> Result<Flow, FlowError> {
    flow("Küche 7").action("was gibt's?", action(say())).instance("default")
}

/// Spoken aloud, where that is asked for.
pub(crate) fn talk() -> Result<Flow, FlowError> {
    let tell = generator("tell").user(|text: &String, _ctx| text.clone());
    flow("talk")
        .action("tell", action(tell))
        .voice(VoiceConfig::tts("scripted").speed(4.0))
        .instance("default")
}
