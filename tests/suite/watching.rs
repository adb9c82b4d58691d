//! Folders that a fleet's producer watches, beside a list that is still being written.

use std::io::Write as _;

use crate::services::{Database, Fleet};
use crate::world::{CHART, NOTE, Service, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_watches_takes_new_files_and_a_list_that_does_not_end() {
    let fleet = Fleet::new(Database::Sqlite).await;
    let _collector = fleet.start("ocelli-collector");
    let world = &fleet.world;
    world.samples("in", &[NOTE]);
    world.samples("elsewhere", &[CHART]);
    let (list, mut writer) = std::io::pipe().unwrap();
    let mut command = world.command("ocelli-producer");
    command.args(["--watch", "in", "-"]).stdin(list);
    let producer = Service::start(&mut command, world.path("producer.log"));
    let images = |count: u64| {
        until(&format!("{count} images are known"), || {
            world.json(["status", "--json"])["images"].as_u64() == Some(count)
        });
    };
    images(1);
    // The first line says how the list is written.
    writeln!(writer, "{{\"path\":\"elsewhere/{CHART}\"}}").unwrap();
    images(2);
    world.many("in", 2);
    images(4);
    let late = world.many("late", 3).join("note-00002.png");
    writeln!(writer, "{{\"path\":\"{}\"}}", late.display()).unwrap();
    images(5);
    assert_eq!(producer.stop(), 0);
}
