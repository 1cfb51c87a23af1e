//! Structured output: asked for by schema, mended as far as that is allowed, and what it fails with.

use flowstate_engine::model::Finish;
use flowstate_engine::prelude::*;
use flowstate_engine::{OutputValidationError, Repair};
use serde_json::{Value, json};

use super::support::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Plan {
    title: String,
    #[schemars(length(min = 1))]
    steps: Vec<String>,
    #[serde(default)]
    minutes: u32,
}

fn plans(repair: Repair) -> flowstate_engine::Generator<String, Plan> {
    asks().output::<Plan>().repair(repair)
}

#[tokio::test]
async fn the_schema_is_given_to_the_model_and_the_answer_is_no_message() {
    let script = Script::new([says(r#"{"title": "Tea", "steps": ["boil"]}"#)]);
    let ran = run(&script, asks().output::<Plan>(), "plan".to_owned()).await;
    assert_eq!(
        ran.output(),
        &json!({"title": "Tea", "steps": ["boil"], "minutes": 0}),
        "defaults are filled in"
    );
    assert_eq!(ran.items(), Vec::<String>::new());
    let asked = script.asked()[0].output.clone().expect("a schema");
    assert_eq!(
        (asked.name.as_str(), &asked.schema["properties"]["title"]["type"]),
        ("asks", &json!("string"))
    );
}

#[tokio::test]
async fn a_shape_that_is_no_object_is_asked_for_inside_of_one() {
    let script = Script::new([says(r#"{"output": [1, 2]}"#)]);
    let ran = run(&script, asks().output::<Vec<u32>>(), "numbers".to_owned()).await;
    assert_eq!(ran.output(), &json!([1, 2]));
    let schema = script.asked()[0].output.clone().expect("a schema").schema;
    assert_eq!(
        (&schema["type"], &schema["properties"]["output"]["type"]),
        (&json!("object"), &json!("array"))
    );
}

#[tokio::test]
async fn an_answer_is_mended_once_unless_it_is_said_otherwise() {
    for answer in [
        "```json\n{\"title\": \"Tea\", \"steps\": [\"boil\"],}\n```",
        "Here: {\"title\": \"Tea\", \"steps\": [\"boil\"]} Enjoy [it]!",
        "{\"title\": \"Tea\", \"steps\": [\"boil\"",
        "{\"output\": {\"title\": \"Tea\", \"steps\": [\"boil\"]}}",
    ] {
        let ran = run(&Script::new([says(answer)]), asks().output::<Plan>(), "plan".to_owned()).await;
        assert_eq!(ran.output()["title"], "Tea", "{answer}");
        for repair in [Repair::rescue(), Repair::fail(), Repair::auto(0)] {
            let ran = run(&Script::new([says(answer)]), plans(repair), "plan".to_owned()).await;
            let error = ran.error().typed::<OutputValidationError>();
            assert_eq!(error.expect("a typed error").raw_output, answer, "{repair:?}");
        }
    }
}

#[tokio::test]
async fn further_attempts_ask_the_model_again_and_tell_it_what_is_wrong() {
    let script = Script::new([
        says("I can't do that."),
        says(r#"{"title": 7, "steps": []}"#),
        says(r#"{"title": "Tea", "steps": ["boil"]}"#),
    ]);
    let ran = run(&script, plans(Repair::auto(3)), "plan".to_owned()).await;
    assert_eq!(ran.output()["title"], "Tea");
    let heard = script.heard();
    assert_eq!(heard[1][1], "assistant: I can't do that.");
    assert!(heard[1][2].contains("is not JSON"), "{}", heard[1][2]);
    assert!(
        heard[2][4].contains("title") && heard[2][4].contains("steps"),
        "{}",
        heard[2][4]
    );
}

#[tokio::test]
async fn when_attempts_are_used_up_the_error_has_the_answer_and_every_issue() {
    let script = Script::new([says("no"), says(r#"{"title": 7, "steps": []}"#)]);
    let ran = run(&script, plans(Repair::auto(2)), "plan".to_owned()).await;
    let error = ran.error().typed::<OutputValidationError>().expect("a typed error");
    assert_eq!(error.raw_output, r#"{"title": 7, "steps": []}"#);
    let mut paths: Vec<&str> = error.issues.iter().map(|issue| issue.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["steps", "title"]);
    assert!(!ran.error().is_retryable());
    let steps = run(
        &Script::new([says("no")]),
        plans(Repair::auto(9)).steps_max(1),
        "plan".to_owned(),
    )
    .await;
    assert_eq!(
        steps.error().code(),
        "output_validation_error",
        "corrections are steps too"
    );
}

#[tokio::test]
async fn a_rescue_takes_over() {
    let block = sequencer("plan")
        .then(plans(Repair::rescue()))
        .rescue(
            on::<OutputValidationError>().run(|error: Rescued<OutputValidationError>, _: Ctx| async move {
                Ok(Plan {
                    title: error.error.raw_output.clone(),
                    steps: vec!["think".into()],
                    minutes: 1,
                })
            }),
        );
    let ran = run(&Script::new([says("hm")]), block, "plan".to_owned()).await;
    assert_eq!(ran.output()["title"], "hm");
}

#[tokio::test]
async fn tools_come_before_the_answer_and_its_text_is_shown_nowhere() {
    let script = Script::new([
        vec![
            text("looking"),
            call("1", "look", json!({"q": "x"})),
            end(Finish::ToolCalls),
        ],
        says(r#"{"title": "Tea", "steps": ["boil"]}"#),
    ]);
    let ran = run(&script, asks().tool(echo("look")).output::<Plan>(), "plan".to_owned()).await;
    assert_eq!(ran.output()["title"], "Tea");
    assert_eq!(ran.items(), ["tool_output completed: look \"found x\""]);
}

#[tokio::test]
async fn no_candidate_after_the_last_step_is_an_error() {
    let script = Script::new([calls([call("1", "look", json!({"q": "x"}))])]);
    let block = asks().tool(echo("look")).output::<Value>().steps_max(1);
    let ran = run(&script, block, "plan".to_owned()).await;
    assert_eq!(
        (ran.error().code(), ran.error().message()),
        ("no_output", "the model gave no output after 1 steps")
    );
}

#[tokio::test]
async fn an_answer_that_was_cut_off_is_not_made_whole() {
    let cut = || vec![text(r#"{"title": "Tea", "steps": ["boil", "po"#), end(Finish::Length)];
    let ran = run(&Script::new([cut()]), asks().output::<Plan>(), "plan".to_owned()).await;
    assert!(ran.error().message().contains("cut off"), "{}", ran.error());
    let script = Script::new([cut(), says(r#"{"title": "Tea", "steps": ["boil", "pour"]}"#)]);
    let ran = run(&script, plans(Repair::auto(2)), "plan".to_owned()).await;
    assert_eq!(ran.output()["steps"], json!(["boil", "pour"]));
}

/// No object, and made of itself: the model is asked for an object around it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Tree {
    Leaf(String),
    Node(Vec<Tree>),
}

#[tokio::test]
async fn a_shape_that_is_made_of_itself_is_asked_for_as_what_it_is() {
    let tree = json!({"node": [{"leaf": "a"}, {"node": []}]});
    let script = Script::new([says(&json!({"output": tree}).to_string())]);
    let ran = run(&script, asks().output::<Tree>(), "tree".to_owned()).await;
    assert_eq!(ran.output(), &tree);
    let schema = script.asked()[0].output.clone().expect("a schema").schema;
    let told = schema.to_string();
    assert!(
        told.contains("#/$defs/") && !told.contains("\"#\""),
        "no reference is to the object around it: {told}"
    );
}
