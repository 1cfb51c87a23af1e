//! Profiles: under a name, which store keeps what. One of them is active in a process.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Store;

/// The variable that names the active profile.
pub(crate) const VARIABLE: &str = "FSD_ENV";
/// The name of the profile that `store(..)` declares.
pub(crate) const DEFAULT: &str = "default";

/// What a profile can have a store for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// Everything: sessions, requests, items, states, bodies. Every profile has one.
    Primary,
    /// Large bodies. Without effect: the primary store keeps them.
    Blobs,
    /// Work that waits. Without effect: requests run in the process that took them.
    Queue,
    /// Work for later. Without effect: nothing is scheduled.
    Scheduler,
    /// Search in what is kept. Without effect: nothing is indexed for search.
    Search,
}

impl Slot {
    /// Whether the server does anything with a store in it.
    pub fn has_effect(self) -> bool {
        self == Self::Primary
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Blobs => "blobs",
            Self::Queue => "queue",
            Self::Scheduler => "scheduler",
            Self::Search => "search",
        })
    }
}

/// Which store keeps what.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    slots: BTreeMap<Slot, Store>,
    twice: Vec<Slot>,
}

impl Profile {
    /// With the store that keeps everything.
    pub fn primary(store: Store) -> Self {
        Self::default().slot(Slot::Primary, store)
    }

    /// With a store in a slot. One that has no effect there is listed in the server's `meta`, and warned of when the server opens.
    pub fn slot(mut self, slot: Slot, store: Store) -> Self {
        if self.slots.insert(slot, store).is_some() {
            self.twice.push(slot);
        }
        self
    }

    pub(crate) fn store(&self, slot: Slot) -> Option<&Store> {
        self.slots.get(&slot)
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (Slot, &Store)> {
        self.slots.iter().map(|(slot, store)| (*slot, store))
    }

    /// The slots whose store changes nothing, each with why.
    pub(crate) fn without_effect(&self) -> impl Iterator<Item = (Slot, &'static str)> {
        self.slots()
            .filter(|(slot, _)| !slot.has_effect())
            .map(|(slot, store)| {
                let why = match store.backs(slot) {
                    true => "the server does not use it yet",
                    false => "the store can't back it",
                };
                (slot, why)
            })
    }

    fn problems<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        let missing = (!self.slots.contains_key(&Slot::Primary))
            .then(|| format!("the profile {name:?} has no primary store: begin it with Profile::primary(..)"));
        let twice = self
            .twice
            .iter()
            .map(move |slot| format!("the profile {name:?} has two stores in the slot {slot}"));
        let unable = self.store(Slot::Primary).filter(|store| !store.backs(Slot::Primary));
        let unable = unable.map(move |store| {
            let store = store.adapter().name();
            format!("the profile {name:?} has the store {store:?} in the slot primary, which it can't back")
        });
        missing.into_iter().chain(twice).chain(unable)
    }
}

/// The declared profiles, in order.
#[derive(Default)]
pub(crate) struct Profiles {
    pub(crate) declared: Vec<(String, Profile)>,
    pub(crate) default: Option<String>,
    /// Whether one was declared by name, so that there is something to choose.
    pub(crate) named: bool,
}

