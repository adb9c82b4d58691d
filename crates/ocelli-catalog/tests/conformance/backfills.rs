//! Cases about backfills, on both backends.

use std::collections::BTreeSet;

use ocelli_catalog::query::Query;
use ocelli_catalog::{Backfill, BackfillState, Begun, Catalog, Extent};
use ocelli_core::claim::{Bookings, Claim, ClaimRequest};
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{AnalyzerName, Digest, Limit, Want};

use crate::claims::attempt;
use crate::words::*;
use crate::world::World;

fn digest(image: &str) -> Digest {
    Digest::of(image.as_bytes())
}

fn digests(images: &[&str]) -> BTreeSet<Digest> {
    images.iter().map(|image| digest(image)).collect()
}

fn asked(image: &str, revision: Option<u64>) -> Message {
    let revision = revision.map(crate::words::revision);
    let wants = vec![Want { analyzer: name(LLM), revision }];
    Message::Intake(Intake { wants, ..intake(image, &[]) })
}

/// The answer of this revision.
fn answer(image: &str, number: u64, text: &str, seconds: i64) -> Message {
    let mut message = partial(image, LLM, done(text), seconds);
    let Message::Partial(partial) = &mut message else { unreachable!() };
    partial.analysis.revision = revision(number);
    message
}

fn wish(label: &str, number: u128) -> Backfill {
    Backfill {
        batch: batch(number),
        name: label.to_owned(),
        analyzer: name(LLM),
        revision: revision(2),
        query: String::new(),
        state: BackfillState::Running,
        cap: None,
        created_at: at(100),
    }
}

async fn begun(catalog: &Catalog, wish: &Backfill) -> Backfill {
    match catalog.begin_backfill(wish).await.unwrap() {
        Begun::Running(backfill) => backfill,
        other => panic!("{other:?}"),
    }
}

/// Lists everything that is missing in pages of two, and adds it.
async fn fill(catalog: &Catalog, backfill: &Backfill) -> BTreeSet<Digest> {
    let query = Query::parse(&backfill.query).unwrap();
    let lack = Some((&backfill.analyzer, &backfill.revision));
    let (mut after, mut all) = (None, BTreeSet::new());
    loop {
        let page = catalog.lacking(&query, lack, after, 2).await.unwrap();
        let Some(last) = page.last() else { return all };
        assert!(page.len() <= 2 && after < Some(*last), "pages go forward");
        after = Some(*last);
        let added = catalog.add_to_backfill(backfill, &page, &[], at(100)).await.unwrap();
        all.extend(added.jobs);
    }
}

async fn sound(catalog: &Catalog) {
    assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
}

/// a: answered by revision 1. b: by revision 2. c: revision 2 is asked. d: only OCR. e: refused. f: any revision is asked.
async fn archive(world: &World) -> Catalog {
    let catalog = world.open().await;
    let refused = Intake { refusal: Some("not an image".to_owned()), ..intake("e", &[]) };
    let messages = [
        asked("a", Some(1)),
        answer("a", 1, "old words", 5),
        asked("b", Some(2)),
        answer("b", 2, "new words", 5),
        asked("c", Some(2)),
        Message::Intake(intake("d", &[OCR])),
        partial("d", OCR, done("printed"), 5),
        Message::Intake(refused),
        asked("f", None),
    ];
    assert!(catalog.apply(&messages).await.unwrap().rejected.is_empty());
    catalog
}

