//! The flows and models of one engine, checked against each other.

use std::sync::Arc;

use crate::flow::Flow;
use crate::model::{Models, Resolver};
use crate::record::ScopeKind;

/// Flows by kind, models by name.
pub(crate) struct Registry {
    flows: Vec<Arc<Flow>>,
    models: Resolver,
}

impl Registry {
    /// `Err` lists everything that does not fit together. That a model can't be reached now is no such thing.
    pub(crate) fn new(flows: Vec<Flow>, models: Models) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        for (index, flow) in flows.iter().enumerate() {
            if flows[..index].iter().any(|earlier| earlier.kind() == flow.kind()) {
                problems.push(format!("two flows have the kind {:?}", flow.kind()));
            }
        }
        for kind in [ScopeKind::User, ScopeKind::Project] {
            let mut sharing = flows.iter().filter(|flow| flow.scope(kind).shared);
            if let Some(first) = sharing.next() {
                for other in sharing.filter(|other| !other.scope(kind).is_like(first.scope(kind))) {
                    problems.push(format!(
                        "the flows {:?} and {:?} share the {} state and declare it with different types",
                        first.kind(),
                        other.kind(),
                        kind.as_str()
                    ));
                }
                problems.extend(shared_resources(&flows, kind));
            }
        }
        let (models, wrong) = models.assemble();
        problems.extend(wrong);
        for flow in &flows {
            for (what, root) in flow.blocks() {
                root.walk(&mut |block| {
                    for problem in block.models().flat_map(|model| models.problems(&model.into())) {
                        let (kind, name) = (flow.kind(), block.name());
                        problems.push(format!("flow {kind:?}, {what}, block {name:?}: {problem}"));
                    }
                });
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut flows: Vec<Arc<Flow>> = flows.into_iter().map(Arc::new).collect();
        flows.sort_by(|a, b| a.kind().cmp(b.kind()));
        Ok(Self { flows, models })
    }

    /// By kind.
    pub(crate) fn flows(&self) -> &[Arc<Flow>] {
        &self.flows
    }

    pub(crate) fn flow(&self, kind: &str) -> Option<&Arc<Flow>> {
        self.flows.iter().find(|flow| flow.kind() == kind)
    }

    /// What names of models mean.
    pub(crate) fn models(&self) -> &Resolver {
        &self.models
    }
}

/// What flows that share a scope declare differently of its resources.
fn shared_resources(flows: &[Flow], kind: ScopeKind) -> Vec<String> {
    let sharing: Vec<&Flow> = flows.iter().filter(|flow| flow.scope(kind).shared).collect();
    let mut problems = Vec::new();
    for (index, flow) in sharing.iter().enumerate() {
        for def in flow.scope(kind).resources() {
            let earlier = sharing[..index]
                .iter()
                .find_map(|other| Some((other, other.scope(kind).resource(&def.name)?)));
            if let Some((other, differs)) = earlier.and_then(|(other, first)| Some((other, first.conflict(def)?))) {
                let (one, two, what, name) = (other.kind(), flow.kind(), kind.as_str(), &def.name);
                problems.push(format!(
                    "the flows {one:?} and {two:?} share the {what} resource {name:?} and declare it differently: {differs}"
                ));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::block::{generator, handler, router, sequencer};
    use crate::flow::{FlowBuilder, action, flow};
    use crate::model::{Model, ScriptedModel};
    use crate::scope::{scope, view};

    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct Number {
        n: u32,
    }

    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct Text {
        n: String,
    }

    fn built(flow: FlowBuilder) -> Flow {
        flow.instance("default").expect("a flow")
    }

    fn echo() -> crate::block::Block<String, String> {
        handler("echo").run(|text: String, _| async move { Ok(text) })
    }

    fn asking(kind: &str, model: &str) -> FlowBuilder {
        let asks = generator::<String>("asks").model(model).user(|text, _| text.clone());
        flow(kind).action("ask", action(asks))
    }

    #[test]
    fn everything_that_flows_and_models_disagree_on_is_in_one_error() {
        let flows = vec![
            built(asking("a", "big").user(scope::<Number>().shared())),
            built(asking("b", "small").user(scope::<Text>().shared())),
            built(flow("a").action("echo", action(echo()))),
        ];
        let small = || Arc::new(ScriptedModel::new(0)) as Arc<dyn Model>;
        let problems = Registry::new(flows, Models::new().model(small()).model(small()))
            .err()
            .expect("many problems");
        let name = small().name().to_owned();
        for part in [
            "two flows have the kind \"a\"".to_owned(),
            "the flows \"a\" and \"b\" share the user state and declare it with different types".to_owned(),
            format!("two models have the name {name:?}"),
            "flow \"a\", action \"ask\", block \"asks\": no model is named \"big\"".to_owned(),
            "flow \"b\", action \"ask\", block \"asks\": no model is named \"small\"".to_owned(),
        ] {
            assert!(
                problems.iter().any(|problem| problem.starts_with(&part)),
                "{part}: {problems:?}"
            );
        }
        assert_eq!(problems.len(), 5, "{problems:?}");
    }

    #[test]
    fn everything_that_is_wrong_in_a_flow_is_in_one_error() {
        let numbers = echo().session_state(view::<Number>());
        let texts = echo().named("texts").session_state(view::<Text>());
        let chain = sequencer::<String>("chain")
            .then(numbers)
            .loop_back("nowhere", 3)
            .then(texts);
        let routes = router("routes")
            .route("one", echo())
            .route("one", echo())
            .decide(|_, _, (one, _)| one);
        let error = flow("sessions")
            .action("go", action(chain))
            .action("go", action(routes))
            .session(scope::<Number>().client_data("n", |_: &Number| 1).expose("n"))
            .session(scope::<Number>().expose("m"))
            .instance(" ")
            .expect_err("many problems");
        for part in [
            "the action \"go\" is declared twice",
            "\"nowhere\"",
            "the route \"one\" is declared twice",
            "the session scope is declared twice",
            "the client data entry \"n\" of the session is declared twice",
            "the session state has no field \"m\"",
            "the kind \"sessions\" is reserved",
            "the instance id \" \" must not be empty",
            "the flow and block \"texts\" (action \"go\") declare the field \"n\" of the session state differently",
        ] {
            let said = error.problems.iter().filter(|problem| problem.contains(part));
            assert_eq!(said.count(), 1, "{part}: {:#?}", error.problems);
        }
        assert_eq!(error.problems.len(), 9, "{:#?}", error.problems);
    }
}
