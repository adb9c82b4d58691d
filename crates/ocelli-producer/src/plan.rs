//! Which analyzers an image still needs: the decision behind "run again, and only what is missing is enqueued"; and which of them
//! the rules let it have.
//!
//! Pure: what the catalog knows goes in, the jobs and the reason come out.

use std::collections::BTreeMap;

use ocelli_catalog::Known;
use ocelli_catalog::rules::{Rules, Seeing, Verdict};
use ocelli_core::{AnalyzerName, LeftOut, Revision, RuleText, Want};

/// What is enqueued for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Analyzers that get a job, in wanted order, each at most once.
    pub enqueue: Vec<Want>,
    /// Why these.
    pub why: Why,
}

/// The reason of a [`Plan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The catalog has never seen these bytes.
    New,
    /// The catalog knows the image; some answers are neither there nor on their way.
    Missing,
    /// Every answer is there.
    Answered,
    /// Every answer is there or on its way; the sweeper cares for those that got lost.
    OnItsWay,
    /// The bytes were refused before; no analyzer is asked.
    Refused,
}

/// Decides which of `wanted` are enqueued for an image.
///
/// A want is enqueued unless the image is refused, the want is answered (with revision `None`, by any revision), or
/// it is open in the catalog with the same revision, or with one of the two unspecified.
#[must_use]
pub fn plan(known: Option<&Known>, wanted: &[Want]) -> Plan {
    let mut enqueue: Vec<Want> = Vec::new();
    let Some(known) = known else {
        for want in wanted {
            add(&mut enqueue, want);
        }
        return Plan { enqueue, why: Why::New };
    };
    if known.refused {
        return Plan { enqueue, why: Why::Refused };
    }
    let mut waiting = false;
    for want in wanted {
        if is_answered(known, want) {
            continue;
        }
        if is_open(known, want) {
            waiting = true;
        } else {
            add(&mut enqueue, want);
        }
    }
    let why = match (enqueue.is_empty(), waiting) {
        (false, _) => Why::Missing,
        (true, true) => Why::OnItsWay,
        (true, false) => Why::Answered,
    };
    Plan { enqueue, why }
}

/// One analyzer twice in the settings is still one job; the first entry counts.
fn add(enqueue: &mut Vec<Want>, want: &Want) {
    if enqueue.iter().all(|other| other.analyzer != want.analyzer) {
        enqueue.push(want.clone());
    }
}

/// A rule's word is no answer of the analyzer: as long as it stands, the rules are asked again.
fn is_answered(known: &Known, want: &Want) -> bool {
    if known.wanted.get(&want.analyzer).is_some_and(|asked| is_of_rule(asked.as_ref())) {
        return false;
    }
    match &want.revision {
        Some(revision) => known.answered.contains(&(want.analyzer.clone(), revision.clone())),
        None => known
            .answered
            .iter()
            .any(|(analyzer, given)| *analyzer == want.analyzer && !given.is_of_rule()),
    }
}

fn is_of_rule(revision: Option<&Revision>) -> bool {
    revision.is_some_and(Revision::is_of_rule)
}

/// What becomes of the planned jobs once the rules have spoken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruled {
    /// Analyzers that are asked, in their order.
    pub wants: Vec<Want>,
    /// Of these, those about which only answers of other analyzers decide: the rules, and whose answers.
    pub later: BTreeMap<AnalyzerName, (Vec<RuleText>, Vec<AnalyzerName>)>,
    /// Analyzers that are not asked, where the catalog does not know it yet.
    pub left_out: Vec<LeftOut>,
    /// Analyzers that are not asked.
    pub unasked: u64,
}

/// Asks the rules about planned jobs. What the very same rule has left out before stays so.
#[must_use]
pub fn ruled(
    known: Option<&Known>,
    planned: Vec<Want>,
    rules: &Rules,
    seeing: &Seeing<'_>,
) -> Ruled {
    let mut ruled = Ruled::default();
    for want in planned {
        let stands = |rule: &RuleText| {
            let revision = rule.revision();
            known.is_some_and(|known| {
                known.wanted.get(&want.analyzer) == Some(&Some(revision.clone()))
                    && known.answered.contains(&(want.analyzer.clone(), revision))
            })
        };
        match rules.decide(&want.analyzer, seeing) {
            Verdict::Asked => ruled.wants.push(want),
            Verdict::LeftOut(rule) => {
                ruled.unasked += 1;
                if !stands(&rule) {
                    ruled.left_out.push(LeftOut { analyzer: want.analyzer, rule });
                }
            }
            Verdict::Later { rules, .. } if rules.iter().any(stands) => ruled.unasked += 1,
            Verdict::Later { rules, after } => {
                ruled.later.insert(want.analyzer.clone(), (rules, after));
                ruled.wants.push(want);
            }
        }
    }
    ruled
}

