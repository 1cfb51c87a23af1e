//! What changes a folder: trim, cluster, rebuild.

use std::fs;

use super::{chat, lines, refused, serve, stop, told, varied};

#[tokio::test(flavor = "multi_thread")]
async fn trimming_and_clustering_give_records_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    varied(folder).await;
    let trimmed = told(folder, &["trim", "--keep-last", "10", "--stream", "many"]);
    assert_eq!(
        (trimmed["oldest_before"].as_u64(), trimmed["oldest"].as_u64()),
        (Some(1), Some(591)),
        "{trimmed}"
    );
    let clustered = told(folder, &["cluster"]);
    assert_eq!(clustered["records_dropped"], 590, "{clustered}");
    let (left, _) = lines(folder, &["tail", "--stream", "many", "--from", "1"]);
    assert_eq!(left[0]["position"], 591);
    // A stream that is forked is not trimmed, and the others are.
    let (all, code) = lines(folder, &["trim", "--all", "--before", "2"]);
    assert_eq!((all.len(), code), (0, Some(2)), "positions are of one stream");
    let (all, code) = lines(folder, &["trim", "--all", "--older-than", "0s"]);
    let refused: Vec<_> = all.iter().filter(|line| line["error"].is_string()).collect();
    assert_eq!((all.len(), code, refused.len()), (4, Some(1), 1), "{all:?}");
    assert_eq!(refused[0]["stream"]["name"], "a");
    let stats = told(folder, &["stats"]);
    assert!(stats["compression_ratio"].as_f64() > Some(0.0), "{stats}");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_made_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let server = serve(folder);
    chat(&server, "u", "s1", "r1", "one").await;
    chat(&server, "u", "s2", "r2", "two").await;
    stop(server);
    fs::write(folder.join("views/extra"), "what does not belong there").expect("write");
    let rebuilt = told(folder, &["rebuild"]);
    assert_eq!(rebuilt["streams"], 2, "{rebuilt}");
    assert!(rebuilt["records"].as_u64() > Some(20) && rebuilt["seconds"].as_f64() > Some(0.0));
    assert!(!folder.join("views/extra").exists(), "the old store is still there");
    let server = serve(folder);
    let url = format!("{}/api/flows/sessions", server.url);
    let listed = flowstate_tests::http::fetch(url)
        .await
        .expect("a list")
        .text()
        .await
        .expect("a body");
    assert!(listed.contains("\"s1\"") && listed.contains("\"s2\""), "{listed}");
    stop(server);
    let said = refused(&folder.join("views"), &["rebuild"], 2);
    assert!(said.contains("no log"), "{said}");
}
