//! A PostgreSQL server that dies, freezes and comes back: every call says so, nothing acknowledged is lost, and the same
//! catalog goes on without being opened again.

use std::time::Duration;

use ocelli_catalog::{Catalog, CatalogError, CatalogOptions};
use ocelli_core::Digest;
use ocelli_core::wire::Message;
use ocelli_testkit::servers::OwnPostgres;

use crate::words::*;

#[tokio::test]
async fn a_server_that_dies_and_returns_has_everything_that_was_acknowledged() {
    let mut server = OwnPostgres::start().await;
    let options =
        CatalogOptions { operation_timeout: Duration::from_secs(3), ..CatalogOptions::default() };
    let catalog = Catalog::open(&server.url(), options).await.unwrap();
    let first = [Message::Intake(intake("a", &[OCR]))];
    let second = [partial("a", OCR, done("hello"), 1)];
    catalog.apply(&first).await.unwrap();
    server.kill();
    let error = catalog.apply(&second).await.unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    server.start_again().await;
    let applied = catalog.apply(&second).await.unwrap();
    assert_eq!(applied.completed, [Digest::of(b"a")]);

    server.pause();
    let error = catalog.apply(&second).await.unwrap_err();
    assert!(matches!(error, CatalogError::Busy { .. }) && error.is_temporary(), "{error:?}");
    server.resume();
    assert!(catalog.apply(&second).await.unwrap().completed.is_empty());
    assert!(catalog.audit().await.unwrap().problems.is_empty());
}