/// The active profile's place among the declared ones, and everything that is wrong with any of them. `named` is what [`VARIABLE`] says.
pub(crate) fn choose(profiles: &Profiles, named: Option<String>) -> Result<usize, Vec<String>> {
    let declared = &profiles.declared;
    let mut problems = Vec::new();
    for (index, (name, profile)) in declared.iter().enumerate() {
        if name.trim().is_empty() {
            problems.push("a profile has no name".to_owned());
        }
        if declared[..index].iter().any(|(earlier, _)| earlier == name) {
            problems.push(format!("the profile {name:?} is declared twice"));
        }
        problems.extend(profile.problems(name));
    }
    if declared.is_empty() {
        let what = "no store is named: call store(lsm(\"./data\")), or store(memory()) to keep nothing";
        problems.push(what.to_owned());
        return Err(problems);
    }
    let known = || {
        declared
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut find = |name: &String, who: &str| {
        let found = declared.iter().position(|(declared, _)| declared == name);
        if found.is_none() {
            problems.push(format!(
                "{who} names the profile {name:?}, which is not declared; there is {}",
                known()
            ));
        }
        found
    };
    let default = profiles.default.as_ref().map(|name| find(name, "default_profile"));
    let named = named.filter(|name| profiles.named && !name.is_empty());
    let named = named.map(|name| find(&name, VARIABLE));
    match problems.is_empty() {
        true => Ok(named.or(default).flatten().unwrap_or(0)),
        false => Err(problems),
    }
}

#[cfg(test)]
mod tests {
    use flowstate_engine::EngineOpenError;
    use flowstate_log::Storage;
    use futures_util::future::BoxFuture;

    use super::super::{StoreAdapter, memory};
    use super::*;

    /// Can keep files only.
    struct Files;

    impl StoreAdapter for Files {
        fn name(&self) -> &str {
            "files"
        }

        fn slots(&self) -> &[Slot] {
            &[Slot::Blobs]
        }

        fn realise(&self) -> BoxFuture<'_, Result<Storage, EngineOpenError>> {
            Box::pin(async { Err(EngineOpenError::Stopped) })
        }
    }

    fn profiles(names: &[&str], default: Option<&str>) -> Profiles {
        let declared = names
            .iter()
            .map(|name| ((*name).to_owned(), Profile::primary(memory())));
        Profiles {
            declared: declared.collect(),
            default: default.map(str::to_owned),
            named: true,
        }
    }

    #[test]
    fn the_variable_comes_before_the_default_and_that_before_the_first() {
        for (default, variable, expected) in [
            (None, None, 0),
            (None, Some(""), 0),
            (None, Some("prod"), 1),
            (Some("test"), None, 2),
            (Some("test"), Some(""), 2),
            (Some("test"), Some("prod"), 1),
        ] {
            let declared = profiles(&["dev", "prod", "test"], default);
            let chosen = choose(&declared, variable.map(str::to_owned));
            assert_eq!(chosen, Ok(expected), "{default:?} {variable:?}");
        }
    }

    #[test]
    fn everything_that_is_wrong_with_profiles_is_told_at_once() {
        let mut declared = profiles(&["dev", "dev", " "], Some("nowhere"));
        let queue = Profile::default()
            .slot(Slot::Queue, memory())
            .slot(Slot::Queue, memory());
        declared.declared.push(("half".to_owned(), queue));
        declared
            .declared
            .push(("files".to_owned(), Profile::primary(Store::new(Files))));
        let problems = choose(&declared, Some("elsewhere".to_owned())).expect_err("many problems");
        for part in [
            "\"dev\" is declared twice",
            "has no name",
            "\"half\" has no primary store",
            "\"half\" has two stores in the slot queue",
            "\"files\" has the store \"files\" in the slot primary, which it can't back",
            "default_profile names the profile \"nowhere\"",
            "FSD_ENV names the profile \"elsewhere\", which is not declared; there is dev, dev,  , half, files",
        ] {
            let said = problems.iter().filter(|problem| problem.contains(part)).count();
            assert_eq!(said, 1, "{part}: {problems:#?}");
        }
        assert_eq!(problems.len(), 7, "{problems:#?}");
        assert_eq!(
            choose(&Profiles::default(), None).map_err(|problems| problems.len()),
            Err(1)
        );
    }

    #[test]
    fn slots_without_effect_are_accepted_and_named() {
        let profile = Profile::primary(memory())
            .slot(Slot::Queue, memory())
            .slot(Slot::Blobs, Store::new(Files));
        let without: Vec<_> = profile.without_effect().collect();
        let expected = [
            (Slot::Blobs, "the server does not use it yet"),
            (Slot::Queue, "the store can't back it"),
        ];
        assert_eq!(without, expected);
    }

    #[test]
    fn a_store_alone_leaves_nothing_to_choose() {
        let mut alone = profiles(&[DEFAULT], None);
        alone.named = false;
        assert_eq!(choose(&alone, Some("prod".to_owned())), Ok(0));
    }
}
