//! `ocelli audit`: what was accepted is accounted for to the last image, and what is wrong is found.

use ocelli_testkit::servers::execute_in_file;
use serde_json::Value;

use crate::services::{Database, Fleet};
use crate::world::{NO_TEXT, NOTE, until};

/// Every count of an analyzer in a batch.
const COUNTS: [&str; 6] = ["done", "empty", "skipped", "failed", "refused", "open"];

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_and_what_runs_add_up_to_what_was_accepted_by_batch_and_analyzer() {
    let mut fleet = Fleet::new(Database::Postgres).await;
    fleet.world.settings("[analyzers.tesseract-ocr]\nchildren = 2");
    let _collector = fleet.start("ocelli-collector");
    fleet.world.many("in", 5);
    fleet.world.samples("other", &[NOTE, NO_TEXT]);
    for folder in ["in", "other"] {
        fleet.produce(folder);
    }
    // Readings that never end.
    let worker = fleet.null_worker("", &["--hang", "1000", "--readers"]);
    let mut audit = Value::Null;
    until("some run", || {
        audit = fleet.world.json(["audit", "--json"]);
        audit["running"]["tesseract-ocr"].as_u64() >= Some(2)
    });
    let batches = audit["batches"].as_array().unwrap();
    let of = |batch: &Value, key: &str| batch["analyzers"]["tesseract-ocr"][key].as_u64().unwrap();
    assert_eq!(batches.len(), 2, "{audit}");
    for (batch, images) in batches.iter().zip([2, 5]) {
        assert_eq!(of(batch, "accepted"), images, "{audit}");
        assert_eq!(COUNTS.iter().map(|key| of(batch, key)).sum::<u64>(), images, "{audit}");
    }
    // wanted = done + empty + skipped + failed + refused + waiting + running
    let said = fleet.world.ocelli(["audit"]);
    assert!(said.code == 0 && said.out.contains("waiting  running"), "{said:?}");
    let row = said.out.lines().find(|line| line.starts_with("tesseract-ocr")).unwrap();
    let counts: Vec<u64> = row.split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
    assert_eq!((counts[0], counts[1..].iter().sum()), (7, 7), "{said:?}");
    assert!(counts[7] >= 2, "{said:?}");
    worker.kill();
    until("nobody is there, so all of it waits", || {
        fleet.world.json(["audit", "--json"])["running"]["tesseract-ocr"] == 0
    });
    fleet.world.audit();
}

/// Damages one archive after the other, and looks for the words that name it.
async fn found_out(database: Database, damages: &[(&str, &str)]) {
    let fleet = Fleet::new(database).await;
    fleet.world.many("in", 2);
    let _services = [fleet.start("ocelli-collector"), fleet.null_worker("", &[])];
    assert_eq!(fleet.produce("in")["jobs"], 2);
    fleet.finished(2, 1);
    for (statement, words) in damages {
        match &fleet.postgres {
            Some(server) => server.execute(statement).await,
            None => execute_in_file(&fleet.world.path("c.db"), statement).await,
        }
        let said = fleet.world.ocelli(["audit"]);
        assert_eq!(said.code, 1, "{statement}: {said:?}");
        assert!(said.out.contains(words), "{statement}: {said:?}");
        assert!(!said.out.contains("everything adds up"), "{said:?}");
    }
}

/// Each makes one thing wrong that the one before did not.
const DAMAGES: [(&str, &str); 4] = [
    ("UPDATE images SET complete = (1 = 0)", "noted as incomplete although no want is open"),
    ("DELETE FROM analyses", "2 images accepted for tesseract-ocr, but 0 accounted for"),
    ("DELETE FROM sightings", "images are in a batch but were seen nowhere"),
    ("DELETE FROM images", "references of batches belong to an image without intake"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_postgres_archive_ends_the_audit_with_1_and_the_difference() {
    found_out(Database::Postgres, &DAMAGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_sqlite_archive_ends_the_audit_with_1_and_the_difference() {
    found_out(Database::Sqlite, &DAMAGES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_marked_complete_wrongly_ends_the_audit_with_1() {
    let fleet = Fleet::new(Database::Postgres).await;
    fleet.world.many("in", 1);
    let _collector = fleet.start("ocelli-collector");
    assert_eq!(fleet.produce("in")["jobs"], 1);
    until("it is known", || fleet.world.json(["status", "--json"])["images"] == 1);
    fleet.postgres.as_ref().unwrap().execute("UPDATE images SET complete = (1 = 1)").await;
    let said = fleet.world.ocelli(["audit"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("noted as complete although a want is open"), "{said:?}");
}