fn is_open(known: &Known, want: &Want) -> bool {
    known.open.contains(&want.analyzer)
        && match (known.wanted.get(&want.analyzer), &want.revision) {
            (Some(Some(asked)), Some(revision)) => asked == revision,
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 3] = ["gemma3-27b-vision", "tesseract-ocr", "llama3.2-vision"];
    const REVISIONS: [&str; 2] = ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"];

    fn name(index: usize) -> AnalyzerName {
        NAMES[index].parse().unwrap()
    }

    fn revision(index: usize) -> Revision {
        REVISIONS[index].parse().unwrap()
    }

    fn any_want() -> impl Strategy<Value = Want> {
        (0..3_usize, proptest::option::of(0..2_usize))
            .prop_map(|(n, r)| Want { analyzer: name(n), revision: r.map(revision) })
    }

    fn any_known() -> impl Strategy<Value = Known> {
        (
            any::<bool>(),
            proptest::collection::btree_set((0..3_usize, 0..2_usize), 0..5),
            proptest::collection::btree_map(0..3_usize, proptest::option::of(0..2_usize), 0..4),
        )
            .prop_map(|(refused, answered, wanted)| {
                let answered: std::collections::BTreeSet<_> =
                    answered.into_iter().map(|(n, r)| (name(n), revision(r))).collect();
                let wanted: std::collections::BTreeMap<_, _> =
                    wanted.into_iter().map(|(n, r)| (name(n), r.map(revision))).collect();
                let open = wanted
                    .iter()
                    .filter(|(analyzer, asked)| match asked {
                        Some(asked) => !answered.contains(&((*analyzer).clone(), asked.clone())),
                        None => answered.iter().all(|(other, _)| other != *analyzer),
                    })
                    .map(|(analyzer, _)| analyzer.clone())
                    .collect();
                Known { refused, answered, wanted, open }
            })
    }

    /// What the catalog knows after the intake of `plan` was written.
    fn written(known: Option<&Known>, plan: &Plan) -> Known {
        let mut after = known.cloned().unwrap_or_else(|| Known {
            refused: false,
            answered: std::collections::BTreeSet::new(),
            wanted: std::collections::BTreeMap::new(),
            open: std::collections::BTreeSet::new(),
        });
        for want in &plan.enqueue {
            after.wanted.insert(want.analyzer.clone(), want.revision.clone());
            after.open.insert(want.analyzer.clone());
        }
        after
    }

    proptest! {
        #[test]
        fn planning_again_after_the_plan_was_written_enqueues_nothing(
            known in proptest::option::of(any_known()),
            mut wanted in proptest::collection::vec(any_want(), 0..4),
        ) {
            let mut names = std::collections::BTreeSet::new();
            wanted.retain(|want| names.insert(want.analyzer.clone()));
            let first = plan(known.as_ref(), &wanted);
            let second = plan(Some(&written(known.as_ref(), &first)), &wanted);
            prop_assert!(second.enqueue.is_empty(), "{:?}", second);
        }

        #[test]
        fn what_is_enqueued_is_wanted_unanswered_and_one_per_analyzer(
            known in any_known(),
            wanted in proptest::collection::vec(any_want(), 0..6),
        ) {
            let plan = plan(Some(&known), &wanted);
            let mut names = std::collections::BTreeSet::new();
            for want in &plan.enqueue {
                prop_assert!(wanted.contains(want));
                prop_assert!(names.insert(&want.analyzer));
                prop_assert!(!known.refused);
                if let Some(revision) = &want.revision {
                    prop_assert!(!known.answered.contains(&(want.analyzer.clone(), revision.clone())));
                }
            }
            prop_assert_eq!(plan.enqueue.is_empty(), plan.why != Why::Missing);
        }

        #[test]
        fn nothing_wanted_is_left_without_answer_job_or_open_entry(
            known in any_known(),
            wanted in proptest::collection::vec(any_want(), 0..6),
        ) {
            let plan = plan(Some(&known), &wanted);
            for want in &wanted {
                let covered = known.refused
                    || is_answered(&known, want)
                    || known.open.contains(&want.analyzer)
                    || plan.enqueue.iter().any(|job| job.analyzer == want.analyzer);
                prop_assert!(covered, "{:?}", want);
            }
        }

        #[test]
        fn an_unknown_image_gets_every_analyzer_once(
            wanted in proptest::collection::vec(any_want(), 0..6),
        ) {
            let names: std::collections::BTreeSet<_> =
                wanted.iter().map(|want| want.analyzer.clone()).collect();
            let plan = plan(None, &wanted);
            prop_assert_eq!(plan.enqueue.len(), names.len());
            prop_assert_eq!(plan.why, Why::New);
        }
    }

    #[test]
    fn what_a_rule_left_out_is_asked_once_it_does_not_any_more_and_no_message_repeats_it() {
        use ocelli_catalog::query::QueryLimits;
        use ocelli_catalog::rules::{Rule, RuleSource};
        let rules = |when: &str| {
            let text = RuleText { name: "small".to_owned(), when: when.to_owned() };
            let source = RuleSource { text, analyzers: vec![name(0)], after: Vec::new() };
            Rules::new(vec![Rule::new(source, &QueryLimits::default()).unwrap()])
        };
        let image = ocelli_core::ImageFacts {
            digest: ocelli_core::Digest::of(b"x"),
            bytes: 5,
            format: None,
            width: None,
            height: None,
        };
        let source = "file:///a.png".parse().unwrap();
        let seeing = Seeing {
            image: &image,
            source: &source,
            seen_at: jiff::Timestamp::UNIX_EPOCH,
            batch: ocelli_core::BatchId::new(uuid::Uuid::nil()),
            batch_name: "pictures",
            meta: &ocelli_core::Meta::default(),
        };
        for asked in [None, Some(0)] {
            let wanted = [0, 1].map(|n| Want { analyzer: name(n), revision: asked.map(revision) });
            let first = ruled(None, plan(None, &wanted).enqueue, &rules("bytes > 5"), &seeing);
            assert_eq!((&first.wants[..], first.unasked), (&wanted[1..], 1));
            let rule = first.left_out[0].rule.clone();
            assert_eq!(first.left_out[0].analyzer, name(0));
            let known = Known {
                refused: false,
                answered: [(name(0), rule.revision()), (name(1), revision(0))].into(),
                wanted: [(name(0), Some(rule.revision())), (name(1), asked.map(revision))].into(),
                open: [].into(),
            };
            let again = |when: &str| {
                ruled(Some(&known), plan(Some(&known), &wanted).enqueue, &rules(when), &seeing)
            };
            assert_eq!(again("bytes > 5"), Ruled { unasked: 1, ..Ruled::default() });
            assert_eq!(again("bytes > 6").left_out.len(), 1, "another rule says it anew");
            assert_eq!(again("bytes >= 5").wants, wanted[..1]);
        }
    }

    #[test]
    fn a_new_revision_is_enqueued_although_the_old_one_is_answered_or_open() {
        let want = |r: Option<usize>| Want { analyzer: name(0), revision: r.map(revision) };
        let answered = Known {
            refused: false,
            answered: [(name(0), revision(0))].into(),
            wanted: [(name(0), Some(revision(0)))].into(),
            open: [].into(),
        };
        assert_eq!(plan(Some(&answered), &[want(Some(0))]).why, Why::Answered);
        assert_eq!(plan(Some(&answered), &[want(None)]).why, Why::Answered);
        assert_eq!(plan(Some(&answered), &[want(Some(1))]).enqueue, [want(Some(1))]);
        let open = Known { answered: [].into(), open: [name(0)].into(), ..answered };
        assert_eq!(plan(Some(&open), &[want(Some(0))]).why, Why::OnItsWay);
        assert_eq!(plan(Some(&open), &[want(None)]).why, Why::OnItsWay);
        assert_eq!(plan(Some(&open), &[want(Some(1))]).enqueue, [want(Some(1))]);
    }
}
