//! All cases, read and checked: what is not understood, empty, unnumbered, doubled or missing is refused.

use std::collections::BTreeSet;
use std::path::Path;

use super::case::{Case, Section, Step};
use super::judge::looked_at;
use super::matcher::Matcher;

/// How many checks the contract has.
pub(crate) const CHECKS: u32 = 106;

/// All sections. `Err` lists everything that is wrong with them.
pub(crate) struct Suite {
    pub(crate) sections: Vec<Section>,
}

impl Suite {
    /// Those of a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, Vec<String>> {
        let files = std::fs::read_dir(folder).map_err(|error| vec![error.to_string()])?;
        let mut paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        let texts = paths.iter().map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap_or_default())
        });
        Self::parse(texts, CHECKS)
    }

    /// Those of these files, which must have each check up to `checks` once.
    pub(crate) fn parse(files: impl IntoIterator<Item = (String, String)>, checks: u32) -> Result<Self, Vec<String>> {
        let (mut sections, mut problems) = (Vec::new(), Vec::new());
        for (name, text) in files {
            match serde_json::from_str::<Section>(&text) {
                Ok(section) => sections.push(section),
                Err(error) => problems.push(format!("{name}: {error}")),
            }
        }
        let mut numbers = BTreeSet::new();
        for (section, case) in sections
            .iter()
            .flat_map(|section: &Section| section.cases.iter().map(move |case| (section, case)))
        {
            if !numbers.insert(case.check) {
                problems.push(format!("check {} is there twice", case.check));
            }
            problems.extend(wrong(section, case).map(|what| format!("check {}: {what}", case.check)));
        }
        let expected: BTreeSet<u32> = (1..=checks).collect();
        problems.extend(
            expected
                .difference(&numbers)
                .map(|check| format!("check {check} is missing")),
        );
        problems.extend(
            numbers
                .difference(&expected)
                .map(|check| format!("there is no check {check}")),
        );
        match problems.is_empty() {
            true => Ok(Self { sections }),
            false => Err(problems),
        }
    }

    /// All cases with their sections.
    pub(crate) fn cases(&self) -> impl Iterator<Item = (&Section, &Case)> {
        let each = |section| move |case| (section, case);
        self.sections
            .iter()
            .flat_map(move |section| section.cases.iter().map(each(section)))
    }
}

/// What is wrong with a case although it can be read.
fn wrong(section: &Section, case: &Case) -> impl Iterator<Item = String> {
    let mut problems = Vec::new();
    if case.title.trim().is_empty() {
        problems.push("it has no title".to_owned());
    }
    if case.when.is_empty() {
        problems.push("it does nothing".to_owned());
    }
    if case.then.is_empty() {
        problems.push("it expects nothing".to_owned());
    }
    let mut names = BTreeSet::new();
    let mut restarts = false;
    for step in case.given.iter().chain(&case.when) {
        walk(section, step, &mut |step| {
            names.extend(name_of(step).map(str::to_owned));
            restarts |= matches!(step, Step::Restart(_));
            match step {
                Step::Setup(name) if !section.setups.contains_key(name) => {
                    problems.push(format!("there is no setup {name}"));
                }
                Step::Together(branches) if branches.len() < 2 => problems.push("one branch is not together".into()),
                Step::Repeat(repeat) if repeat.steps.is_empty() => problems.push("nothing is repeated".into()),
                _ => {}
            }
        });
    }
    if restarts && !case.own_server {
        problems.push("only a server of one's own is restarted".into());
    }
    for name in case.then.iter().flat_map(looked_at).flat_map(|names| names.list()) {
        if !names.contains(name) {
            problems.push(format!("no step gives {name}"));
        }
    }
    problems.into_iter()
}

fn walk(section: &Section, step: &Step, seen: &mut impl FnMut(&Step)) {
    seen(step);
    let inside: Vec<&Step> = match step {
        Step::Together(branches) => branches.iter().flatten().collect(),
        Step::Setup(name) => section.setups.get(name).into_iter().flatten().collect(),
        _ => Vec::new(),
    };
    for step in inside {
        walk(section, step, seen);
    }
}

/// The name under which a step keeps what comes of it.
fn name_of(step: &Step) -> Option<&str> {
    match step {
        Step::Http(http) | Step::Abandon(http) => http.name.as_deref(),
        Step::Stream(open) => Some(&open.name),
        Step::Collect(collect) => Some(&collect.name),
        Step::Repeat(repeat) => Some(&repeat.name),
        Step::Await(wanted) => Some(wanted.http.name.as_deref().unwrap_or("awaited")),
        Step::Pick(pick) => Some(&pick.name),
        Step::Open(_) | Step::Leave(_) | Step::Together(_) | Step::Restart(_) | Step::PauseMs(_) | Step::Setup(_) => {
            None
        }
    }
}

/// Which of these a case expects, for what is told of it.
pub(crate) fn described(matcher: &Matcher) -> String {
    super::judge::brief(&format!("{matcher:?}"))
}

#[cfg(test)]
mod tests;
