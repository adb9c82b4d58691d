//! `ocelli migrate`, `backup` and `restore`, as a user types them.

use crate::world::{CHART, NOTE, World};

#[test]
fn an_archive_is_backed_up_restored_elsewhere_and_carried_into_postgres() {
    let world = World::new();
    world.samples("in", &[CHART, NOTE]);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);

    let said = world.ocelli(["backup", "copy.db"]);
    assert!(said.code == 0 && said.err.contains("copy.db; it was checked"), "{said:?}");
    let again = world.ocelli(["backup", "copy.db"]);
    assert!(again.code == 2 && again.err.contains("is there already"), "{again:?}");
    let over = world.ocelli(["restore", "copy.db"]);
    assert!(over.code == 2 && over.err.contains("already holds an archive"), "{over:?}");

    let said = world.ocelli(["--data", "elsewhere", "restore", "copy.db"]);
    assert!(said.code == 0 && said.out.starts_with("2 images ("), "{said:?}");
    let found = world.json(["--data", "elsewhere", "search", "scaling", "--json"]);
    assert_eq!(found["total"]["records"], 1, "{found}");
    assert_eq!(world.ocelli(["--data", "elsewhere", "audit"]).code, 0);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(ocelli_testkit::servers::postgres());
    let said = world.ocelli(["migrate", "--to", &server.url]);
    assert!(said.code == 0 && said.out.contains("compared and equal"), "{said:?}");
    assert!(said.err.contains("set catalog.url to it"), "{said:?}");
    let again = world.ocelli(["migrate", "--to", &server.url]);
    assert!(again.code == 2 && again.err.contains("already holds an archive"), "{again:?}");
    let mut command = world.command("ocelli");
    command.env("OCELLI_CATALOG__URL", &server.url).args(["search", "scaling", "--json"]);
    let out = command.output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(found["total"]["records"], 1, "{found}");
    let missing = world.ocelli(["restore", "nothing.db"]);
    assert!(missing.code == 4 && missing.err.contains("nothing.db"), "{missing:?}");
}
