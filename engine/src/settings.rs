//! What the application around an engine hands to its blocks: one value per type.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::sync::Arc;

/// The settings of an engine. Cheap to clone.
#[derive(Default, Clone)]
pub(crate) struct Settings {
    values: Arc<HashMap<TypeId, Box<dyn Any + Send + Sync>>>,
}

/// What an engine is given of them, in order.
#[derive(Default)]
pub(crate) struct SettingsBuilder {
    values: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    problems: Vec<String>,
}

/// The engine has no settings of the type that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the engine was given no settings of the type {0}: give them with settings(..) when it is built")]
pub struct SettingsMissing(&'static str);

impl SettingsBuilder {
    pub(crate) fn add<S: Any + Send + Sync>(&mut self, settings: S) {
        if self.values.insert(TypeId::of::<S>(), Box::new(settings)).is_some() {
            let name = type_name::<S>();
            self.problems
                .push(format!("settings of the type {name} are given twice"));
        }
    }

    pub(crate) fn build(self) -> Result<Settings, Vec<String>> {
        match self.problems.is_empty() {
            true => Ok(Settings {
                values: Arc::new(self.values),
            }),
            false => Err(self.problems),
        }
    }
}

impl Settings {
    pub(crate) fn get<S: Any>(&self) -> Result<&S, SettingsMissing> {
        let found = self.values.get(&TypeId::of::<S>());
        let found = found.and_then(|value| value.downcast_ref());
        found.ok_or(SettingsMissing(type_name::<S>()))
    }
}
