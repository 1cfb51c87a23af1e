//! Patterns: what is one, what they have, and which share a key.

use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("a pattern")
}

#[test]
fn each_kind_has_its_keys_and_no_others() {
    for (text, has, has_not) in [
        (
            "files/*",
            &["files/a", "files/*"][..],
            &["files", "files/", "files/a/b", "a", "files//a", "Files/a"][..],
        ),
        (
            "files/**",
            &["files/a", "files/a/b/c"],
            &["files", "files/", "files//a", "files/a/", "file/a"],
        ),
        ("*", &["a"], &["", "a/b"]),
        ("**", &["a", "a/b"], &["", "a//b", "/a"]),
        (
            "[topic]/observations",
            &["tea/observations"],
            &["tea", "/observations", "tea/observations/1", "a/b/observations"],
        ),
        ("a/[x]/b.c/[y_2]", &["a/1/b.c/2"], &["a/1/bxc/2", "a/1/b.c"]),
    ] {
        let pattern = pattern(text);
        for key in has {
            assert!(pattern.matches(key), "{text} has {key:?}");
        }
        for key in has_not {
            assert!(!pattern.matches(key), "{text} has not {key:?}");
        }
    }
}

#[test]
fn what_is_no_pattern_is_told_with_what_would_be() {
    use PatternProblem::*;
    let long = "a/".repeat(PATTERN_LEN_MAX / 2) + "*";
    for (text, problem) in [
        ("", Empty),
        (&long, TooLong(PATTERN_LEN_MAX + 1)),
        ("/files/*", EmptySegment),
        ("files/*/", EmptySegment),
        ("files//*", EmptySegment),
        ("files/*.md", Segment("*.md".into())),
        ("files/***", Segment("***".into())),
        ("fi les/*", Segment("fi les".into())),
        ("[a]b/c", Segment("[a]b".into())),
        ("[a][b]", Parameter("a][b".into())),
        ("déjà/*", Segment("déjà".into())),
        ("a\\*", Segment("a\\*".into())),
        ("files/../*", Dots("..".into())),
        ("./*", Dots(".".into())),
        ("[]/a", Parameter("".into())),
        ("[1a]/a", Parameter("1a".into())),
        ("[a-b]/a", Parameter("a-b".into())),
        ("[a]/[b]/[a]", DuplicateParameter("a".into())),
        ("a/*/b", WildcardNotLast),
        ("a/**/b", WildcardNotLast),
        ("**/*", WildcardNotLast),
        ("[a]/*", Mixed),
        ("[a]/b/**", Mixed),
        ("files/readme.md", Fixed),
    ] {
        let error = Pattern::parse(text).expect_err(text);
        assert_eq!((error.problem, error.pattern.as_str()), (problem, text));
    }
    let told = Pattern::parse("files/*.md").expect_err("no pattern").to_string();
    assert!(
        told.starts_with("\"files/*.md\" is no pattern: the segment \"*.md\""),
        "{told}"
    );
    assert_eq!(pattern(&long[2..]).as_str().len(), PATTERN_LEN_MAX - 1);
}

#[test]
fn the_prefix_is_what_all_keys_begin_with() {
    let texts = ["files/*", "a/b.c/**", "*", "[topic]/observations", "notes/[topic]/x"];
    let prefixes = ["files/", "a/b.c/", "", "", "notes/"];
    assert_eq!(texts.map(|text| pattern(text).literal_prefix().to_owned()), prefixes);
    assert_eq!(pattern("a/[x]/[y]").parameters().collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(pattern("a/*").parameters().count(), 0);
}

/// All texts of up to three segments.
fn all(segments: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = segments.iter().map(|&segment| segment.into()).collect();
    let mut last = all.clone();
    for _ in 0..2 {
        let longer = last
            .iter()
            .flat_map(|text| segments.iter().map(move |segment| format!("{text}/{segment}")));
        last = longer.collect();
        all.extend(last.iter().cloned());
    }
    all
}

#[test]
fn patterns_overlap_if_and_only_if_some_key_is_in_both() {
    let patterns = all(&["a", "b", "[x]", "[y]", "*", "**"]);
    let patterns: Vec<Pattern> = patterns.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
    assert_eq!(patterns.len(), 62);
    let keys = all(&["a", "b", "c"]);
    for one in &patterns {
        for other in &patterns {
            let shared = keys.iter().find(|key| one.matches(key) && other.matches(key));
            assert_eq!(one.overlaps(other), shared.is_some(), "{one} and {other}: {shared:?}");
        }
    }
}
