//! Jobs that wait for what other analyzers answer are enqueued by the collector, whoever dies meanwhile.

use jiff::{SignedDuration, Timestamp};
use ocelli_catalog::Hold;
use ocelli_core::routing::{Queue, queues};
use ocelli_core::wire::{Intake, Message, Partial};
use ocelli_core::{
    AnalyzerName, Dependence, Digest, Need, NeededText, Outcome, OutcomeKind, Reading, RuleText,
    Want,
};

use crate::world::{World, intake, ocr, partial, revision, until};

fn reader() -> AnalyzerName {
    "reader".parse().unwrap()
}

fn jobs() -> Queue {
    Queue::Jobs(reader())
}

/// An image of which OCR is asked, and the reader that needs it.
fn held(image: &str) -> Intake {
    let mut intake = intake(image);
    intake.wants.push(Want { analyzer: reader(), revision: Some(revision()) });
    let need = Need {
        analyzer: reader(),
        of: vec![ocr()],
        held: true,
        near: None,
        rules: Vec::new(),
        after: Vec::new(),
    };
    intake.dependence =
        Dependence { needs: vec![need], texts: Vec::new(), ..Dependence::default() };
    intake
}

fn read(image: &str, text: &str) -> Message {
    let Message::Partial(mut partial) = partial(image) else { unreachable!() };
    partial.analysis.outcome =
        Outcome::Done(Reading { text: text.to_owned(), ..Reading::default() });
    Message::Partial(Box::new(Partial { ..*partial }))
}

impl World {
    async fn hold(&self, image: &str) -> Option<Hold> {
        let digest = Digest::of(image.as_bytes());
        self.catalog.open_job(&digest, &reader()).await.unwrap().and_then(|job| job.hold)
    }

    async fn with_reader() -> Self {
        let world = Self::new().await;
        world.broker.declare(&queues(&[reader()], &[])).await.unwrap();
        world
    }
}

#[tokio::test]
async fn a_dependent_job_follows_the_answer_it_needs_and_carries_its_text() {
    let world = World::with_reader().await;
    let (stop, collector) = world.collector();
    world.results(&[Message::Intake(held("a")), Message::Intake(held("b"))]).await;
    until("both images are known", async || world.hold("b").await == Some(Hold::Needs)).await;
    assert_eq!(world.ready(&jobs()).await, 0, "nothing is known of the images yet");
    world.results(&[read("a", "less compute"), partial("b")]).await;
    until("both jobs are enqueued", async || world.ready(&jobs()).await == 2).await;
    until("and noted", async || world.hold("a").await.is_none() && world.hold("b").await.is_none())
        .await;
    let mut given = Vec::new();
    for message in world.drain(&jobs()).await {
        let Message::Intake(job) = message else { panic!("{message:?}") };
        assert_eq!((job.wants.len(), &job.sighting), (1, &None));
        assert_eq!(job.wants[0].analyzer, reader());
        assert_eq!(job.dependence.of(&reader()).map(|need| need.held), Some(false));
        given.extend(job.dependence.texts);
    }
    given.sort_by_key(|text| text.outcome);
    let text = |outcome, text: &str| NeededText {
        analyzer: ocr(),
        outcome,
        text: text.to_owned(),
        cut: false,
    };
    assert_eq!(given, [text(OutcomeKind::Done, "less compute"), text(OutcomeKind::Empty, "")]);
    assert_eq!(world.metric("ocelli_dependent_jobs_total"), 2.0);
    stop.cancel();
    collector.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_collector_that_dies_after_its_commit_leaves_no_dependent_job_behind() {
    let world = World::with_reader().await;
    // What a collector had committed and acked that died then, before or after it had taken the job.
    let all =
        ["never taken", "taken"].map(|image| [Message::Intake(held(image)), read(image, "x")]);
    world.catalog.apply(&all.concat()).await.unwrap();
    let long_ago = Timestamp::now() - SignedDuration::from_secs(90);
    let page = world.catalog.ready_jobs(&reader(), long_ago, 10).await.unwrap();
    let digest = Digest::of(b"taken");
    let job = page.iter().find(|job| job.image.digest == digest).unwrap();
    let seen = [(digest, reader(), job.enqueued_at)];
    assert_eq!(world.catalog.take_ready(&seen, long_ago).await.unwrap().len(), 1);
    let (stop, collector) = world.collector();
    until("both are enqueued", async || world.ready(&jobs()).await == 2).await;
    until("and noted", async || {
        world.hold("taken").await.is_none() && world.hold("never taken").await.is_none()
    })
    .await;
    stop.cancel();
    collector.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_rule_in_an_unknown_language_holds_up_its_own_jobs_and_no_others() {
    let ruled = |image: &str, when: &str| {
        let mut intake = held(image);
        let rule = RuleText { name: "newer".to_owned(), when: when.to_owned() };
        intake.dependence.needs[0].rules = vec![rule];
        [Message::Intake(intake), read(image, "x")]
    };
    let world = World::with_reader().await;
    // More than are taken at once, so that they would fill every page.
    let undecided: Vec<String> = (0..300).map(|number| format!("undecided {number}")).collect();
    for image in &undecided {
        world.catalog.apply(&ruled(image, "unheard:of")).await.unwrap();
    }
    world.catalog.apply(&ruled("decided", "has:tesseract-ocr")).await.unwrap();
    let (stop, collector) = world.collector();
    until("the other one is enqueued", async || world.hold("decided").await.is_none()).await;
    assert_eq!(world.ready(&jobs()).await, 1);
    until("all others are put off", async || {
        let long_ago = Timestamp::now() - SignedDuration::from_secs(30);
        world.catalog.ready_jobs(&reader(), long_ago, 10).await.unwrap().is_empty()
    })
    .await;
    for image in &undecided {
        assert_eq!(world.hold(image).await, Some(Hold::Taken), "{image}");
    }
    stop.cancel();
    collector.await.unwrap().unwrap();
}

#[tokio::test]
async fn two_collectors_enqueue_a_dependent_job_once() {
    let world = World::with_reader().await;
    let (one, two) = (world.collector(), world.collector());
    for n in 0..100 {
        let image = n.to_string();
        world.results(&[Message::Intake(held(&image)), read(&image, "x")]).await;
    }
    until("all are enqueued", async || world.ready(&jobs()).await >= 100).await;
    until("and noted", async || world.catalog.ready_analyzers().await.unwrap().is_empty()).await;
    assert_eq!(world.ready(&jobs()).await, 100);
    for (stop, collector) in [one, two] {
        stop.cancel();
        collector.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn answers_are_written_and_acked_although_no_dependent_job_can_be_enqueued() {
    let world = World::new().await;
    let (stop, collector) = world.collector();
    world.results(&[Message::Intake(held("a")), read("a", "x")]).await;
    until("it is ready", async || world.hold("a").await == Some(Hold::Ready)).await;
    world.results(&[Message::Intake(intake("b")), read("b", "y")]).await;
    let done = Digest::of(b"b");
    until("the next is written", async || {
        world.catalog.is_done(&done, &ocr(), &revision()).await.unwrap()
    })
    .await;
    world.broker.declare(&queues(&[reader()], &[])).await.unwrap();
    until("it is enqueued once there is a queue", async || world.ready(&jobs()).await == 1).await;
    stop.cancel();
    collector.await.unwrap().unwrap();
}
