//! Keys: what is made plain, what is refused, and what clients may mean.

use proptest::prelude::*;

use super::error::SHOWN_MAX;
use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect("a pattern")
}

fn stored(of: &str, key: impl Into<Key>) -> String {
    let key = pattern(of).storage_key(&key.into());
    key.expect("a key").as_str().to_owned()
}

fn refused(of: &str, key: impl Into<Key>) -> KeyProblem {
    pattern(of).storage_key(&key.into()).expect_err("a problem").problem
}

fn candidates(of: &str, topic: &str) -> Vec<String> {
    let keys = pattern(of).client_key(topic).expect("a key");
    keys.iter().map(StorageKey::to_string).collect()
}

#[test]
fn text_stands_for_the_wildcard_and_parameters_for_themselves() {
    assert_eq!(stored("files/*", "readme.md"), "files/readme.md");
    assert_eq!(stored("files/**", String::from("src/main.rs")), "files/src/main.rs");
    assert_eq!(stored("*", "a"), "a");
    assert_eq!(stored("[topic]/observations", [("topic", "tea")]), "tea/observations");
    let two = Key::params([("y", "2"), ("x", "1")]);
    assert_eq!(stored("a/[x]/b/[y]", two), "a/1/b/2");
    assert_eq!(stored("a/[x]", vec![("x", String::from("two words"))]), "a/two words");
    // A whole key is what differs, too.
    assert_eq!(stored("files/**", "files/a"), "files/files/a");
    assert_eq!(refused("files/*", "files/a"), KeyProblem::Levels);
}

#[test]
fn what_is_written_in_many_ways_is_stored_in_one() {
    for written in [
        "src/main.rs",
        "/src/main.rs",
        "src/main.rs/",
        "src//main.rs",
        "\\src\\main.rs",
        "//src\\/main.rs//",
    ] {
        assert_eq!(stored("files/**", written), "files/src/main.rs");
    }
    assert_eq!(stored("files/*", "/a/"), "files/a");
    // The accent as a character of its own, and as part of the letter.
    assert_eq!(stored("files/*", "cafe\u{301}"), "files/caf\u{e9}");
    assert_eq!(stored("[x]/a", [("x", "cafe\u{301}")]), "caf\u{e9}/a");
    assert_eq!(stored("files/*", "...a b.\u{1F600}"), "files/...a b.\u{1F600}");
    assert_eq!(StorageKey::parse("\\a//b/").expect("a key").as_str(), "a/b");
}

#[test]
fn what_nobody_sees_is_refused() {
    let unseen = "\0\t\n\u{1b}\u{7f}\u{85}\u{ad}\u{34f}\u{61c}\u{115f}\u{200b}\u{200d}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\
                  \u{2060}\u{2064}\u{2066}\u{3164}\u{fe0f}\u{feff}\u{fff9}\u{e0041}";
    for c in unseen.chars() {
        for of in ["files/*", "files/**"] {
            assert_eq!(
                refused(of, format!("a{c}b")),
                KeyProblem::Unseen(c),
                "{}",
                c.escape_unicode()
            );
        }
        assert_eq!(refused("[x]/a", [("x", format!("{c}a"))]), KeyProblem::Unseen(c));
        let topic = pattern("files/**").client_key(&format!("a{c}"));
        assert_eq!(topic.expect_err("a problem").problem, KeyProblem::Unseen(c));
        let whole = StorageKey::parse(&format!("a{c}"));
        assert_eq!(whole.expect_err("a problem").problem, KeyProblem::Unseen(c));
    }
}

