//! Requests and blocks that end while something is yet to be spoken.

use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use flowstate_engine::{History, Principal};
use flowstate_log::disk::memory::MemoryDisk;

use super::support::*;

fn fails() -> Block<String, String> {
    handler("fails").run(|_: String, _| async { Err::<String, _>(BlockError::new("broken", "it is broken")) })
}

/// A request of which "One." is spoken and "Two." hangs.
async fn in_mid_speech(engine: &Engine, voice: &Voice) -> Facts {
    submit(engine).await;
    voice.begun(2).await;
    let mut seen = Facts::of(engine).await;
    seen.until(|fact| matches!(fact, Fact::ContentDone(done) if done.part == 1))
        .await;
    seen
}

#[tokio::test]
async fn a_cancel_stops_the_voice_and_keeps_what_was_spoken() {
    for (text, status) in [
        ("One. Two.", "message completed"),
        ("One. Two. Thr", "message incomplete"),
    ] {
        let (mouth, voice) = (Mouth::default(), Voice::holding(["Two."]));
        let said = mouth.answer();
        said.send(text.into()).expect("heard");
        // A message of which more may come is not whole.
        let said = (status == "message incomplete").then_some(said);
        let engine = engine(asks(), &mouth, &voice).await;
        if said.is_some() {
            submit(&engine).await;
            voice.begun(1).await;
        }
        let seen = match said.is_some() {
            true => {
                let mut seen = Facts::of(&engine).await;
                seen.until(|fact| matches!(fact, Fact::ContentDone(done) if done.part == 1))
                    .await;
                seen
            }
            false => {
                let mut seen = in_mid_speech(&engine, &voice).await;
                seen.until(is_said).await;
                seen
            }
        };
        voice.begun(2).await;
        engine.cancel(&Principal::default(), "r").await.expect("running");
        let told = told(&seen.end().await);
        assert_eq!(told[told.len() - 2..], [status, "end"]);
        assert_eq!(voice.dropped(), 1, "it is not waited for");
        let shown = messages(&engine).await;
        assert_eq!(audio(&shown[0]), [("One.".to_owned(), sound("One."))]);
    }
}

#[tokio::test]
async fn a_request_that_fails_does_not_wait_for_its_voice() {
    let (mouth, voice) = (Mouth::default().says("One. Two."), Voice::holding(["Two."]));
    let engine = engine(sequencer::<String>("s").then(asks()).then(fails()), &mouth, &voice).await;
    submit(&engine).await;
    let facts = facts(&engine).await;
    assert!(matches!(facts.last(), Some(Fact::RequestFailed(_))), "{facts:?}");
    assert!(told(&facts).contains(&"message completed".to_owned()), "{facts:?}");
}

