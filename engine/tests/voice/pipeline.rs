//! Sentences in their order, some at once, what fails left out, and text that waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::Timer;
use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use flowstate_engine::voice::SpeechFormat;
use flowstate_log::Options;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::support::*;

#[tokio::test]
async fn sentences_come_in_their_order_though_the_first_is_slow() {
    let (mouth, voice) = (Mouth::default().says("One. Two! Three?"), Voice::holding(["One."]));
    let engine = engine(asks(), &mouth, &voice).await;
    submit(&engine).await;
    voice.done(2).await;
    let mut seen = Facts::of(&engine).await;
    seen.until(is_said).await;
    assert_eq!(told(&seen.seen), ["said"]);
    voice.release("One.");
    let facts = seen.end().await;
    let expected = [
        "said",
        "added 1 One.",
        "done 1 One.",
        "added 2 Two!",
        "done 2 Two!",
        "added 3 Three?",
        "done 3 Three?",
        "message completed",
        "end",
    ];
    assert_eq!(told(&facts), expected);
    let asked = &voice.asked()[0];
    assert_eq!((asked.voice.as_deref(), asked.speed), (Some("alloy"), Some(1.5)));
    assert_eq!(asked.format, SpeechFormat::Mp3);
    let shown = messages(&engine).await;
    let expected = ["One.", "Two!", "Three?"].map(|text| (text.to_owned(), sound(text)));
    assert_eq!(audio(&shown[0]), expected);
}

#[tokio::test]
async fn three_are_spoken_at_once_and_no_more() {
    const TEXTS: [&str; 8] = ["A1.", "A2.", "A3.", "A4.", "A5.", "A6.", "A7.", "A8."];
    let (mouth, voice) = (Mouth::default().says(&TEXTS.join(" ")), Voice::holding(TEXTS));
    let engine = engine(asks(), &mouth, &voice).await;
    submit(&engine).await;
    let mut seen = Facts::of(&engine).await;
    seen.until(is_said).await;
    voice.begun(3).await;
    assert_eq!(voice.texts(), TEXTS[..3]);
    voice.release("A1.");
    voice.begun(4).await;
    assert_eq!(voice.texts(), TEXTS[..4]);
    TEXTS.iter().for_each(|text| voice.release(text));
    let facts = seen.end().await;
    let done = told(&facts).into_iter().filter(|line| line.starts_with("done"));
    assert_eq!(done.count(), 8);
    assert_eq!((voice.texts().len(), voice.running_max()), (8, 3));
}

#[tokio::test]
async fn what_fails_is_left_out() {
    let text = "One. Fail. Two. Panic. Three. Mute. ... Four";
    let (mouth, voice) = (Mouth::default().says(text), Voice::default());
    let engine = engine(asks(), &mouth, &voice).await;
    submit(&engine).await;
    let facts = facts(&engine).await;
    let done: Vec<_> = told(&facts)
        .into_iter()
        .filter(|line| line.starts_with("done"))
        .collect();
    assert_eq!(done, ["done 1 One.", "done 2 Two.", "done 3 Three.", "done 4 Four"]);
    assert!(matches!(facts.last(), Some(Fact::RequestCompleted(_))), "{facts:?}");
}

#[tokio::test]
async fn no_more_sentences_wait_than_may() {
    let text: String = (0..300).map(|number| format!("S{number}. ")).collect();
    let (mouth, voice) = (Mouth::default().says(&text), Voice::default());
    let engine = engine(asks(), &mouth, &voice).await;
    submit(&engine).await;
    let facts = facts(&engine).await;
    assert!(matches!(facts.last(), Some(Fact::RequestCompleted(_))), "{facts:?}");
    let texts = voice.texts();
    assert_eq!((texts.len(), texts[255].as_str()), (256, "S255."));
}

#[tokio::test]
async fn a_message_has_no_more_audio_than_may_be_shown() {
    let sound = |bytes: usize| bytes::Bytes::from(vec![7; bytes]);
    let voice = Voice::sounding([
        ("One.", sound(9 << 20)),
        ("Two.", sound(8 << 20)),
        ("Three.", sound(7 << 20)),
    ]);
    let mouth = Mouth::default().says("One. Two. Three. Four.");
    let engine = engine(asks(), &mouth, &voice).await;
    submit(&engine).await;
    let facts = facts(&engine).await;
    let done: Vec<_> = told(&facts)
        .into_iter()
        .filter(|line| line.starts_with("done"))
        .collect();
    assert_eq!(done, ["done 1 One.", "done 2 Three."], "no byte is left for the fourth");
}

