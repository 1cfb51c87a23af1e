//! Settings: who says what, where it is shown, and that it counts.

use std::io::{BufRead, BufReader};
use std::path::Path;

use flowstate_tests::http::client;
use serde_json::{Value, json};

use super::{Ran, prepared, ran, text};

/// What tokens are signed with.
const SECRET: &str = "a secret of more than thirty-two bytes, for tests";
/// One of ann's, until 2100.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJleHAiOjQxMDI0NDQ4MDB9.3_OGge1r8kW09kc2lHgaRv6Q106DL0eshp3n06ZDYUU";

/// What `config show` says of a setting: its value and its origin.
fn shown(ran: &Ran, setting: &str) -> (Value, String) {
    let lines = ran.lines();
    let line = lines
        .iter()
        .find(|line| line["setting"] == setting)
        .unwrap_or_else(|| panic!("{setting} is not shown"));
    (
        line["value"].clone(),
        line["origin"].as_str().expect("an origin").to_owned(),
    )
}

#[test]
fn what_is_said_nearer_counts_and_where_it_was_said_is_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let file = folder.path().join("flowstate.toml");
    std::fs::write(
        &file,
        "listen = \"127.0.0.1:1\"\nmodel = \"scripted\"\nallow_host = [\"a\", \"b\"]\ntrace_access = true\n\n[limits]\nbody_bytes = \"2MiB\"\ncalls = 5\n",
    )
    .expect("written");
    let show = |arguments: &[&str]| {
        let mut command = prepared(&data, &[&["config", "show", "--json"], arguments].concat());
        let output = command
            .env("FLOWSTATE_MODEL", "openai/gpt-5")
            .env("FLOWSTATE_LIMITS_CALLS", "6")
            .output();
        Ran::of(output.expect("the binary starts")).with(0)
    };
    let said = |value: Value, origin: &str| (value, origin.to_owned());
    let from_file = show(&["--limit", "calls=7", "--trace-access=false"]);
    assert_eq!(
        shown(&from_file, "listen"),
        said(json!("127.0.0.1:1"), "flowstate.toml:1")
    );
    assert_eq!(
        shown(&from_file, "model"),
        said(json!("openai/gpt-5"), "FLOWSTATE_MODEL")
    );
    assert_eq!(
        shown(&from_file, "allow_host"),
        said(json!(["a", "b"]), "flowstate.toml:3")
    );
    assert_eq!(shown(&from_file, "trace_access"), said(json!(false), "--trace-access"));
    assert_eq!(
        shown(&from_file, "limits.body_bytes"),
        said(json!("2MiB"), "flowstate.toml:7")
    );
    assert_eq!(shown(&from_file, "limits.calls"), said(json!(7), "--limit"));
    assert_eq!(shown(&from_file, "limits.streams"), said(json!(10_000), "default"));
    assert_eq!(shown(&from_file, "api_keys"), said(Value::Null, "default"));
    assert_eq!(
        shown(&from_file, "data_dir"),
        said(json!(text(&data)), "FLOWSTATE_DATA_DIR")
    );
    assert_eq!(
        shown(&show(&[]), "limits.calls"),
        said(json!(6), "FLOWSTATE_LIMITS_CALLS")
    );

    // What is shown says the same when it is a file.
    let plain = ran(&data, &["config", "show"]).with(0).stdout;
    assert!(
        plain.contains("listen = \"127.0.0.1:1\"") && plain.contains("# flowstate.toml:1"),
        "{plain}"
    );
    let copy = folder.path().join("copy.toml");
    std::fs::write(&copy, &plain).expect("written");
    let again = ran(&data, &["config", "show", "--config", text(&copy), "--json"]).with(0);
    for line in ran(&data, &["config", "show", "--json"]).with(0).lines() {
        let setting = line["setting"].as_str().expect("a name");
        assert_eq!(shown(&again, setting).0, line["value"], "{setting}");
    }
}

