//! Laws of the repository that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

use flowstate_log::record::Kind;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

/// All files with this ending in these folders, as paths from the root.
fn files(folders: &[&str], ending: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("read the folder") {
            let path = entry.expect("read the folder").path();
            if path.is_dir() && !path.ends_with("target") {
                walk(&path, ending, found);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), ending, &mut found);
    }
    assert!(!found.is_empty(), "no files in {folders:?}");
    found
        .iter()
        .map(|path| path.strip_prefix(root()).expect("below the root").to_owned())
        .collect()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn crates_depend_on_each_other_one_way() {
    let manifest = |folder: &str| read(format!("{folder}/Cargo.toml"));
    let depends = |folder: &str, on: &str| {
        manifest(folder)
            .lines()
            .any(|line| line.split(['.', ' ', '=']).next() == Some(on))
    };
    let forbidden = [
        (
            "log",
            ["flowstate", "flowstate-engine", "axum", "reqwest", "schemars"].as_slice(),
        ),
        ("engine", &["flowstate", "axum", "fjall", "rkyv", "crc32fast", "hyper"]),
        ("api", &["fjall", "rkyv", "crc32fast", "jsonschema"]),
    ];
    for (folder, others) in forbidden {
        for other in others {
            assert!(!depends(folder, other), "{folder} may not depend on {other}");
        }
    }
    assert!(
        depends("engine", "flowstate-log") && depends("api", "flowstate-engine"),
        "the check reads manifests"
    );
}

#[test]
fn every_source_file_says_what_lives_in_it() {
    for path in files(&["log", "engine", "api", "bench", "tests"], "rs") {
        let opens = read(&path).starts_with("//! ");
        assert!(opens, "{} does not open with a //! comment", path.display());
    }
}

#[test]
fn only_a_few_files_append() {
    let allowed = [
        "api/src/cli/log/import.rs",
        "engine/src/exec/submit/accept.rs",
        "engine/src/exec/submit/resource.rs",
        "engine/src/exec/submit/session.rs",
        "engine/src/exec/cancel.rs",
        "engine/src/exec/recorder/append.rs",
        "engine/src/exec/recover.rs",
        "engine/src/exec/replay.rs",
        "engine/src/offline.rs",
    ];
    let mut calls = Vec::new();
    for path in files(&["engine/src", "api/src"], "rs") {
        if path.ends_with("tests.rs") {
            continue;
        }
        let path = path.display().to_string();
        let text = read(&path);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if ["log.append(", "log().append(", "Append::of("]
            .iter()
            .any(|call| code.contains(call))
        {
            calls.push(path);
        }
    }
    calls.sort();
    let mut expected = allowed.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(
        calls, expected,
        "records come from what is submitted or cancelled, what clients do to resources, what a run does, what recovery closes, from exports, and from what a trim must not lose; a replay has a log of its own"
    );
}

#[test]
fn only_the_adapter_of_providers_knows_what_it_is_built_on() {
    let adapter = Path::new("engine/src/model/providers");
    let mut found = 0;
    for path in files(&["log", "engine", "api", "bench", "tests"], "rs") {
        // Taken apart, so that this file names nothing.
        if !read(&path).contains(&["rig", "_core"].concat()) {
            continue;
        }
        found += 1;
        let inside = path.starts_with(adapter) || path == adapter.with_extension("rs");
        assert!(inside, "{} names the library behind the models", path.display());
    }
    assert!(found > 3, "the check reads files");
}

#[test]
fn every_kind_is_in_the_records_page_and_no_other() {
    let page = read("docs/RECORDS.md");
    let row = |cells: &[&str]| match cells {
        ["", number, name, replay, _, ""] => {
            Some((number.parse::<u16>().ok()?, (*name).to_owned(), (*replay).to_owned()))
        }
        _ => None,
    };
    let rows = page
        .lines()
        .filter_map(|line| row(&line.split('|').map(str::trim).collect::<Vec<_>>()));
    let engines = flowstate_engine::record::KINDS.iter();
    let known = engines.map(|info| {
        (
            info.kind.0,
            info.name.to_owned(),
            format!("{:?}", info.replay).to_lowercase(),
        )
    });
    let own = [
        (Kind::LOG_RECOVERED, "LogRecovered"),
        (Kind::STREAM_TRIMMED, "StreamTrimmed"),
        (Kind::STREAM_DELETED, "StreamDeleted"),
        (Kind::PRINCIPAL_ERASED, "PrincipalErased"),
    ];
    let own = own.map(|(kind, name)| (kind.0, name.to_owned(), "observed".to_owned()));
    assert_eq!(
        rows.collect::<Vec<_>>(),
        own.into_iter().chain(known).collect::<Vec<_>>()
    );
}

#[test]
fn versions_stand_in_the_root_manifest_only() {
    for folder in ["log", "engine", "api", "tests", "tests/exports", "bench"] {
        let manifest = read(format!("{folder}/Cargo.toml"));
        let (_, dependencies) = manifest.split_once("dependencies]").expect("dependencies");
        for line in dependencies.lines().filter(|line| line.contains('=')) {
            let plain =
                line.contains(".workspace = true") || line.contains("workspace = true") || !line.contains("version");
            assert!(plain, "{folder}/Cargo.toml has a version: {line}");
        }
    }
}
