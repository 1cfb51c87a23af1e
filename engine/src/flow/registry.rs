//! The flows and models of one engine, checked against each other.

use std::sync::Arc;

use crate::flow::Flow;
use crate::model::Model;
use crate::record::ScopeKind;

/// Flows by kind, models by name. The first model is the default.
pub(crate) struct Registry {
    flows: Vec<Arc<Flow>>,
    models: Vec<Arc<dyn Model>>,
}

impl Registry {
    /// `Err` lists everything that does not fit together. `models` is not empty.
    pub(crate) fn new(flows: Vec<Flow>, models: Vec<Arc<dyn Model>>) -> Result<Self, Vec<String>> {
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
            }
        }
        for (index, model) in models.iter().enumerate() {
            if models[..index].iter().any(|earlier| earlier.name() == model.name()) {
                problems.push(format!("two models have the name {:?}", model.name()));
            }
        }
        let known: Vec<&str> = models.iter().map(|model| model.name()).collect();
        for flow in &flows {
            for (what, root) in flow.blocks() {
                root.walk(&mut |block| {
                    if let Some(model) = block.model().filter(|model| !known.contains(model)) {
                        problems.push(format!(
                            "flow {:?}, {what}, block {:?}: no model is named {model:?}; there is {}",
                            flow.kind(),
                            block.name(),
                            known.join(", ")
                        ));
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

    /// The model of this name, or the default one.
    pub(crate) fn model(&self, name: Option<&str>) -> Option<&Arc<dyn Model>> {
        match name {
            Some(name) => self.models.iter().find(|model| model.name() == name),
            None => self.models.first(),
        }
    }
}
