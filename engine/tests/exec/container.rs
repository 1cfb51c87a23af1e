//! Containers of sequencers and routers: what they own, and how they are closed.

use flowstate_engine::item::{Container, ItemBody};
use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use serde_json::{Value, json};

use crate::support::{Counter, Ran, after, fails, hangs, run, run_that, talker};

/// Says its input.
fn says() -> Block<String, String> {
    handler("says").run(|text: String, ctx: Ctx| async move {
        ctx.emit().message(text.clone()).await?;
        Ok(text)
    })
}

fn name(body: &ItemBody) -> String {
    match body {
        ItemBody::Message { content, .. } => content.iter().map(|part| part.as_text()).collect(),
        ItemBody::Container(container) => container.label.clone().unwrap_or_default(),
        other => other.type_name().to_owned(),
    }
}

/// `+ name in owner` for what was added and `- name: status` for what was closed, in their order.
fn told(ran: &Ran) -> Vec<String> {
    let line = |fact: &Fact| match fact {
        Fact::ItemAdded(added) => {
            let owner = added.item.owned_by.as_deref().unwrap_or("nothing");
            let owner = owner.strip_prefix(&ran.result.accepted.request).unwrap_or(owner);
            Some(format!("+ {} in {owner}", name(&added.item.body)))
        }
        Fact::ItemCompleted(ended) => Some(format!("- {}: {}", name(&ended.item.body), ended.item.status.as_str())),
        _ => None,
    };
    ran.facts.iter().filter_map(line).collect()
}

