//! Who is served without authentication.

use flowstate::ServeError;
use flowstate::auth::ApiKeys;
use tokio::net::TcpListener;

use super::builder;

#[tokio::test]
async fn strangers_are_not_served_by_accident() {
    for (address, is_loopback) in [
        ("127.0.0.1:0", true),
        ("127.8.9.1:0", true),
        ("0.0.0.0:0", false),
        ("[::]:0", false),
    ] {
        for (builder, is_served) in [
            (builder(), is_loopback),
            (builder().authenticate(ApiKeys::new()), true),
            (builder().allow_unauthenticated_public(), true),
        ] {
            // Some machines have no IPv6.
            let Ok(listener) = TcpListener::bind(address).await else {
                continue;
            };
            let server = builder.build().expect("a server");
            let served = server.serve_on(listener, std::future::ready(())).await;
            match served {
                Ok(()) => assert!(is_served, "{address} is served"),
                Err(ServeError::Exposed(at)) => {
                    assert!(!is_served && !at.ip().is_loopback(), "{address} is not served")
                }
                Err(other) => panic!("{address}: {other}"),
            }
        }
    }
}
