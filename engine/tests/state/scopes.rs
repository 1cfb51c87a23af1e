//! Which requests share which state.

use flowstate_engine::Submission;
use flowstate_log::Options;
use serde_json::{Value, json};

use super::support::*;
use flowstate_engine::prelude::*;

/// Counts itself in every scope and gives the four counts.
fn counting(kind: &str) -> flowstate_engine::FlowBuilder {
    going(kind, |_, ctx| async move {
        let request = ctx.request_state::<State>().inc("n", 1).await?.into_value();
        let session = ctx.session::<State>().inc("n", 1).await?.into_value();
        let user = ctx.user::<State>().inc("n", 1).await?.into_value();
        let project = match ctx.project::<State>() {
            Some(project) => Some(project.inc("n", 1).await?.into_value()),
            None => None,
        };
        Ok(json!([request, session, user, project]))
    })
    .request(scope::<State>())
    .session(scope::<State>())
    .user(scope::<State>())
    .project(scope::<State>())
}

#[tokio::test]
async fn each_scope_is_shared_by_those_it_belongs_to() {
    let engine = engine(counting("f")).await;
    let run = |user: &str, session: &str, project: Option<&str>| {
        let submission = Submission {
            project: project.map(str::to_owned),
            ..to("f", user, session, Value::Null)
        };
        run(&engine, submission)
    };
    assert_eq!(run("ann", "a", Some("p")).await, Ok(json!([1, 1, 1, 1])));
    assert_eq!(
        run("ann", "a", Some("p")).await,
        Ok(json!([1, 2, 2, 2])),
        "a request begins anew"
    );
    assert_eq!(run("ann", "b", Some("p")).await, Ok(json!([1, 1, 3, 3])));
    assert_eq!(run("bob", "c", Some("p")).await, Ok(json!([1, 1, 1, 4])));
    assert_eq!(run("bob", "d", None).await, Ok(json!([1, 1, 2, null])));
}

#[tokio::test]
async fn kinds_of_flow_have_a_user_state_of_their_own_unless_it_is_shared() {
    let shared = |kind: &str| {
        going(kind, |_, ctx| async move {
            Ok(json(ctx.user::<State>().inc("n", 1).await?.into_value()))
        })
        .user(scope::<State>().shared())
    };
    let flows = [counting("f"), counting("g"), shared("h"), shared("i")];
    let flows = flows.map(|flow| flow.instance("default").expect("a flow"));
    let engine = open(flows, &Options::in_memory()).await;
    let count = async |kind: &str, session: &str| run(&engine, to(kind, "ann", session, Value::Null)).await;
    assert_eq!(count("f", "1").await, Ok(json!([1, 1, 1, null])));
    assert_eq!(count("g", "2").await, Ok(json!([1, 1, 1, null])));
    assert_eq!(count("h", "3").await, Ok(json!(1)));
    assert_eq!(count("i", "4").await, Ok(json!(2)));
    assert_eq!(count("f", "1").await, Ok(json!([1, 2, 2, null])));
}

#[tokio::test]
async fn a_shared_state_has_one_type() {
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct Other {
        n: String,
    }
    let nothing = |kind: &str| going(kind, |_, _| async move { Ok(Value::Null) });
    let flows = [
        nothing("a").user(scope::<State>().shared()),
        nothing("b").user(scope::<Other>().shared()),
        nothing("c").user(scope::<Other>()),
    ];
    let builder = flows.into_iter().fold(Engine::builder(), |builder, flow| {
        builder.flow(flow.instance("default").expect("a flow"))
    });
    let error = builder.open(Options::in_memory()).await.err().expect("different types");
    assert!(
        error.to_string().contains("\"a\" and \"b\" share the user state"),
        "{error}"
    );
    assert!(!error.to_string().contains("\"c\""), "{error}");
}

#[tokio::test]
async fn sessions_without_a_user_never_share_one() {
    let engine = engine(counting("f").require_user(false)).await;
    let run = async |user: &str, session: &str| run(&engine, to("f", user, session, Value::Null)).await;
    assert_eq!(run("", "a").await, Ok(json!([1, 1, 1, null])));
    assert_eq!(run("", "b").await, Ok(json!([1, 1, 1, null])));
    assert_eq!(run("", "a").await, Ok(json!([1, 2, 2, null])));
    let stolen = engine
        .submit(to("f", "session:a", "x", Value::Null))
        .await
        .expect_err("taken");
    assert!(stolen.to_string().contains("begins with \"session:\""), "{stolen}");
    let other = engine
        .submit(to("f", "ann", "a", Value::Null))
        .await
        .expect_err("not hers");
    assert!(other.to_string().contains("another user"), "{other}");
    let nameless = Submission {
        session: None,
        ..to("f", "", "", Value::Null)
    };
    assert!(engine.submit(nameless).await.is_ok(), "a session is made");
}

#[tokio::test]
async fn a_flow_that_requires_a_user_says_so() {
    let engine = engine(counting("f")).await;
    let error = engine.submit(to("f", "", "a", Value::Null)).await.expect_err("no user");
    assert!(error.to_string().contains("user: is required"), "{error}");
}

#[tokio::test]
async fn a_state_that_is_not_declared_is_said_with_what_to_do() {
    let engine = engine(going("f", |_, ctx| async move {
        ctx.user::<State>().inc("n", 1).await?;
        Ok(Value::Null)
    }))
    .await;
    let failed = go(&engine, Value::Null).await.expect_err("not declared");
    assert_eq!(
        failed.message,
        "the user state is not declared by the flow \"f\": declare it with `.user(scope::<..>())`"
    );
}

#[tokio::test]
async fn a_handle_says_whose_state_it_is() {
    let engine = engine(going("f", |_, ctx| async move {
        Ok(json!([
            ctx.session::<State>().id(),
            ctx.user::<State>().id(),
            ctx.request_state::<State>().id() == ctx.request_id(),
            ctx.user::<State>().scope().as_str(),
        ]))
    }))
    .await;
    assert_eq!(go(&engine, Value::Null).await, Ok(json!(["s", "ann", true, "user"])));
}