#[test]
fn what_is_no_setting_is_refused_by_every_command_that_reads_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let file = folder.path().join("s.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:0\"\nlisten_on = 1\n").expect("written");
    let with = ["--config", text(&file)];
    for call in [
        &["config", "check"][..],
        &["sessions"],
        &["run", "work", "fail"],
        &["serve"],
    ] {
        let refused = ran(&data, &[call, &with].concat()).with(2);
        let expected = format!(
            "{}:2: there is no setting `listen_on`; did you mean `listen`?",
            text(&file)
        );
        assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
    }
    let missing = ran(&data, &["config", "check", "--config", "nowhere.toml", "--json"]).with(2);
    assert!(
        missing.failure()["error"]
            .as_str()
            .is_some_and(|error| error.contains("nowhere.toml"))
    );
    let limit = ran(&data, &["config", "check", "--limit", "call=5"]).with(2);
    assert!(limit.stderr.contains("did you mean calls?"), "{}", limit.stderr);
    let checked = ran(&data, &["config", "check", "--json"]).with(0).json();
    assert_eq!(
        (&checked["ok"], &checked["flows"][0]),
        (&json!(true), &json!("work/default"))
    );
    let exposed = ran(&data, &["config", "check", "--listen", "0.0.0.0:4400"]).with(2);
    assert!(exposed.stderr.contains("--api-keys"), "{}", exposed.stderr);
    assert!(!data.exists(), "nothing was opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_its_settings_and_says_where_it_is_in_json() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, secret) = (folder.path().join("data"), folder.path().join("secret"));
    std::fs::write(&secret, SECRET).expect("written");
    let tokens = ["--jwt-key", text(&secret), "--jwt-algorithm", "HS256"];
    let open = ran(&data, &[&["serve", "--listen", "127.0.0.1:0"], &tokens[..]].concat()).with(2);
    assert!(open.stderr.contains("chmod 600"), "{}", open.stderr);
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("permissions");
    let no_algorithm = ran(&data, &["config", "check", "--jwt-key", text(&secret)]).with(2);
    assert!(
        no_algorithm.stderr.contains("--jwt-algorithm"),
        "{}",
        no_algorithm.stderr
    );
    let no_key = ran(&data, &["config", "check", "--jwt-issuer", "me"]).with(2);
    assert!(no_key.stderr.contains("--jwt-key"), "{}", no_key.stderr);
    let no_keys = ran(&data, &["config", "check", "--api-keys", "nowhere.json"]).with(2);
    assert!(no_keys.stderr.contains("--api-keys"), "{}", no_keys.stderr);

    let serve = [
        "serve",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--store",
        "memory",
        "--limit",
        "uri_bytes=200",
    ];
    let mut server = prepared(&data, &[&serve[..], &tokens].concat())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(server.stdout.take().expect("stdout")).lines();
    let told: Value = serde_json::from_str(&lines.next().expect("a line").expect("a line")).expect("JSON");
    let url = told["listening"].as_str().expect("an address").to_owned();
    assert_eq!((&told["data_dir"], &told["profile"]), (&Value::Null, &json!("default")));
    let get = async |path: &str, token: Option<&str>| {
        let call = client().get(format!("{url}{path}"));
        let call = match token {
            Some(token) => call.bearer_auth(token),
            None => call,
        };
        call.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(get("/api/flows", None).await, 401);
    assert_eq!(get("/api/flows", Some(TOKEN)).await, 200);
    assert_eq!(get(&format!("/api/flows?{}", "x".repeat(200)), Some(TOKEN)).await, 414);
    server.kill().expect("killed");
    server.wait().expect("it ends");
    assert!(!data.exists(), "memory keeps nothing");
}

#[test]
fn words_are_completed_in_each_shell() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef own-command"),
        ("fish", "complete -c own-command"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let script = ran(&folder.path().join("data"), &["completions", shell]).with(0).stdout;
        assert!(script.contains(part) && script.contains("trace-access"), "{shell}");
    }
    ran(&folder.path().join("data"), &["completions", "tcsh"]).with(2);
}

/// The command of an application that keeps everything in a folder of its own, and has diagnostics of its own.
fn of_own(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = prepared(&folder.join("data"), arguments);
    let command = command
        .env_remove("FLOWSTATE_DATA_DIR")
        .env("OWN_STORE", folder.join("own"))
        .env("OWN_SUBSCRIBER", "yes");
    Ran::of(command.output().expect("the binary starts"))
}

#[test]
fn an_application_may_have_a_store_and_a_subscriber_of_its_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let many = ["run", "work", "many", "--input", "3", "--session", "s"];
    let run = of_own(folder.path(), &many).with(0);
    assert_eq!(of_own(folder.path(), &["sessions", "--json"]).with(0).json()["id"], "s");
    let told = of_own(folder.path(), &["tail", "s", "--json"]).with(0);
    assert_eq!(told.lines(), run.lines());
    for memory in [&["--memory"][..], &["--store", "memory"]] {
        let refused = of_own(folder.path(), &[&many[..], memory].concat()).with(2);
        assert!(refused.stderr.contains(memory[0]), "{}", refused.stderr);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_is_a_failure_and_a_reader_that_has_gone_is_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    for arguments in [
        &["completions", "bash"][..],
        &["config", "show"],
        &["config", "show", "--json"],
        &["run", "work", "many", "--input", "3", "--memory", "--json"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let output = prepared(&data, arguments).stdout(full.expect("the device")).output();
        let failed = Ran::of(output.expect("the binary starts")).with(1);
        assert!(failed.stderr.contains("stdout"), "{arguments:?}: {}", failed.stderr);

        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = prepared(&data, arguments).stdout(writer).output();
        let gone = Ran::of(output.expect("the binary starts"));
        assert_eq!(gone.stderr, "", "{arguments:?}");
    }
}
