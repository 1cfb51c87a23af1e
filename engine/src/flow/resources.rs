//! The resources of a flow: its own declarations, merged with what its blocks need.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::merge::{Declaration, Merged};
use super::scopes::ScopeDefs;
use crate::block::BlockDef;
use crate::record::ScopeKind;
use crate::resource::{RESOURCE_SCOPES, ResourceDef};

impl Declaration for Arc<ResourceDef> {
    fn conflict(&self, other: &Self) -> Option<String> {
        match Arc::ptr_eq(self, other) {
            true => None,
            false => ResourceDef::conflict(self, other).map(str::to_owned),
        }
    }
}

impl ScopeDefs {
    /// Adds the resources that the blocks under these roots need; each root with what it is for. Every problem goes to `problems`.
    pub(super) fn merge_resources(&mut self, roots: &[(String, &BlockDef)], problems: &mut Vec<String>) {
        if !self.get(ScopeKind::Request).own_resources.is_empty() {
            problems.push("the request scope has no resources: they are of sessions, users and projects".into());
        }
        for scope in RESOURCE_SCOPES {
            let what = scope.as_str();
            let mut merged = Merged::new();
            for def in std::mem::take(&mut self.get_mut(scope).own_resources) {
                merged.declare("the flow", def.name.clone(), def);
            }
            for (root, block) in roots {
                block.walk(&mut |block| {
                    let who = format!("block {:?} ({root})", block.name());
                    let needed = block.views().resources().filter(|(kind, _)| *kind == scope);
                    needed.for_each(|(_, def)| merged.declare(&who, def.name.clone(), def.clone()));
                });
            }
            let (declared, conflicts) = merged.finish();
            problems.extend(conflicts.into_iter().map(|conflict| {
                let (name, first, other, differs) = (conflict.key, conflict.first, conflict.other, conflict.what);
                format!("{first} and {other} declare the {what} resource {name:?} differently: {differs}")
            }));
            let declared: BTreeMap<String, Arc<ResourceDef>> = declared.collect();
            let all: Vec<_> = declared.values().collect();
            for (index, def) in all.iter().enumerate() {
                problems.extend(def.problems().iter().map(|problem| format!("the {what} {problem}")));
                let overlapping = all[..index].iter().filter(|other| overlap(def, other));
                problems.extend(overlapping.map(|other| {
                    format!(
                        "the {what} resources {:?} and {:?} may have the same key: their patterns, or a name and a pattern, overlap",
                        other.name, def.name
                    )
                }));
            }
            self.get_mut(scope).set_resources(declared);
        }
    }
}

/// Whether something could be of both.
fn overlap(one: &ResourceDef, other: &ResourceDef) -> bool {
    match (&one.collection, &other.collection) {
        (Some(one), Some(other)) => one.pattern.overlaps(&other.pattern),
        (Some(one), None) => one.pattern.matches(&other.name),
        (None, Some(other)) => other.pattern.matches(&one.name),
        (None, None) => false,
    }
}