#[test]
fn what_is_no_name_is_refused() {
    for (of, path) in [
        ("files/*", ".."),
        ("files/**", "a/../b"),
        ("files/**", "..\\a"),
        ("files/**", "a/./b"),
        ("*", "."),
    ] {
        assert!(matches!(refused(of, path), KeyProblem::Dots(_)), "{path}");
    }
    for path in ["", "/", "//", "\\", "/\\/"] {
        assert_eq!(refused("files/**", path), KeyProblem::Empty(None));
        assert_eq!(
            StorageKey::parse(path).expect_err("a problem").problem,
            KeyProblem::Empty(None)
        );
    }
    assert_eq!(refused("files/*", "a/b"), KeyProblem::Levels);
    assert_eq!(refused("files/*", "a\\b"), KeyProblem::Levels);
    assert_eq!(refused("[x]/a", [("x", "")]), KeyProblem::Empty(Some("x".into())));
    assert_eq!(refused("[x]/a", [("x", "..")]), KeyProblem::Dots("..".into()));
    for value in ["a/b", "a\\b", "/a", "a/"] {
        assert_eq!(refused("[x]/a", [("x", value)]), KeyProblem::Separator("x".into()));
    }
}

#[test]
fn a_key_is_of_the_kind_that_its_pattern_asks_for() {
    assert_eq!(
        refused("[x]/[y]", "a/b"),
        KeyProblem::NeedsParameters(vec!["x".into(), "y".into()])
    );
    assert_eq!(refused("files/*", [("x", "a")]), KeyProblem::NeedsText);
    assert_eq!(refused("[x]/[y]", [("x", "a")]), KeyProblem::Missing("y".into()));
    let none: [(&str, &str); 0] = [];
    assert_eq!(refused("[x]/a", none), KeyProblem::Missing("x".into()));
    let unknown = KeyProblem::Unknown {
        name: "z".into(),
        known: vec!["x".into()],
    };
    assert_eq!(refused("[x]/a", [("x", "a"), ("z", "b")]), unknown);
    assert_eq!(
        refused("[x]/a", [("x", "a"), ("x", "b")]),
        KeyProblem::Twice("x".into())
    );
}

#[test]
fn a_key_has_as_many_bytes_as_are_allowed_with_what_stands_before_it() {
    let most = KEY_LEN_MAX - "files/".len();
    assert_eq!(stored("files/*", "a".repeat(most)).len(), KEY_LEN_MAX);
    assert_eq!(
        refused("files/*", "a".repeat(most + 1)),
        KeyProblem::TooLong(KEY_LEN_MAX + 1)
    );
    assert_eq!(
        refused("files/*", "\u{e9}".repeat(most)),
        KeyProblem::TooLong(2 * most + 6)
    );
    let value = "a".repeat(KEY_LEN_MAX);
    assert_eq!(refused("[x]/a", [("x", value)]), KeyProblem::TooLong(KEY_LEN_MAX + 2));
    let huge = "a".repeat(1 << 20);
    let error = pattern("files/*").storage_key(&Key::from(&huge)).expect_err("too long");
    assert_eq!(error.key.len(), SHOWN_MAX);
    // Signs that are composed count as what they become.
    assert_eq!(stored("*", "e\u{301}".repeat(256)).len(), KEY_LEN_MAX);
}

#[test]
fn what_is_refused_is_told_with_what_to_do() {
    let told = |of: &str, key: Key| pattern(of).storage_key(&key).expect_err("a problem").to_string();
    assert_eq!(
        told("files/*", "a\u{202e}b".into()),
        "\"a\\u{202e}b\" is no key of \"files/*\": it has the character U+202E, which nobody sees; leave that out"
    );
    assert_eq!(
        told("[x]/a", [("x", "")].into()),
        "\"x=\" is no key of \"[x]/a\": it is empty at \"x\"; give it at least one character besides slashes"
    );
    let whole = StorageKey::parse("..").expect_err("a problem").to_string();
    assert_eq!(
        whole,
        "\"..\" is no key: the segment \"..\" is no name; write the key out in full"
    );
}