pub(crate) async fn a_backfill_asks_what_is_missing_once_and_older_answers_stay(world: World) {
    let catalog = archive(&world).await;
    let all = Query::parse("").unwrap();
    let extent = catalog.extent(&all, &name(LLM), Some(&revision(2))).await.unwrap();
    assert_eq!(extent, Extent { matching: 5, answered: 1, on_their_way: 2, missing: 2 });
    let printed = Query::parse("printed OR words").unwrap();
    let extent = catalog.extent(&printed, &name(LLM), Some(&revision(2))).await.unwrap();
    assert_eq!(extent, Extent { matching: 3, answered: 1, on_their_way: 0, missing: 2 });
    let backfill = begun(&catalog, &wish("new model", 9)).await;
    assert_eq!(fill(&catalog, &backfill).await, digests(&["a", "d"]));
    assert_eq!(fill(&catalog, &backfill).await, BTreeSet::new(), "run twice without effect");
    sound(&catalog).await;
    assert_eq!(
        catalog.unpublished(&backfill, 9).await.unwrap().into_iter().collect::<BTreeSet<_>>(),
        digests(&["a", "d"])
    );
    catalog.note_published(&backfill, &[digest("a"), digest("d")]).await.unwrap();
    assert!(catalog.unpublished(&backfill, 9).await.unwrap().is_empty());
    let job = catalog.open_job(&digest("a"), &name(LLM)).await.unwrap().unwrap();
    assert_eq!((job.revision, job.hold), (Some(revision(2)), None));
    let record = catalog.record(&digest("a")).await.unwrap().unwrap();
    assert!(record.current(&name(LLM)).is_none() && record.analyses.len() == 1, "it waits");
    // The answers come, and the old one stays beside the new.
    catalog.apply(&[answer("a", 2, "better words", 200), answer("d", 2, "x", 200)]).await.unwrap();
    let record = catalog.record(&digest("a")).await.unwrap().unwrap();
    assert_eq!(record.current(&name(LLM)).unwrap().revision, revision(2));
    assert_eq!(record.analyses.len(), 2);
    let page =
        crate::searching::ask(&catalog, "old is:older", ocelli_catalog::search::Sort::Oldest);
    assert_eq!(page.await.hits.len(), 1);
    let progress = catalog.backfills().await.unwrap().remove(0);
    assert_eq!((progress.images, progress.open, progress.withdrawn), (2, 0, 0));
    catalog.note_listed(&backfill, at(300)).await.unwrap();
    let audit = catalog.audit().await.unwrap();
    assert_eq!(audit.problems, Vec::<String>::new());
    let account = audit.batches.iter().find(|one| one.batch == batch(9)).unwrap();
    assert_eq!((account.reported, account.images, account.finished), (2, 2, true));
    assert_eq!(account.analyzers[&name(LLM)].done, 2);
}

pub(crate) async fn a_cancelled_backfill_gives_back_what_was_wanted_before(world: World) {
    let catalog = archive(&world).await;
    let backfill = begun(&catalog, &wish("new model", 9)).await;
    fill(&catalog, &backfill).await;
    catalog.apply(&[answer("d", 2, "x", 200)]).await.unwrap();
    catalog.set_backfill("new model", BackfillState::Cancelled).await.unwrap().unwrap();
    let added = catalog.add_to_backfill(&backfill, &[digest("a")], &[], at(150)).await.unwrap();
    assert!(added.stopped && added.jobs.is_empty());
    assert_eq!(catalog.withdraw_backfill(&backfill, 10, at(300)).await.unwrap(), 1);
    assert_eq!(catalog.withdraw_backfill(&backfill, 10, at(300)).await.unwrap(), 0);
    let record = catalog.record(&digest("a")).await.unwrap().unwrap();
    assert_eq!(record.current(&name(LLM)).unwrap().revision, revision(1), "as before");
    assert!(record.is_complete());
    // Its job is still in a queue: whoever takes it has nothing to do.
    assert_eq!(claim(&catalog, "a", 1).await, Claim::Withdrawn);
    assert_eq!(look(&catalog, "a", 1).await, Claim::Withdrawn);
    let progress = catalog.backfills().await.unwrap().remove(0);
    assert_eq!((progress.images, progress.withdrawn), (1, 1), "what was answered stays");
    sound(&catalog).await;
    // An image of which nothing was wanted before is not wanted after.
    let other = Backfill { analyzer: name("other"), ..wish("another", 10) };
    let other = begun(&catalog, &other).await;
    assert_eq!(fill(&catalog, &other).await.len(), 5);
    catalog.set_backfill("another", BackfillState::Cancelled).await.unwrap().unwrap();
    assert_eq!(catalog.withdraw_backfill(&other, 3, at(400)).await.unwrap(), 3);
    assert_eq!(catalog.withdraw_backfill(&other, 3, at(400)).await.unwrap(), 2);
    let record = catalog.record(&digest("a")).await.unwrap().unwrap();
    assert!(!record.wants.contains_key(&name("other")));
    sound(&catalog).await;
    // Begun again it asks again, and its jobs are given away.
    let again = begun(&catalog, &wish("new model", 11)).await;
    assert_eq!(again.batch, batch(9), "it is the same one");
    assert_eq!(fill(&catalog, &again).await, digests(&["a"]));
    assert!(
        matches!(claim(&catalog, "a", 2).await, Claim::Free { batch: Some(paid) } if paid == batch(9))
    );
    sound(&catalog).await;
}

