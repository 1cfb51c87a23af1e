//! `keys`: a file that a server lets callers in by, and nobody else may read.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::json;

use super::{Ran, prepared, ran, serve, text};

#[test]
fn a_key_is_shown_once_and_lets_its_user_in_until_it_is_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, file) = (folder.path().join("data"), folder.path().join("keys.json"));
    let with = ["--file", text(&file)];
    let ann = [
        "keys",
        "new",
        "--name",
        "ann's",
        "--tenant",
        "acme",
        "--user",
        "ann",
        "--project",
        "p",
    ];
    let made = ran(&data, &[&ann[..], &with].concat()).with(0);
    let key = made.stdout.trim_end();
    assert!(
        key.starts_with("fsk_") && !made.stderr.contains(key),
        "{}{}",
        made.stdout,
        made.stderr
    );
    assert_eq!(std::fs::metadata(&file).expect("the file").mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&file).expect("text").contains(key));
    let bob = [
        "keys",
        "new",
        "--name",
        "bob's",
        "--user",
        "bob",
        "--operator",
        "--json",
    ];
    let made = ran(&data, &[&bob[..], &with].concat()).with(0).json();
    assert!(
        made["key"].as_str().is_some_and(|key| key.starts_with("fsk_")) && made["name"] == "bob's",
        "{made}"
    );

    let again = ran(&data, &[&ann[..], &with].concat()).with(2);
    assert!(again.stderr.contains("another key's"), "{}", again.stderr);
    let listed = ran(&data, &[&["keys", "list", "--json"], &with[..]].concat()).with(0);
    assert!(!listed.stdout.contains("hash"), "{}", listed.stdout);
    let expected = [
        json!({"name": "ann's", "tenant": "acme", "user": "ann", "projects": ["p"], "operator": false}),
        json!({"name": "bob's", "tenant": "", "user": "bob", "projects": [], "operator": true}),
    ];
    assert_eq!(listed.lines(), expected);

    let server = serve(&data, &["--api-keys", text(&file)]);
    let chat = [
        "run",
        "hello-chat",
        "chat",
        "--input",
        r#"{"message": "hello"}"#,
        "--url",
        &server.url,
        "--session",
        "s",
        "--json",
    ];
    let refused = ran(&data, &chat).with(1);
    assert_eq!(refused.failure()["code"], "unauthenticated", "{}", refused.stderr);
    let let_in = |variable: &str, arguments: &[&str]| {
        let mut command = prepared(&data, arguments);
        Ran::of(command.env(variable, key).output().expect("the binary starts"))
    };
    let_in("FLOWSTATE_API_KEY", &chat).with(0);
    let other = [&chat[..], &["--api-key-env", "ANNS_KEY"]].concat();
    let_in("ANNS_KEY", &other).with(0);
    let listed = let_in("FLOWSTATE_API_KEY", &["sessions", "--json", "--url", &server.url])
        .with(0)
        .json();
    assert_eq!((&listed["userId"], &listed["requestCount"]), (&json!("ann"), &json!(2)));
    drop(server);

    // Without a credential, whose they are is said; and to open the folder is to see all of it.
    assert_eq!(ran(&data, &["sessions", "--json"]).with(0).stdout, "");
    assert_eq!(
        ran(&data, &["sessions", "--json", "--as", "acme/ann"]).with(0).json()["id"],
        "s"
    );

    let removed = [&["keys", "remove", "ann's"], &with[..]].concat();
    ran(&data, &removed).with(0);
    ran(&data, &removed).with(2);
    let listed = ran(&data, &[&["keys", "list"], &with[..]].concat()).with(0);
    assert_eq!(listed.stdout, "bob's  bob  operator\n");
}

#[test]
fn a_file_that_others_can_read_is_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, file) = (folder.path().join("data"), folder.path().join("keys.json"));
    std::fs::write(&file, r#"{"keys":[]}"#).expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("permissions");
    let new = ["keys", "new", "--name", "n", "--user", "u", "--file", text(&file)];
    let refused = ran(&data, &new).with(1);
    assert!(
        refused.stderr.contains("chmod 600") && refused.stdout.is_empty(),
        "{}",
        refused.stderr
    );
    assert_eq!(std::fs::read_to_string(&file).expect("text"), r#"{"keys":[]}"#);
    for wrong in [
        &["keys", "new", "--name", "n", "--user", "u"][..],
        &["keys", "list", "--file", "nowhere"],
    ] {
        ran(&data, wrong).with(2);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_key_that_could_not_be_shown_is_not_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, file) = (folder.path().join("data"), folder.path().join("keys.json"));
    let new = ["keys", "new", "--name", "n", "--user", "u", "--file", text(&file)];
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let output = prepared(&data, &new).stdout(full.expect("the device")).output();
    let failed = Ran::of(output.expect("the binary starts")).with(1);
    assert!(failed.stderr.contains("could not be shown"), "{}", failed.stderr);
    assert_eq!(ran(&data, &["keys", "list", "--file", text(&file)]).with(0).stdout, "");
    ran(&data, &new).with(0);
}
