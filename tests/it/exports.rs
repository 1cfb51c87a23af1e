//! What another crate exports, in flows of this one.

use flowstate::engine::model::{Reply, ScriptedModel};
use flowstate::engine::types::{BlockInput, BlockOutput, StateOf};
use flowstate::engine::{Scope, Submission, resource};
use flowstate::prelude::*;
use flowstate::{FlowState, memory};
use flowstate_exports::{
    Tally, count_words, flow_of_words, last_words, pipeline, remembers, session, steps, tally, words_builder,
    words_so_far,
};
use serde_json::{Value, json};

use flowstate_tests::http::{call, get, get_request};

/// A state with more in it than the exported blocks know of.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Own {
    asked: u32,
    words: u32,
}

async fn run(server: &FlowState, flow: &str, action: &str, session: &str, input: &str) -> Value {
    let submission = Submission {
        flow: flow.into(),
        action: action.into(),
        input: Some(input.into()),
        user: "ann".into(),
        session: Some(session.into()),
        ..Submission::default()
    };
    let accepted = server
        .ready()
        .await
        .expect("open")
        .submit(submission)
        .await
        .expect("accepted");
    let path = format!("/api/flows/{flow}/requests/{}/stream", accepted.request);
    let streamed = call(&server.router().expect("routes"), get_request(&path, &[]))
        .await
        .text();
    assert!(streamed.contains("request.completed"), "{streamed}");
    get(
        &server.router().expect("routes"),
        &format!("/api/flows/sessions/{session}/state"),
    )
    .await["clientData"]
        .clone()
}

async fn serve(flows: impl IntoIterator<Item = Flow>) -> FlowState {
    let builder = flows
        .into_iter()
        .fold(FlowState::builder().models(Models::new()), |builder, flow| {
            builder.flow(flow)
        });
    builder.store(memory()).build().expect("a server")
}

#[tokio::test]
async fn exported_blocks_are_steps_of_another_flow_and_count_in_its_state() {
    let asked = handler("asked").run(|text: String, ctx: Ctx| async move {
        ctx.session::<Own>().inc("asked", 1).await?;
        Ok(text)
    });
    let longer = steps().then(|words: u32, _ctx| async move { Ok(u64::from(words)) });
    let chain = sequencer::<String>("mine").then(asked).tap(pipeline()).then(longer);
    let mine = flow("mine")
        .action("ask", action(chain))
        .session(scope::<Own>().expose("asked").expose("words"))
        .instance("default")
        .expect("a flow");
    // The same in a flow that declares nothing itself.
    let bare = flow("bare")
        .action("ask", action(count_words()))
        .instance("default")
        .expect("a flow");
    let server = serve([mine, bare]).await;
    let shown = run(&server, "mine", "ask", "a", " three more words ").await;
    assert_eq!(shown, json!({"session": {"asked": 1, "words": 6}}));
    run(&server, "bare", "ask", "b", "two words").await;
}

#[tokio::test]
async fn an_exported_flow_is_served_beside_others_and_may_be_added_to() {
    let again = words_builder()
        .action("again", action(pipeline().named("again")))
        .instance("second")
        .expect("a flow");
    assert_eq!(
        (again.kind(), again.id(), again.describe().actions.len()),
        ("words", "second", 3)
    );
    let other = flow("other")
        .action("count", action(pipeline()))
        .session(session())
        .instance("default");
    let server = serve([flow_of_words().expect("a flow"), other.expect("a flow")]).await;
    let shown = run(&server, "words", "count", "a", "one two").await;
    assert_eq!(shown, json!({"session": {"words": 2}}));
    let shown = run(&server, "words", "count", "a", "three").await;
    assert_eq!(shown, json!({"session": {"words": 3}}));
    let shown = run(&server, "other", "count", "b", "one").await;
    assert_eq!(shown, json!({"session": {"words": 1}}));
}

#[tokio::test]
async fn exported_context_is_read_from_the_state_of_the_flow_that_it_is_in() {
    let answer = generator("answer")
        .context(words_so_far())
        .user(|text: &String, _ctx| text.clone())
        .session_state(tally());
    let chain = sequencer::<String>("ask").then(answer).then(count_words());
    let model = ScriptedModel::script([Reply::text("one two"), Reply::text("three")]);
    let builder = FlowState::builder().flow(
        flow("mine")
            .action("ask", action(chain))
            .instance("default")
            .expect("a flow"),
    );
    let server = builder.model(model.clone()).store(memory()).build().expect("a server");
    for text in ["first", "second"] {
        run(&server, "mine", "ask", "a", text).await;
    }
    let heard = model.asked();
    let heard: Vec<Vec<String>> = heard
        .iter()
        .map(|asked| asked.messages.iter().map(|message| message.text()).collect())
        .collect();
    assert_eq!(heard, [vec!["first"], vec!["## So far\nwords: 2", "second"]]);
}

#[tokio::test]
async fn exported_blocks_bring_their_resources_to_the_flow_that_they_are_in() {
    let says = handler("says").run(|seen: usize, ctx: Ctx| async move {
        let last = ctx.resource(&last_words())?.read_content().await?;
        Ok(json!([seen, last]).to_string())
    });
    let chain = sequencer::<String>("chain").then(remembers()).then(says);
    let mine = flow("mine")
        .action("ask", action(chain))
        .instance("default")
        .expect("a flow");
    let server = serve([mine, flow_of_words().expect("a flow")]).await;
    for (flow, action, text, output) in [
        ("mine", "ask", "one two", json!("[1,\"one two\"]")),
        ("mine", "ask", "one more", json!("[1,\"one more\"]")),
        ("mine", "ask", "two", json!("[2,\"two\"]")),
        ("words", "remember", "three", json!(1)),
    ] {
        let submission = Submission {
            flow: flow.into(),
            action: action.into(),
            input: Some(text.into()),
            user: "ann".into(),
            session: Some(format!("of {flow}")),
            ..Submission::default()
        };
        let ran = server
            .ready()
            .await
            .expect("open")
            .run_submission(submission)
            .await
            .expect("a result");
        assert_eq!(ran.output, output, "{:?}", ran.error);
    }
}

#[test]
fn a_resource_that_differs_from_the_exported_one_is_found_when_the_flow_is_built() {
    let other = resource::<Tally>("last-words").content("something else");
    let error = flow("mine")
        .action("ask", action(remembers()))
        .session(scope::<Tally>().resource(&other))
        .instance("default")
        .expect_err("they differ");
    let says =
        "the flow and block \"remembers\" (action \"ask\") declare the session resource \"last-words\" differently";
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn what_does_not_fit_the_exported_blocks_is_found_when_the_flow_is_built() {
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct Text {
        words: String,
    }
    let error = flow("mine")
        .action("ask", action(pipeline()))
        .session(scope::<Text>())
        .instance("default")
        .expect_err("words are counted");
    let says = "the flow and block \"count-words\" (action \"ask\") declare the field \"words\" of the session state differently";
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn types_follow_from_what_is_exported() {
    fn same<T>(_: T, _: T) {}
    same::<BlockInput<Block<String, u32>>>("text".to_owned(), BlockInput::<flowstate_exports::Steps>::new());
    same::<u32>(1, BlockOutput::<flowstate_exports::Steps>::default());
    same(Tally { words: 1 }, StateOf::<Scope<Tally>>::default());
}