fn request(image: &str, number: u128) -> ClaimRequest {
    ClaimRequest {
        job: ocelli_core::claim::JobKey {
            digest: digest(image),
            analyzer: name(LLM),
            revision: revision(2),
        },
        attempt: attempt(number),
        holder: "host:9".to_owned(),
        batch: None,
        lease: Some(std::time::Duration::from_secs(60)),
    }
}

async fn claim(catalog: &Catalog, image: &str, number: u128) -> Claim {
    let bookings = Bookings { claims: vec![request(image, number)], ..Bookings::default() };
    catalog.book(&bookings, &[]).await.unwrap().remove(0)
}

async fn look(catalog: &Catalog, image: &str, number: u128) -> Claim {
    catalog.look(vec![request(image, number)]).await.unwrap().remove(0)
}

pub(crate) async fn a_paused_backfill_and_one_at_its_cap_give_no_job_away(world: World) {
    let catalog = archive(&world).await;
    let capped = Backfill { cap: Some(Limit::Tokens(100)), ..wish("capped", 9) };
    let backfill = begun(&catalog, &capped).await;
    fill(&catalog, &backfill).await;
    catalog.set_backfill("capped", BackfillState::Paused).await.unwrap().unwrap();
    let Claim::Paused { reason, all: false } = claim(&catalog, "a", 1).await else { panic!() };
    assert!(reason.contains("'capped' is paused"), "{reason}");
    assert!(matches!(catalog.begin_backfill(&capped).await.unwrap(), Begun::Paused(_)));
    let looked = look(&catalog, "a", 1).await;
    assert!(matches!(looked, Claim::Paused { all: false, .. }), "{looked:?}");
    catalog.set_backfill("capped", BackfillState::Running).await.unwrap().unwrap();
    assert!(
        matches!(claim(&catalog, "a", 2).await, Claim::Free { batch: Some(paid) } if paid == batch(9))
    );
    // Its first answer uses the cap up.
    let mut first = paid("a", done("x"), 2, 110, 100);
    let Message::Partial(partial) = &mut first else { unreachable!() };
    partial.analysis.revision = revision(2);
    partial.analysis.provenance.batch = Some(batch(9));
    catalog.apply(&[first]).await.unwrap();
    let Claim::Paused { reason, all: false } = claim(&catalog, "d", 3).await else { panic!() };
    assert!(reason.contains("the cap of the backfill 'capped'"), "{reason}");
    // A job that came with a batch of its own is none of its business.
    let fresh = ClaimRequest { batch: Some(batch(1)), ..request("c", 4) };
    let bookings = Bookings { claims: vec![fresh], ..Bookings::default() };
    let claims = catalog.book(&bookings, &[]).await.unwrap();
    assert!(matches!(claims[0], Claim::Free { .. }), "{claims:?}");
    let progress = catalog.backfills().await.unwrap().remove(0);
    assert_eq!((progress.spent, progress.open), (Some(140), 1));
    // A higher cap lets it go on.
    begun(&catalog, &Backfill { cap: Some(Limit::Tokens(1000)), ..capped }).await;
    assert!(matches!(claim(&catalog, "d", 5).await, Claim::Free { .. }));
    sound(&catalog).await;
}

