//! What is accepted, under which names, and what is listed of it.

use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use flowstate_engine::{Principal, RequestStatus, SessionQuery, Submission, SubmitError};
use flowstate_log::Options;
use flowstate_log::env::SeededEnv;
use serde_json::{Value, json};

use crate::support::{Puppet, chat_flow, engine, open, records_until, run, said, snapshot, submission};

#[tokio::test]
async fn bad_input_lists_every_problem_and_leaves_nothing() {
    let engine = engine(Puppet::new(said("a"))).await;
    let bad = Submission {
        user: String::new(),
        ..submission("chat", json!({"message": "", "mood": 12}))
    };
    let Err(SubmitError::Invalid { details }) = engine.submit(bad).await else {
        panic!("accepted")
    };
    let mut paths: Vec<&str> = details.iter().map(|problem| problem.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["input.message", "input.mood", "user"]);
    assert!(matches!(
        engine
            .submit(Submission {
                input: None,
                ..submission("chat", Value::Null)
            })
            .await,
        Err(SubmitError::Invalid { .. })
    ));
    assert!(matches!(
        engine.submit(submission("shout", json!({}))).await,
        Err(SubmitError::UnknownAction { known, .. }) if known == ["chat", "state", "panic"]
    ));
    assert!(matches!(
        engine.submit(Submission { flow: "nope".into(), ..submission("chat", json!({})) }).await,
        Err(SubmitError::UnknownFlow(kind)) if kind == "nope"
    ));
    assert!(
        engine
            .session(&Principal::default(), "s1")
            .await
            .expect("readable")
            .is_none()
    );
}

#[tokio::test]
async fn a_session_is_kept_to_its_user_flow_and_project() {
    let engine = engine(Puppet::new(said("a"))).await;
    let first = Submission {
        project: Some("p".into()),
        ..submission("chat", json!({"message": "hi"}))
    };
    run(&engine, first.clone()).await;
    run(
        &engine,
        Submission {
            project: None,
            ..first.clone()
        },
    )
    .await;
    for (what, wrong) in [
        (
            "user",
            Submission {
                user: "bob".into(),
                ..first.clone()
            },
        ),
        (
            "flow",
            Submission {
                flow: "other".into(),
                action: "echo".into(),
                ..first.clone()
            },
        ),
        (
            "project",
            Submission {
                project: Some("q".into()),
                ..first.clone()
            },
        ),
    ] {
        let outcome = engine.submit(wrong).await;
        assert!(
            matches!(&outcome, Err(SubmitError::SessionMismatch { what: said, .. }) if said.contains(what)),
            "{outcome:?}"
        );
    }
    let detail = engine
        .session(&Principal::default(), "s1")
        .await
        .expect("readable")
        .expect("a session");
    assert_eq!(
        (detail.summary.project.as_deref(), detail.summary.requests),
        (Some("p"), 2)
    );
    let elsewhere = Submission {
        principal: Principal::new("tenant"),
        user: "bob".into(),
        ..first
    };
    assert!(
        engine.submit(elsewhere).await.is_ok(),
        "another principal's session of the same id is another session"
    );
}

#[tokio::test]
async fn a_request_id_is_taken_once_and_known_under_its_flow_only() {
    let engine = engine(Puppet::new(said("a"))).await;
    let first = Submission {
        request: Some("r/1".into()),
        ..submission("chat", json!({"message": "hi"}))
    };
    run(&engine, first.clone()).await;
    let again = Submission {
        session: Some("s2".into()),
        ..first
    };
    assert!(matches!(engine.submit(again).await, Err(SubmitError::RequestIdTaken(id)) if id == "r/1"));
    assert!(
        engine
            .session(&Principal::default(), "s2")
            .await
            .expect("readable")
            .is_none(),
        "no session for nothing"
    );
    let principal = Principal::default();
    let found = engine
        .request(&principal, "chat", "r/1", Duration::ZERO)
        .await
        .expect("readable");
    assert_eq!(found.map(|request| request.row.status), Some(RequestStatus::Completed));
    assert!(
        engine
            .request(&principal, "other", "r/1", Duration::ZERO)
            .await
            .expect("readable")
            .is_none()
    );
    assert!(
        engine
            .request(&principal, "chat", "r/2", Duration::from_millis(1))
            .await
            .expect("readable")
            .is_none()
    );
}

#[tokio::test]
async fn requests_that_race_for_a_new_session_all_get_in() {
    let engine = engine(Puppet::new(said("a"))).await;
    let submissions = (0..8).map(|_| engine.submit(submission("state", json!("go"))));
    let accepted = futures_util::future::join_all(submissions).await;
    for accepted in accepted {
        records_until(&engine, &accepted.expect("accepted"), Fact::is_terminal).await;
    }
    assert_eq!(snapshot(&engine, "s1").await.client_data["session"]["turns"], json!(16));
    let detail = engine
        .session(&Principal::default(), "s1")
        .await
        .expect("readable")
        .expect("a session");
    assert_eq!(detail.summary.requests, 8);
}

#[tokio::test]
async fn sessions_are_listed_newest_first_by_user_and_flow() {
    // Its clock moves by a millisecond whenever it is asked.
    let options = Options {
        env: Arc::new(SeededEnv::new(1)),
        ..Options::in_memory()
    };
    let engine = open(Puppet::new(said("a")), &options).await;
    for (session, user, flow, action) in [
        ("1", "ann", "chat", "state"),
        ("2", "bob", "chat", "state"),
        ("3", "ann", "other", "echo"),
        ("1", "ann", "chat", "state"),
    ] {
        let (session, user, flow) = (Some(session.into()), user.into(), flow.into());
        run(
            &engine,
            Submission {
                session,
                user,
                flow,
                ..submission(action, json!("go"))
            },
        )
        .await;
    }
    let list = async |user: Option<&str>, flow: Option<&str>, limit, offset| {
        let query = SessionQuery {
            user: user.map(Into::into),
            flow: flow.map(Into::into),
            limit,
            offset,
        };
        let sessions = engine.sessions(&Principal::default(), &query).await.expect("readable");
        sessions.into_iter().map(|summary| summary.session).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, None, 0).await, ["1", "3", "2"]);
    assert_eq!(list(Some("ann"), None, None, 0).await, ["1", "3"]);
    assert_eq!(list(None, Some("chat"), None, 1).await, ["2"]);
    assert_eq!(list(None, None, Some(1), 1).await, ["3"]);
    assert!(list(Some("an"), None, None, 0).await.is_empty());
}

#[tokio::test]
async fn flows_and_models_that_do_not_fit_together_are_all_named() {
    let asks = generator::<Value>("g").model("gpt").user(|_, _| "hi".to_owned());
    let asking = flow("chat").action("a", action(asks)).instance("i").expect("a flow");
    let builder = Engine::builder()
        .flow(chat_flow())
        .flow(asking)
        .model(Arc::new(Puppet::new(Vec::new())));
    let error = builder
        .model(Arc::new(Puppet::new(Vec::new())))
        .open(Options::in_memory())
        .await
        .err()
        .expect("an error");
    let text = error.to_string();
    for part in [
        "two flows have the kind \"chat\"",
        "two models have the name \"puppet\"",
        "no model is named \"gpt\"",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}