#[test]
fn a_client_may_give_the_whole_key_or_what_differs() {
    assert_eq!(candidates("files/*", "readme.md"), ["files/readme.md"]);
    assert_eq!(candidates("files/*", "/files/readme.md"), ["files/readme.md"]);
    assert_eq!(candidates("files/**", "files/a"), ["files/a", "files/files/a"]);
    assert_eq!(candidates("files/**", "files"), ["files/files"]);
    assert_eq!(candidates("**", "a/b"), ["a/b"]);
    assert_eq!(
        candidates("[topic]/observations", "tea/observations"),
        ["tea/observations"]
    );
    assert_eq!(candidates("notes/[topic]", "tea"), ["notes/tea"]);
    assert_eq!(candidates("notes/[topic]", "notes/tea"), ["notes/tea"]);
    let problem = |of: &str, topic: &str| pattern(of).client_key(topic).expect_err("a problem").problem;
    assert_eq!(problem("files/*", "a/b"), KeyProblem::NoMatch);
    assert_eq!(problem("[topic]/observations", "tea"), KeyProblem::NoMatch);
    assert_eq!(problem("files/*", "files/.."), KeyProblem::Dots("..".into()));
    let long = "a".repeat(KEY_LEN_MAX - 1);
    assert_eq!(problem("files/*", &long), KeyProblem::TooLong(KEY_LEN_MAX + 5));
    let long = format!("files/{}", "a".repeat(KEY_LEN_MAX - 6));
    assert_eq!(candidates("files/**", &long), [long]);
}

#[test]
fn the_topic_is_what_differs() {
    assert_eq!(pattern("files/**").topic("files/src/main.rs"), "src/main.rs");
    assert_eq!(pattern("notes/[topic]/x").topic("notes/tea/x"), "tea/x");
    assert_eq!(pattern("[topic]/x").topic("tea/x"), "tea/x");
}

/// Texts of characters that keys have trouble with.
fn hostile() -> impl Strategy<Value = String> {
    let some = prop_oneof![
        Just("/"),
        Just("\\"),
        Just("."),
        Just(".."),
        Just("a"),
        Just("files"),
        Just("\0"),
        Just("\u{200b}"),
        Just("\u{301}"),
        Just("e"),
        Just("="),
        Just("\u{338}"),
        Just(" "),
        Just("\u{fb2c}"),
        Just("\u{212a}"),
        Just("*"),
        Just("[x]"),
        Just("\u{1100}\u{1161}"),
    ];
    let some = proptest::collection::vec(some, 0..8).prop_map(|parts| parts.concat());
    prop_oneof![3 => some, 1 => any::<String>()]
}

/// What holds of every key that is stored.
fn check(of: &Pattern, key: &StorageKey) {
    let text = key.as_str();
    assert!(of.matches(text), "{of}: {text:?}");
    assert!(text.len() <= KEY_LEN_MAX);
    assert!(
        text.split('/').all(|segment| !matches!(segment, "" | "." | "..")),
        "{text:?}"
    );
    assert!(
        !text.contains('\\') && !text.chars().any(|c| c.is_control() || is_unseen(c)),
        "{text:?}"
    );
    assert_eq!(&StorageKey::parse(text).expect("a key"), key, "plain already");
    let meant = of.client_key(of.topic(text)).expect("what it is");
    assert!(meant.contains(key), "{meant:?} {text:?}");
    assert_eq!(&of.client_key(text).expect("itself")[0], key);
}

proptest! {
    #[test]
    fn whatever_is_asked_for_is_refused_or_plain(text in hostile(), other in hostile()) {
        for of in ["files/*", "files/**", "*", "**"] {
            let of = pattern(of);
            if let Ok(key) = of.storage_key(&text.as_str().into()) {
                check(&of, &key);
                let again = of.storage_key(&of.topic(key.as_str()).into());
                prop_assert_eq!(again.expect("a key"), key);
            }
            for key in of.client_key(&text).into_iter().flatten() {
                check(&of, &key);
            }
        }
        for of in ["[x]/observations", "files/[y]/a/[x]"] {
            let of = pattern(of);
            let params = of.parameters().map(|name| (name, if name == "x" { &text } else { &other }));
            if let Ok(key) = of.storage_key(&Key::params(params)) {
                check(&of, &key);
            }
        }
    }
}