pub(crate) async fn two_backfills_of_the_same_images_at_once_ask_once(world: World) {
    let catalogs = [world.open().await, world.open().await];
    let images: Vec<String> = (0..60).map(|n| format!("image-{n}")).collect();
    let messages: Vec<_> = images.iter().map(|image| Message::Intake(intake(image, &[]))).collect();
    catalogs[0].apply(&messages).await.unwrap();
    let mut running = tokio::task::JoinSet::new();
    for (number, catalog) in (9..).zip(catalogs.clone()) {
        running.spawn(async move {
            let backfill = begun(&catalog, &wish(&format!("number {number}"), number)).await;
            fill(&catalog, &backfill).await.len()
        });
    }
    let asked: Vec<usize> = running.join_all().await;
    assert_eq!(asked.iter().sum::<usize>(), 60, "{asked:?}");
    sound(&catalogs[0]).await;
}

pub(crate) async fn a_backfill_of_another_question_does_not_take_over_a_name(world: World) {
    let catalog = archive(&world).await;
    begun(&catalog, &wish("mine", 9)).await;
    for other in [
        Backfill { analyzer: name(OCR), ..wish("mine", 10) },
        Backfill { revision: revision(3), ..wish("mine", 10) },
        Backfill { query: "cat".to_owned(), ..wish("mine", 10) },
    ] {
        let begun = catalog.begin_backfill(&other).await.unwrap();
        assert!(matches!(begun, Begun::Taken(found) if found.batch == batch(9)));
    }
    assert_eq!(catalog.set_backfill("yours", BackfillState::Paused).await.unwrap(), None);
    assert_eq!(catalog.backfills().await.unwrap().len(), 1);
}

pub(crate) async fn jobs_of_a_dependent_analyzer_wait_for_what_they_need(world: World) {
    let catalog = world.open().await;
    let messages = [
        Message::Intake(intake("read", &[OCR])),
        partial("read", OCR, done("printed"), 5),
        Message::Intake(intake("waits", &[OCR])),
    ];
    catalog.apply(&messages).await.unwrap();
    let backfill = begun(&catalog, &wish("reader", 9)).await;
    let both = [digest("read"), digest("waits")];
    let needs: [AnalyzerName; 1] = [name(OCR)];
    let added = catalog.add_to_backfill(&backfill, &both, &needs, at(100)).await.unwrap();
    assert_eq!((added.jobs, added.held), (vec![digest("read")], 1));
    assert_eq!(catalog.unpublished(&backfill, 9).await.unwrap(), [digest("read")]);
    let applied = catalog.apply(&[partial("waits", OCR, done("late"), 150)]).await.unwrap();
    assert_eq!(applied.ready, 1, "a collector enqueues it");
    sound(&catalog).await;
}

pub(crate) async fn what_answers_took_is_read_back_latest_first(world: World) {
    let catalog = archive(&world).await;
    catalog.apply(&[paid("g", done("x"), 7, 500, 1000)]).await.unwrap();
    let all = catalog.measured(&name(LLM), None, 2).await.unwrap();
    assert_eq!((all.len(), all[0].at, all[0].provenance.cost_micros), (2, at(500), Some(1000)));
    let of_this = catalog.measured(&name(LLM), Some(&revision(2)), 9).await.unwrap();
    assert_eq!(of_this.len(), 1);
    assert!(catalog.measured(&name("other"), None, 9).await.unwrap().is_empty());
}
