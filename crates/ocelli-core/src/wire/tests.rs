use super::*;
use crate::{ImageFormat, LeftOut, Need, NeededText, OutcomeKind, RuleText};

fn intake() -> Message {
    let digest = Digest::of(b"image");
    let at: Timestamp = "2024-05-04T09:00:51Z".parse().unwrap();
    Message::Intake(Intake {
        image: ImageFacts {
            digest,
            bytes: 5,
            format: Some(ImageFormat::Png),
            width: Some(640),
            height: None,
        },
        sources: vec!["file:///a.png".parse().unwrap()],
        sighting: Some(Sighting {
            source: "file:///a.png".parse().unwrap(),
            seen_at: at,
            batch: BatchId::new(uuid::Uuid::nil()),
        }),
        wants: vec![Want { analyzer: "tesseract-ocr".parse().unwrap(), revision: None }],
        refusal: None,
        enqueued_at: at,
        dependence: Dependence::default(),
        hash: None,
        meta: crate::Meta::default(),
    })
}

/// A job of an analyzer that reads what another one read.
fn dependent() -> Message {
    let Message::Intake(mut intake) = intake() else { unreachable!() };
    let [ocr, reader] = ["tesseract-ocr", "reader"].map(|name| name.parse().unwrap());
    intake.wants.push(Want { analyzer: AnalyzerName::clone(&reader), revision: None });
    let need = Need {
        analyzer: reader,
        of: vec![AnalyzerName::clone(&ocr)],
        held: false,
        near: None,
        rules: Vec::new(),
        after: Vec::new(),
    };
    let text = NeededText::new(ocr, OutcomeKind::Done, "Grüße".to_owned(), 4);
    intake.dependence =
        Dependence { needs: vec![need], texts: vec![text], ..Dependence::default() };
    Message::Intake(intake)
}

#[test]
fn a_message_survives_the_round_trip() {
    let message = intake();
    assert_eq!(Message::decode(&message.encode().unwrap()).unwrap(), message);
}

#[test]
fn the_shipped_form_of_version_1_stays_readable() {
    let golden = include_bytes!("../../golden/v1-intake.msgpack");
    assert_eq!(Message::decode(golden).unwrap(), intake());
    assert_eq!(intake().encode().unwrap(), golden, "the written form changed: add a golden file");
}

/// An image that its producer decoded, and the answer of a worker that did.
fn hashed() -> [Message; 2] {
    let hash = Some("dct1:83c3b0e0f0b8f8f0".parse().unwrap());
    let Message::Intake(mut intake) = intake() else { unreachable!() };
    intake.hash.clone_from(&hash);
    let analysis = Analysis {
        analyzer: "tesseract-ocr".parse().unwrap(),
        revision: "0123456789abcdef".parse().unwrap(),
        outcome: crate::Outcome::Empty,
        attempts: 1,
        finished_at: intake.enqueued_at,
        provenance: crate::Provenance::default(),
    };
    let partial = Partial { digest: intake.image.digest, analysis, hash, image: None };
    [Message::Intake(intake), Message::Partial(Box::new(partial))]
}

#[test]
fn what_an_image_looks_like_is_written_only_where_it_is_known() {
    let golden: [&[u8]; 2] = [
        include_bytes!("../../golden/v1-intake-hash.msgpack"),
        include_bytes!("../../golden/v1-partial-hash.msgpack"),
    ];
    for (message, golden) in hashed().into_iter().zip(golden) {
        assert_eq!(Message::decode(golden).unwrap(), message);
        assert_eq!(message.encode().unwrap(), golden, "the written form changed");
    }
}

/// An image that nobody had read, with what a list said about it; and the answer of the worker that read it first.
fn unread() -> [Message; 2] {
    let [Message::Intake(mut intake), Message::Partial(mut partial)] = hashed() else {
        unreachable!()
    };
    (intake.hash, partial.hash) = (None, None);
    partial.image = Some(std::mem::replace(&mut intake.image, ImageFacts::unread(partial.digest)));
    let said = [("author", "Grüße"), ("tags", "[\"a\",1]")];
    intake.meta = said.map(|(name, text)| (name.to_owned(), text.to_owned())).into_iter().collect();
    [Message::Intake(intake), Message::Partial(partial)]
}