#[tokio::test]
async fn a_message_is_spoken_to_its_end_though_a_later_step_fails_and_is_rescued() {
    let (mouth, voice) = (Mouth::default().says("One. Two."), Voice::holding(["Two."]));
    let rescue = any_error().run(|_: Rescued, _: Ctx| async { Ok("rescued".to_owned()) });
    let inner = sequencer::<String>("inner").then(asks()).then(fails());
    let chain = sequencer::<String>("s").then(inner).rescue(rescue);
    let engine = engine(chain, &mouth, &voice).await;
    let mut seen = in_mid_speech(&engine, &voice).await;
    seen.until(|fact| matches!(fact, Fact::BlockEnded(ended) if ended.output == Some("rescued".into())))
        .await;
    voice.release("Two.");
    let told = told(&seen.end().await);
    let expected = ["done 2 Two.", "message completed", "end"];
    assert_eq!(told[told.len() - 3..], expected);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_closed_at_once() {
    let block = handler("says").run(|_: String, ctx: Ctx| async move {
        let message = ctx.emit().open_message().await?;
        message.append("One. Two. Thr").await?;
        std::mem::forget(message);
        Err::<String, _>(BlockError::new("broken", "it is broken"))
    });
    let voice = Voice::holding(["One.", "Two."]);
    let engine = engine(block, &Mouth::default(), &voice).await;
    submit(&engine).await;
    assert_eq!(told(&facts(&engine).await), ["message failed", "end"]);
}

#[tokio::test]
async fn what_background_work_says_to_clients_is_spoken_before_the_end() {
    let voice = Voice::holding(["One."]);
    let says = handler("says").run(|_: String, ctx: Ctx| async move {
        let message = ctx.emit().open_message().await?;
        message.append("One.").await?;
        message.done().await?;
        Ok("worked".to_owned())
    });
    let engine = engine(sequencer::<String>("s").work(says), &Mouth::default(), &voice).await;
    submit(&engine).await;
    voice.begun(1).await;
    let mut seen = Facts::of(&engine).await;
    // The work itself is over.
    seen.until(|fact| matches!(fact, Fact::BlockEnded(ended) if ended.output == Some("worked".into())))
        .await;
    voice.release("One.");
    let told = told(&seen.end().await);
    assert_eq!(
        told,
        ["said", "added 1 One.", "done 1 One.", "message completed", "end"]
    );
}

#[tokio::test]
async fn closing_the_engine_keeps_what_was_spoken() {
    let (mouth, voice) = (Mouth::default().says("One. Two."), Voice::holding(["Two."]));
    let disk = MemoryDisk::new();
    let open = || builder(spoken(asks(), &voice), &mouth).open(on_disk(&disk));
    let engine = open().await.expect("an engine");
    in_mid_speech(&engine, &voice).await;
    engine.close().await;
    let engine = open().await.expect("an engine");
    assert!(matches!(facts(&engine).await.last(), Some(Fact::RequestInterrupted(_))));
    let shown = messages(&engine).await;
    assert_eq!(shown[0].status.as_str(), "completed", "its words are whole");
    assert_eq!(audio(&shown[0]), [("One.".to_owned(), sound("One."))]);
}

#[tokio::test]
async fn a_process_killed_in_mid_speech_leaves_a_session_that_goes_on() {
    let (mouth, voice) = (Mouth::default().says("One. Two."), Voice::holding(["Two."]));
    let disk = MemoryDisk::new();
    let block = || asks().history(History::all());
    let engine = builder(spoken(block(), &voice), &mouth)
        .open(on_disk(&disk))
        .await
        .expect("an engine");
    in_mid_speech(&engine, &voice).await;
    let left = disk.crash(7);
    let open = builder(spoken(block(), &Voice::default()), &mouth).open(on_disk(&left));
    let after = open.await.expect("an engine");
    let closed = facts(&after).await;
    assert!(matches!(closed.last(), Some(Fact::RequestInterrupted(_))));
    let shown = messages(&after).await;
    assert_eq!(audio(&shown[0]), [("One.".to_owned(), sound("One."))]);
    mouth.answer().send("Three.".into()).expect("heard");
    let mut next = submission();
    next.request = Some("next".into());
    let result = soon(after.run_submission(next)).await.expect("a result");
    assert_eq!(result.output, "Three.");
    let heard = mouth.asked.lock().last().cloned();
    assert_eq!(heard.as_deref(), Some("One. Two. | go"), "models hear the words");
    let spoken: Vec<_> = result.items.iter().flat_map(audio).collect();
    assert_eq!(spoken, [("Three.".to_owned(), sound("Three."))]);
}

#[tokio::test]
async fn a_request_that_is_gone_on_with_is_spoken_to_from_there() {
    let (mouth, voice) = (Mouth::default().says("One. Two."), Voice::holding(["Two."]));
    let disk = MemoryDisk::new();
    let chain = || {
        let second = generator("second").user(|said: &String, _| said.clone());
        sequencer::<String>("s").then(asks()).then(second)
    };
    let hangs = mouth.answer();
    let engine = builder(spoken(chain(), &voice), &mouth)
        .open(on_disk(&disk))
        .await
        .expect("an engine");
    let mut seen = in_mid_speech(&engine, &voice).await;
    seen.until(|fact| matches!(fact, Fact::ModelCalled(called) if called.instance.contains("then[1]")))
        .await;
    let left = disk.crash(7);
    let (mouth, voice) = (Mouth::default().says("Three."), Voice::default());
    let builder = builder(spoken(chain(), &voice), &mouth).resume_open_requests();
    let after = builder.open(on_disk(&left)).await.expect("an engine");
    let told = told(&facts(&after).await);
    let expected = [
        "said",
        "added 1 One.",
        "done 1 One.",
        "message incomplete",
        "said",
        "added 1 Three.",
        "done 1 Three.",
        "message completed",
        "end",
    ];
    let mut ordered = told.clone();
    // The text is whole before its first sentence is spoken, or after.
    ordered[..3].sort_by_key(|line| *line != "said");
    assert_eq!(ordered, expected, "{told:?}");
    assert_eq!(
        *mouth.asked.lock(),
        ["One. Two."],
        "what was said is not asked for again"
    );
    assert_eq!(voice.texts(), ["Three."]);
    drop(hangs);
}
