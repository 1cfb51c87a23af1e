//! The state of sequencer instances, and how blocks find it: the enclosing one, siblings that ran, ancestors.

use flowstate_engine::AmbiguousBlockName;
use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use serde_json::json;

use crate::support::run;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Notes {
    count: i64,
    last: String,
}

/// Counts in the nearest enclosing state, and gives the count.
fn counts() -> Block<i64, i64> {
    handler("counts").run(|by: i64, ctx: Ctx| async move {
        let Some(notes) = ctx.sequencer::<Notes>() else {
            return Ok(-1);
        };
        notes.inc("count", by).await?;
        Ok(notes.get().await?.count)
    })
}

/// The count in the state of the block of this name; -1 if there is none.
fn reads(name: &'static str) -> Block<i64, i64> {
    handler("reads").run(move |_: i64, ctx: Ctx| async move {
        match ctx.target::<Notes>(name)? {
            Some(notes) => Ok(notes.get().await?.count),
            None => Ok(-1),
        }
    })
}

#[tokio::test]
async fn each_execution_has_its_own_state_and_every_operation_is_a_record() {
    let counted = sequencer::<i64>("counted")
        .state::<Notes>()
        .then(counts())
        .then(counts());
    let ran = run(sequencer::<Vec<i64>>("s").for_each(counted), vec![1, 10]).await;
    assert_eq!(ran.output(), &json!([2, 20]), "1, then 1 more; 10, then 10 more");
    let changes: Vec<&str> = ran
        .facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::InstanceStateChanged(changed) => Some(changed.path.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(changes.len(), 4);
    assert!(
        changes.iter().all(|path| path.starts_with("root/for_each[0]/iter[")),
        "{changes:?}"
    );
    assert_eq!(
        run(sequencer::<i64>("stateless").then(counts()), 1).await.output(),
        &json!(-1)
    );
}

#[tokio::test]
async fn operations_at_once_all_count() {
    let arms = (0..20).map(|_| counts());
    let chain = sequencer::<i64>("s")
        .state::<Notes>()
        .then_all(arms)
        .map(|_, _| 0)
        .then(counts());
    assert_eq!(run(chain, 1).await.output(), &json!(20));
    let updates = handler("updates").run(|n: i64, ctx: Ctx| async move {
        let notes = ctx
            .sequencer::<Notes>()
            .ok_or_else(|| BlockError::new("none", "no state"))?;
        notes
            .atomic(|notes| Notes {
                count: notes.count * 2 + n,
                ..notes
            })
            .await?;
        notes.patch(json!({"last": "x"})).await?;
        Ok(notes.get().await?)
    });
    let chain = sequencer::<i64>("s")
        .state_from(Notes {
            count: 5,
            last: String::new(),
        })
        .then(updates);
    assert_eq!(run(chain, 1).await.output(), &json!({"count": 11, "last": "x"}));
}

#[tokio::test]
async fn what_does_not_fit_the_declared_state_is_refused() {
    let wrong = handler("wrong").run(|field: String, ctx: Ctx| async move {
        let notes = ctx
            .sequencer::<Notes>()
            .ok_or_else(|| BlockError::new("none", "no state"))?;
        notes.patch(json!({field: "text"})).await?;
        Ok(())
    });
    for field in ["count", "unknown"] {
        let ran = run(
            sequencer::<String>("s").state::<Notes>().then(wrong.clone()),
            field.to_owned(),
        )
        .await;
        assert_eq!(ran.error().code(), "invalid_state", "{field}");
    }
}

#[tokio::test]
async fn a_target_is_a_sibling_that_ran_most_recently_or_an_ancestor() {
    let research = || sequencer::<i64>("research").state::<Notes>().then(counts());
    let chain = sequencer::<i64>("s")
        .then(research())
        .map(|n, _| n + 1)
        .then(research())
        .then(reads("research"));
    assert_eq!(run(chain, 1).await.output(), &json!(2), "the latest");
    let before = sequencer::<i64>("s").then(reads("research")).then(research());
    assert_eq!(
        run(before, 1).await.output(),
        &json!(-1),
        "one that has not run is no target"
    );
    let deep = sequencer::<i64>("inner").then(reads("outer"));
    let outer = sequencer::<i64>("outer")
        .state::<Notes>()
        .then(counts())
        .then(sequencer::<i64>("between").then(deep));
    assert_eq!(run(outer, 7).await.output(), &json!(7), "an ancestor");
}

#[tokio::test]
async fn several_ancestors_of_one_name_are_an_error_that_names_them() {
    let inner = sequencer::<i64>("same").state::<Notes>().then(reads("same"));
    let outer = sequencer::<i64>("same").state::<Notes>().then(inner);
    let ran = run(outer, 1).await;
    let error = ran.error().typed::<AmbiguousBlockName>().expect("the typed error");
    assert_eq!(error.instances, ["root/then[0]", "root"]);
}