/// Ends a wait when the test says so, and knows how long it was to be.
#[derive(Clone)]
struct Waits {
    begun: Arc<Mutex<Vec<Duration>>>,
    over: Arc<watch::Sender<usize>>,
}

impl Timer for Waits {
    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        let number = {
            let mut begun = self.begun.lock();
            begun.push(time);
            begun.len()
        };
        let mut over = self.over.subscribe();
        async move { drop(over.wait_for(|over| *over >= number).await) }.boxed()
    }
}

#[tokio::test]
async fn what_takes_too_long_is_left_out() {
    let (mouth, voice) = (Mouth::default().says("Slow. Two."), Voice::holding(["Slow."]));
    let waits = Waits {
        begun: Arc::default(),
        over: Arc::new(watch::Sender::new(0)),
    };
    let builder = builder(spoken(asks(), &voice), &mouth).timer(Arc::new(waits.clone()));
    let engine = builder.open(Options::in_memory()).await.expect("an engine");
    submit(&engine).await;
    voice.done(1).await;
    assert_eq!(waits.begun.lock()[0], Duration::from_secs(15));
    assert_eq!(voice.dropped(), 0);
    waits.over.send_replace(1);
    let facts = facts(&engine).await;
    assert_eq!(
        told(&facts),
        ["said", "added 1 Two.", "done 1 Two.", "message completed", "end"]
    );
    assert_eq!(voice.dropped(), 1, "it is not waited for");
}

#[tokio::test]
async fn text_is_recorded_while_its_sentences_hang() {
    let (mouth, voice) = (Mouth::default(), Voice::holding(["One."]));
    let said = mouth.answer();
    let engine = engine(asks(), &mouth, &voice).await;
    submit(&engine).await;
    said.send("One. ".into()).expect("heard");
    voice.begun(1).await;
    let mut seen = Facts::of(&engine).await;
    for number in 0..5 {
        let piece = format!("and {number} ");
        said.send(piece.clone()).expect("heard");
        seen.until(|fact| matches!(fact, Fact::ContentDelta(more) if more.delta == piece))
            .await;
    }
    drop(said);
    // The generator ends too, and its block.
    seen.until(|fact| matches!(fact, Fact::BlockEnded(_))).await;
    assert_eq!(told(&seen.seen), ["said"]);
    voice.release("One.");
    let facts = seen.end().await;
    assert_eq!(told(&facts).len(), 7);
}

#[tokio::test]
async fn a_handler_s_open_message_is_spoken_and_so_are_several_at_once() {
    let block = handler("says").run(|_: String, ctx: Ctx| async move {
        let (one, other) = (ctx.emit().open_message().await?, ctx.emit().open_message().await?);
        one.append("One. ").await?;
        other.append("Other. ").await?;
        one.append("One more").await?;
        other.done().await?;
        one.done().await?;
        Ok(String::new())
    });
    let voice = Voice::default();
    let engine = engine(block, &Mouth::default(), &voice).await;
    submit(&engine).await;
    let facts = facts(&engine).await;
    assert_eq!(voice.texts(), ["One.", "Other.", "One more"]);
    let shown = messages(&engine).await;
    let texts = shown.iter().map(|item| audio(item).into_iter().map(|(text, _)| text));
    let texts: Vec<Vec<_>> = texts.map(Iterator::collect).collect();
    assert_eq!(texts, [vec!["One.", "One more"], vec!["Other."]]);
    assert_eq!(told(&facts).last().map(String::as_str), Some("end"));
}

#[tokio::test]
async fn the_history_of_the_same_request_has_a_message_that_is_yet_to_be_spoken() {
    let mouth = Mouth::default().says("One. Two.").says("Done.");
    let voice = Voice::holding(["Two."]);
    let first = asks().model("mouth");
    let second = generator("second").history(flowstate_engine::History::all());
    let chain = sequencer::<String>("chain").then(first).then(second);
    let engine = engine(chain, &mouth, &voice).await;
    submit(&engine).await;
    let mut seen = Facts::of(&engine).await;
    seen.until(|fact| matches!(fact, Fact::BlockStarted(started) if started.block == "second"))
        .await;
    voice.release("Two.");
    let facts = seen.end().await;
    assert!(matches!(facts.last(), Some(Fact::RequestCompleted(_))), "{facts:?}");
    assert_eq!(*mouth.asked.lock(), ["go", "One. Two."]);
}