fn containers(ran: &Ran) -> Vec<&Container> {
    let bodies = ran.result.items.iter().map(|item| &item.body);
    bodies
        .filter_map(|body| match body {
            ItemBody::Container(container) => Some(container),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_container_comes_before_what_it_owns_and_is_closed_after_it() {
    let inner = sequencer::<String>("inner").container("card", "Inner").then(says());
    let outer = sequencer::<String>("outer")
        .container("pipeline-view", "Outer")
        .then(says())
        .then(inner)
        .then(says());
    let ran = run(sequencer::<String>("all").then(outer).then(says()), "x".to_owned()).await;
    assert_eq!(ran.output(), &json!("x"));
    assert_eq!(
        told(&ran),
        [
            "+ Outer in nothing",
            "+ x in :root/then[0]:0",
            "- x: completed",
            "+ Inner in :root/then[0]:0",
            "+ x in :root/then[0]/then[1]:0",
            "- x: completed",
            "- Inner: completed",
            "+ x in :root/then[0]:0",
            "- x: completed",
            "- Outer: completed",
            "+ x in nothing",
            "- x: completed",
        ]
    );
    let outer = containers(&ran)[1];
    assert_eq!(
        (outer.component.as_deref(), outer.block_name.as_str()),
        (Some("pipeline-view"), "outer")
    );
    let item = ran.result.items.iter().find(|item| name(&item.body) == "Outer");
    let instance = item
        .map(|item| item.provenance.instance.clone())
        .expect("the container");
    assert!(
        instance.ends_with(":root/then[0]:0"),
        "what it owns names it: {instance}"
    );
}

#[tokio::test]
async fn each_arm_may_have_a_container_in_that_of_the_fan_out() {
    let arm_of = |label: &'static str| sequencer::<String>("arm").container("card", label).then(says());
    let parallel = sequencer::<String>("s")
        .container("board", "Board")
        .parallel((arm("a", arm_of("A")), arm("b", arm_of("B"))))
        .map(|(a, b): (String, String), _| vec![a, b])
        .for_each(arm_of("Each"));
    let ran = run(parallel, "x".to_owned()).await;
    assert_eq!(ran.output(), &json!(["x", "x"]));
    let told = told(&ran);
    for (label, owner, place) in [
        ("A", ":root:0", ":root/parallel[0].a:0"),
        ("B", ":root:0", ":root/parallel[0].b:0"),
        ("Each", ":root:0", ":root/for_each[2]/iter[0]:0"),
        ("Each", ":root:0", ":root/for_each[2]/iter[1]:0"),
    ] {
        assert!(told.contains(&format!("+ {label} in {owner}")), "{told:#?}");
        assert!(told.contains(&format!("+ x in {place}")), "{told:#?}");
    }
    assert_eq!(told.last().map(String::as_str), Some("- Board: completed"));
}

#[tokio::test]
async fn a_failed_sequencer_closes_its_container_with_the_error_and_the_next_attempt_has_its_own() {
    let chain = sequencer::<String>("s")
        .container("card", "Card")
        .then(says())
        .then(fails::<String, String>("execution_error"))
        .build()
        .retry(Retry::attempts(2));
    let ran = run(chain, "x".to_owned()).await;
    assert_eq!(ran.error().code(), "execution_error");
    let attempt = |number: u32| {
        [
            "+ Card in nothing".to_owned(),
            format!("+ x in :root:{number}"),
            "- x: completed".to_owned(),
            "- Card: failed".to_owned(),
        ]
    };
    assert_eq!(told(&ran)[..8], [attempt(0), attempt(1)].concat());
    for container in containers(&ran) {
        let error = container.error.as_ref().expect("why");
        assert_eq!(error.code.as_deref(), Some("execution_error"));
    }
}

#[tokio::test]
async fn an_error_that_is_rescued_inside_leaves_the_container_as_it_is() {
    let chain = sequencer::<String>("s")
        .container("card", "Card")
        .then(fails::<String, String>("bad"))
        .rescue(any_error().run(|_: Rescued, ctx: Ctx| async move {
            ctx.emit().message("saved").await?;
            Ok("saved".to_owned())
        }));
    let ran = run(chain, "x".to_owned()).await;
    assert_eq!(
        told(&ran),
        [
            "+ Card in nothing",
            "+ saved in :root:0",
            "- saved: completed",
            "- Card: completed"
        ]
    );
    assert_eq!(containers(&ran)[0].error, None);
}

#[tokio::test]
async fn a_dropped_arm_closes_its_container_as_incomplete_after_what_is_in_it() {
    let (dropped, said) = (Counter::default(), Counter::default());
    let loser = sequencer::<String>("loser")
        .container("card", "Loser")
        .then_all([talker(), hangs(&dropped)])
        .map(|all, _| all.concat())
        .build();
    let chain = sequencer::<String>("s").race([loser, after(&said, 1)]).then(says());
    let ran = run_that(chain, "x".to_owned(), &said).await;
    assert_eq!(ran.output(), &json!("x"));
    let told = told(&ran);
    let place = |line: &str| told.iter().position(|told| told == line).expect(line);
    assert!(place("- so x: incomplete") < place("- Loser: incomplete"), "{told:#?}");
    assert!(
        place("- Loser: incomplete") < place("+ x in nothing"),
        "before the next step: {told:#?}"
    );
    assert_eq!(containers(&ran)[0].error, None);
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Count {
    count: i64,
}

#[tokio::test]
async fn what_a_container_says_may_come_from_the_input_and_state_and_work_are_in_it_too() {
    let counts = handler("counts").run(|text: String, ctx: Ctx| async move {
        ctx.session::<Count>().inc("count", 1).await?;
        Ok(text)
    });
    let chain = sequencer::<String>("s")
        .container_with(|text, ctx| {
            Container::new("card")
                .label(format!("On {text}"))
                .metadata(json!({"block": ctx.block_name()}))
        })
        .then(counts)
        .work(says());
    let flow = flow("f")
        .action("a", action(chain))
        .session(scope::<Count>().client_data("count", |state: &Count| state.count))
        .instance("i")
        .expect("a flow");
    let ran = crate::support::run_flow(flow, "x").await;
    let container = containers(&ran)[0];
    assert_eq!(
        (container.label.as_deref(), &container.metadata),
        (Some("On x"), &Some(json!({"block": "s"})))
    );
    let change = ran.facts.iter().find_map(|fact| match fact {
        Fact::StateChanged(change) => change.item.clone(),
        _ => None,
    });
    let instance = format!("{}:root:0", ran.result.accepted.request);
    assert_eq!(change.expect("a change").owned_by, Some(instance));
    assert!(told(&ran).contains(&"+ x in :root:0".to_owned()), "{:#?}", told(&ran));
}

#[tokio::test]
async fn a_container_that_cant_be_made_fails_its_block() {
    let chain = sequencer::<String>("s")
        .container_with(|_, _| panic!("boom"))
        .then(says());
    assert_eq!(run(chain, "x".to_owned()).await.error().code(), "panic");
    let twice = sequencer::<Value>("s").container("a", "b").container("c", "d");
    let error = flow("f").action("a", action(twice)).instance("i").expect_err("twice");
    assert!(error.to_string().contains("its container is declared twice"), "{error}");
}

#[tokio::test]
async fn a_router_may_have_a_container_too() {
    let router = router("r")
        .route("says", says())
        .container("card", "Routed")
        .decide(|_, _, (says,)| says);
    let ran = run(router, "x".to_owned()).await;
    assert_eq!(
        told(&ran),
        [
            "+ Routed in nothing",
            "+ x in :root:0",
            "- x: completed",
            "- Routed: completed"
        ]
    );
    let by_input = crate::support::run(
        flowstate_engine::router("r")
            .route("says", says())
            .container_with(|text: &String, _| Container::new("card").label(text.clone()))
            .decide(|_, _, (says,)| says),
        "x".to_owned(),
    )
    .await;
    assert_eq!(containers(&by_input)[0].label.as_deref(), Some("x"));
}