#[test]
fn what_lists_say_and_workers_find_out_is_written_only_where_there_is_some() {
    let golden: [&[u8]; 2] = [
        include_bytes!("../../golden/v1-intake-meta.msgpack"),
        include_bytes!("../../golden/v1-partial-image.msgpack"),
    ];
    for (message, golden) in unread().into_iter().zip(golden) {
        assert_eq!(Message::decode(golden).unwrap(), message);
        assert_eq!(message.encode().unwrap(), golden, "the written form changed");
    }
}

/// A note about another attempt, with and without what the attempt cost.
fn deferred(spent: bool) -> Message {
    let at: Timestamp = "2024-05-04T09:00:51Z".parse().unwrap();
    Message::Deferred(Deferred {
        digest: Digest::of(b"image"),
        analyzer: "llama3.2-vision".parse().unwrap(),
        class: FailureClass::Quality,
        reason: "it repeats itself".to_owned(),
        attempts: 1,
        next_at: at,
        spent: spent.then(|| Spent {
            attempt: crate::AttemptId::from_bytes([7; 16]),
            revision: "0123456789abcdef".parse().unwrap(),
            batch: Some(BatchId::new(uuid::Uuid::nil())),
            model: Some("llama3.2-vision".to_owned()),
            calls: 3,
            tokens_in: 2100,
            tokens_out: 900,
            cost_micros: 855,
            currency: Some("USD".to_owned()),
            at,
        }),
    })
}

#[test]
fn notes_about_another_attempt_say_what_it_cost_and_older_ones_stay_readable() {
    let golden: [&[u8]; 2] = [
        include_bytes!("../../golden/v1-deferred.msgpack"),
        include_bytes!("../../golden/v1-deferred-spent.msgpack"),
    ];
    for (spent, golden) in [false, true].into_iter().zip(golden) {
        let message = deferred(spent);
        assert_eq!(message.encode().unwrap(), golden, "the written form changed");
        assert_eq!(Message::decode(golden).unwrap(), message);
    }
}

#[test]
fn a_dependent_job_stays_readable_and_the_golden_message_of_before_has_none() {
    let golden = include_bytes!("../../golden/v1-intake-dependent.msgpack");
    assert_eq!(Message::decode(golden).unwrap(), dependent());
    assert_eq!(dependent().encode().unwrap(), golden, "the written form changed");
}

/// An image of which one analyzer is left out by a rule, and another one perhaps.
fn ruled() -> Message {
    let Message::Intake(mut intake) = dependent() else { unreachable!() };
    let rule = |name: &str, when: &str| RuleText { name: name.to_owned(), when: when.to_owned() };
    intake.dependence.texts.clear();
    for need in &mut intake.dependence.needs {
        need.rules.push(rule("worth-it", "has:tesseract-ocr"));
        need.after.push("tesseract-ocr".parse().unwrap());
    }
    let rule = rule("small", "bytes < 20MB");
    intake.dependence.left_out.push(LeftOut { analyzer: "dear".parse().unwrap(), rule });
    Message::Intake(intake)
}

#[test]
fn what_rules_say_is_written_only_where_there_are_rules() {
    let golden = include_bytes!("../../golden/v1-intake-rules.msgpack");
    assert_eq!(Message::decode(golden).unwrap(), ruled());
    assert_eq!(ruled().encode().unwrap(), golden, "the written form changed");
}

fn fence() -> Fence {
    Fence {
        analyzer: "a".parse().unwrap(),
        published_at: "2024-05-04T09:00:51Z".parse().unwrap(),
        bulk: false,
        pulse: false,
    }
}

