//! What a flow has of each scope: its own declarations, merged with what its blocks need.

use std::sync::Arc;

use super::merge::{Declaration, Merged};
use crate::block::BlockDef;
use crate::record::ScopeKind;
use crate::schema::Shape;
use crate::scope::{FieldNeed, ScopeDef, ViewDef};

/// What a flow declares about its scopes.
#[derive(Default)]
pub(super) struct ScopeDefs {
    request: ScopeDef,
    session: ScopeDef,
    user: ScopeDef,
    project: ScopeDef,
    /// A request needs no user.
    pub(super) anonymous: bool,
}

const KINDS: [ScopeKind; 4] = [
    ScopeKind::Request,
    ScopeKind::Session,
    ScopeKind::User,
    ScopeKind::Project,
];

impl ScopeDefs {
    pub(super) fn get(&self, kind: ScopeKind) -> &ScopeDef {
        match kind {
            ScopeKind::Request => &self.request,
            ScopeKind::Session => &self.session,
            ScopeKind::User => &self.user,
            ScopeKind::Project => &self.project,
        }
    }

    pub(super) fn get_mut(&mut self, kind: ScopeKind) -> &mut ScopeDef {
        match kind {
            ScopeKind::Request => &mut self.request,
            ScopeKind::Session => &mut self.session,
            ScopeKind::User => &mut self.user,
            ScopeKind::Project => &mut self.project,
        }
    }

    /// Adds what the blocks under these roots need; each root with what it is for. Every problem goes to `problems`.
    pub(super) fn merge(&mut self, roots: &[(String, &BlockDef)], problems: &mut Vec<String>) {
        for scope in KINDS {
            let mut merged = Merged::new();
            for (field, shape) in self.get(scope).own_fields() {
                merged.declare("the flow", field, Declared::ByFlow(shape));
            }
            for (root, block) in roots {
                block.walk(&mut |block| {
                    let who = format!("block {:?} ({root})", block.name());
                    for view in block.views().of(scope) {
                        for field in view.fields.keys() {
                            merged.declare(&who, field.clone(), Declared::ByBlock(view.clone(), field.clone()));
                        }
                        self.check_commuting(&who, view, problems);
                    }
                });
            }
            let (declared, conflicts) = merged.finish();
            problems.extend(conflicts.into_iter().map(|conflict| {
                let (field, first, other, what) = (conflict.key, conflict.first, conflict.other, conflict.what);
                let scope = scope.as_str();
                format!("{first} and {other} declare the field {field:?} of the {scope} state differently: {what}")
            }));
            for (field, declared) in declared {
                if let Some(need) = declared.need() {
                    self.get_mut(scope).add(&field, need);
                }
            }
        }
    }

    fn check_commuting(&self, who: &str, view: &ViewDef, problems: &mut Vec<String>) {
        let def = self.get(view.scope);
        for field in view.commuting.iter().filter(|field| def.is_ruled(field)) {
            let scope = view.scope.as_str();
            let problem = format!(
                "{who} changes the field {field:?} of the {scope} state by operations that commute, and the state has rules, which only \
                 set and atomic can hold; if none depends on it, declare `.commuting({field:?})` on the flow's {scope} scope"
            );
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
}

/// A declaration of one field.
enum Declared {
    ByFlow(Shape),
    ByBlock(Arc<ViewDef>, String),
}

impl Declared {
    fn need(&self) -> Option<&FieldNeed> {
        match self {
            Self::ByFlow(_) => None,
            Self::ByBlock(view, field) => view.fields.get(field),
        }
    }

    fn shape(&self) -> Option<&Shape> {
        match self {
            Self::ByFlow(shape) => Some(shape),
            Self::ByBlock(..) => self.need().map(|need| &need.shape),
        }
    }
}

impl Declaration for Declared {
    /// A flow may have rules for what its blocks leave open, and says what a field begins as.
    fn conflict(&self, other: &Self) -> Option<String> {
        let (shape, other_shape) = (self.shape()?, other.shape()?);
        let fits = match self {
            Self::ByFlow(_) => shape.narrows(other_shape),
            Self::ByBlock(..) => shape == other_shape,
        };
        if !fits {
            return Some(format!("{shape} and {other_shape}"));
        }
        let (initial, other_initial) = (&self.need()?.initial, &other.need()?.initial);
        let said = |initial: &Option<serde_json::Value>| initial.clone().unwrap_or_default();
        (initial != other_initial).then(|| {
            format!(
                "it begins as {} and as {}; the flow may say which",
                said(initial),
                said(other_initial)
            )
        })
    }
}