#[test]
fn fields_and_kinds_of_the_future_are_ignored_or_named() {
    #[derive(Serialize)]
    struct Future {
        v: u16,
        kind: &'static str,
        body: Vec<u8>,
        more: u8,
    }
    let pack = |v, kind, body: Vec<u8>| {
        // serde writes Vec<u8> as a sequence; a real peer writes bin, which is what readers take.
        let mut bytes =
            rmp_serde::to_vec_named(&Future { v, kind, body: vec![], more: 1 }).unwrap();
        let at = bytes.windows(5).position(|w| w == b"\xa4body").unwrap() + 5;
        bytes.splice(at..=at, [0xc4, u8::try_from(body.len()).unwrap()].into_iter().chain(body));
        bytes
    };
    let body = rmp_serde::to_vec_named(&fence()).unwrap();
    let read = Message::decode(&pack(1, "fence", body.clone())).unwrap();
    assert_eq!(read, Message::Fence(fence()));
    assert!(matches!(
        Message::decode(&pack(2, "fence", body.clone())),
        Err(WireError::Newer { found: 2 })
    ));
    assert!(matches!(Message::decode(&pack(1, "riddle", body)), Err(WireError::Kind(_))));
    assert!(matches!(Message::decode(&pack(1, "fence", vec![1])), Err(WireError::Body { .. })));
}

/// A fence in an envelope of version `v` that says this of who can read it.
fn readable_by<R: Serialize>(v: u16, reads: R) -> Vec<u8> {
    #[derive(Serialize)]
    struct Future<R> {
        v: u16,
        reads: R,
        kind: &'static str,
        #[serde(serialize_with = "body_bytes::serialize")]
        body: Vec<u8>,
    }
    let body = rmp_serde::to_vec_named(&fence()).unwrap();
    rmp_serde::to_vec_named(&Future { v, reads, kind: "fence", body }).unwrap()
}

#[test]
fn a_newer_message_is_read_where_it_says_that_this_version_can_and_refused_otherwise() {
    for v in [VERSION + 1, VERSION + 2, u16::MAX] {
        let read = Message::decode(&readable_by(v, VERSION)).unwrap();
        assert_eq!(read, Message::Fence(fence()), "{v}");
        for least in [None, Some(VERSION + 1), Some(v), Some(u16::MAX)] {
            let refused = Message::decode(&readable_by(v, least));
            assert!(
                matches!(refused, Err(WireError::Newer { found }) if found == v),
                "{v}, {least:?}: {refused:?}"
            );
        }
    }
    // One of this version is read, whatever it says of readers.
    assert!(Message::decode(&readable_by(VERSION, u16::MAX)).is_ok());
    // What this one writes says nothing of them.
    let written = Message::Fence(fence()).encode().unwrap();
    assert!(!written.windows(5).any(|bytes| bytes == b"reads"));
}

#[test]
fn nonsense_about_who_can_read_a_message_makes_it_no_envelope() {
    for bytes in [
        readable_by(VERSION + 1, "1"),
        readable_by(VERSION + 1, -1),
        readable_by(VERSION + 1, 65_536),
        readable_by(VERSION + 1, u64::MAX),
        readable_by(VERSION + 1, 1.0),
        readable_by(VERSION + 1, true),
        readable_by(VERSION + 1, [1]),
        readable_by(VERSION, "1"),
    ] {
        let refused = Message::decode(&bytes);
        assert!(matches!(refused, Err(WireError::Envelope(_))), "{refused:?}");
    }
    // What says that everybody can read it still has to be what it says.
    let mut cut = readable_by(u16::MAX, 0);
    let at = cut.windows(5).position(|bytes| bytes == b"fence").unwrap();
    cut[at + 4] = b'!';
    assert!(matches!(Message::decode(&cut), Err(WireError::Kind(kind)) if kind == "fenc!"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(0_u8.., 0..400)) {
        drop(Message::decode(&bytes));
    }

    #[test]
    fn a_damaged_message_is_an_error_or_another_message(at in 0_usize..300, value in 0_u8..) {
        let mut bytes = intake().encode().unwrap();
        let at = at % bytes.len();
        bytes[at] = value;
        drop(Message::decode(&bytes));
    }
}
