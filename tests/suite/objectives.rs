//! The table of objectives and alerts: from it `deploy/prometheus/rules` and their tests are made (`deploy_rules`). An alert
//! cannot be added without a case in which it fires and one in which it does not.

/// Series and values, or labels and values.
pub(crate) type Pairs = &'static [(&'static str, &'static str)];

/// What is promised to users, as a ratio of good events.
pub(crate) struct Objective {
    /// First part of the names of its alerts and rules.
    pub(crate) name: &'static str,
    /// In the names of recorded series.
    pub(crate) series: &'static str,
    /// For people.
    pub(crate) promise: &'static str,
    /// What an alert says is the matter.
    pub(crate) matter: &'static str,
    /// Part of events that may be bad.
    pub(crate) allowed: &'static str,
    /// Label by which it counts, if any.
    pub(crate) by: Option<&'static str>,
    /// Bad events and all events; `WINDOW` stands for the time over which they count.
    pub(crate) bad: &'static str,
    pub(crate) all: &'static str,
    /// Fewer events than this in the longer window say nothing.
    pub(crate) least: u32,
    /// Series in which so many of a hundred events a minute are bad.
    pub(crate) sample: fn(bad: u32) -> Vec<(String, String)>,
    /// The alert's labels in that sample.
    pub(crate) labels: Pairs,
}

/// A pair of windows, and how many times faster than allowed the allowance is used up (Google's "The Site Reliability
/// Workbook", chapter 5, multiwindow, multi-burn-rate alerts).
pub(crate) struct Burn {
    pub(crate) name: &'static str,
    pub(crate) times: f64,
    pub(crate) long: &'static str,
    pub(crate) short: &'static str,
    pub(crate) severity: &'static str,
}

pub(crate) const BURNS: [Burn; 3] = [
    Burn { name: "Fast", times: 14.4, long: "1h", short: "5m", severity: "page" },
    Burn { name: "Slow", times: 6.0, long: "6h", short: "30m", severity: "page" },
    Burn { name: "Long", times: 1.0, long: "3d", short: "6h", severity: "ticket" },
];

/// All windows, for which ratios are recorded.
pub(crate) const WINDOWS: [&str; 5] = ["5m", "30m", "1h", "6h", "3d"];

/// The objectives.
pub(crate) fn objectives() -> Vec<Objective> {
    vec![
        Objective {
            name: "OcelliRecordsLate",
            series: "ocelli:records_late",
            promise: "95 % of records are complete within an hour after the last question about their image.",
            matter: "Too many records take longer than an hour",
            allowed: "0.05",
            by: None,
            bad: "sum(rate(ocelli_record_completion_seconds_count[WINDOW])) - \
                  sum(rate(ocelli_record_completion_seconds_bucket{le=\"3600\"}[WINDOW]))",
            all: "sum(rate(ocelli_record_completion_seconds_count[WINDOW]))",
            least: 100,
            sample: |bad| {
                vec![
                    (r#"ocelli_record_completion_seconds_count{instance="a"}"#.into(), slope(100)),
                    (
                        r#"ocelli_record_completion_seconds_bucket{instance="a",le="3600"}"#.into(),
                        slope(100 - bad),
                    ),
                ]
            },
            labels: &[],
        },
        Objective {
            name: "OcelliJobsFail",
            series: "analyzer:ocelli_jobs_failed",
            promise: "Of each analyzer, 99 % of the jobs that get an outcome do not get the outcome 'failed'.",
            matter: "Too many jobs of {{ $labels.analyzer }} fail",
            allowed: "0.01",
            by: Some("analyzer"),
            bad: "sum by (analyzer) (rate(ocelli_jobs_total{outcome=\"failed\"}[WINDOW]))",
            all: "sum by (analyzer) (rate(ocelli_jobs_total{outcome=~\"done|empty|skipped|failed\"}[WINDOW]))",
            least: 100,
            sample: |bad| {
                let series = |outcome: &str| {
                    format!(r#"ocelli_jobs_total{{analyzer="llama",outcome="{outcome}"}}"#)
                };
                vec![(series("failed"), slope(bad)), (series("done"), slope(100 - bad))]
            },
            labels: &[("analyzer", "llama")],
        },
    ]
}

/// A counter that grows so much each minute, for four days.
fn slope(by: u32) -> String {
    format!("0+{by}x5760")
}

/// One alert beside the objectives.
pub(crate) struct Alert {
    pub(crate) name: &'static str,
    pub(crate) expression: &'static str,
    /// How long it has to hold.
    pub(crate) pending: &'static str,
    /// `page`: a person, now. `ticket`: a person, this week.
    pub(crate) severity: &'static str,
    pub(crate) summary: &'static str,
    /// When the cases are looked at.
    pub(crate) at: &'static str,
    /// Series, one value a minute, and the labels of the alert that fires on them.
    pub(crate) fires: (Pairs, Pairs),
    /// Series on which it does not.
    pub(crate) quiet: Pairs,
}

/// The alerts, the most urgent first.
pub(crate) const ALERTS: &[Alert] = &[
    Alert {
        name: "OcelliStalled",
        expression: "max by (analyzer) (ocelli_catalog_jobs{state=\"open\"}) > 0 \
                     and on (analyzer) sum by (analyzer) (increase(ocelli_jobs_total{outcome=~\"done|empty|skipped|failed|duplicate\"}[15m])) == 0 \
                     and on (analyzer) max by (analyzer) (ocelli_analyzer_ready) == 1",
        pending: "10m",
        severity: "page",
        summary: "{{ $labels.analyzer }} is ready and has work, and has finished nothing for 25 minutes",
        at: "40m",
        fires: (
            &[
                (r#"ocelli_catalog_jobs{analyzer="a",state="open",instance="c"}"#, "5x60"),
                (r#"ocelli_jobs_total{analyzer="a",outcome="done",instance="w"}"#, "7x60"),
                (r#"ocelli_analyzer_ready{analyzer="a",instance="w"}"#, "1x60"),
            ],
            &[("analyzer", "a")],
        ),
        quiet: &[
            (r#"ocelli_catalog_jobs{analyzer="a",state="open",instance="c"}"#, "5x60"),
            (r#"ocelli_jobs_total{analyzer="a",outcome="done",instance="w"}"#, "0+1x60"),
            (r#"ocelli_analyzer_ready{analyzer="a",instance="w"}"#, "1x60"),
        ],
    },
    Alert {
        name: "OcelliNoWorkers",
        expression: "max by (analyzer) (ocelli_catalog_jobs{state=\"open\"}) > 0 \
                     and on (analyzer) sum by (analyzer) (max by (analyzer, state) (ocelli_workers)) == 0",
        pending: "10m",
        severity: "page",
        summary: "{{ $labels.analyzer }} has work and no worker has said for ten minutes that it is there",
        at: "20m",
        fires: (
            &[
                (r#"ocelli_catalog_jobs{analyzer="a",state="open"}"#, "5x60"),
                (r#"ocelli_workers{analyzer="a",state="ready"}"#, "0x60"),
                (r#"ocelli_workers{analyzer="a",state="waiting"}"#, "0x60"),
            ],
            &[("analyzer", "a")],
        ),
        quiet: &[
            (r#"ocelli_catalog_jobs{analyzer="a",state="open"}"#, "5x60"),
            (r#"ocelli_workers{analyzer="a",state="ready"}"#, "0x60"),
            (r#"ocelli_workers{analyzer="a",state="waiting"}"#, "1x60"),
        ],
    },
    Alert {
        name: "OcelliNoConsumers",
        expression: "label_replace(sum by (queue) (rabbitmq_detailed_queue_messages_ready{queue=~\".+[.](jobs|bulk)[.].+\"}) > 0 \
                     and on (queue) sum by (queue) (rabbitmq_detailed_queue_consumers) == 0, \
                     \"analyzer\", \"$2\", \"queue\", \".+[.](jobs|bulk)[.](.+)\") \
                     unless on (analyzer) max by (analyzer) (ocelli_analyzer_paused) == 1",
        pending: "10m",
        severity: "page",
        summary: "Nobody consumes {{ $labels.queue }}, which is not empty",
        at: "20m",
        fires: (
            &[
                (
                    r#"rabbitmq_detailed_queue_messages_ready{queue="ocelli.jobs.a",vhost="/"}"#,
                    "3x60",
                ),
                (r#"rabbitmq_detailed_queue_consumers{queue="ocelli.jobs.a",vhost="/"}"#, "0x60"),
                (r#"ocelli_analyzer_paused{analyzer="a"}"#, "0x60"),
            ],
            &[("analyzer", "a"), ("queue", "ocelli.jobs.a")],
        ),
        quiet: &[
            (r#"rabbitmq_detailed_queue_messages_ready{queue="ocelli.jobs.a",vhost="/"}"#, "3x60"),
            (r#"rabbitmq_detailed_queue_consumers{queue="ocelli.jobs.a",vhost="/"}"#, "0x60"),
            (r#"ocelli_analyzer_paused{analyzer="a"}"#, "1x60"),
        ],
    },
    Alert {
        name: "OcelliNoCollector",
        expression: "sum by (queue) (rabbitmq_detailed_queue_consumers{queue=~\".+[.](results|dead)\"}) == 0",
        pending: "5m",
        severity: "page",
        summary: "No collector consumes {{ $labels.queue }}: records do not grow",
        at: "10m",
        fires: (
            &[(r#"rabbitmq_detailed_queue_consumers{queue="ocelli.results",vhost="/"}"#, "0x60")],
            &[("queue", "ocelli.results")],
        ),
        quiet: &[(
            r#"rabbitmq_detailed_queue_consumers{queue="ocelli.results",vhost="/"}"#,
            "1x60",
        )],
    },
    Alert {
        name: "OcelliHeartbeatLate",
        expression: "time() - max by (analyzer) (ocelli_heartbeat_timestamp_seconds) > 900 \
                     and on (analyzer) max by (analyzer) (ocelli_analyzer_ready) == 1 \
                     unless on (analyzer) sum by (analyzer) (rate(ocelli_jobs_total{outcome=~\"done|empty|skipped|failed|duplicate\"}[5m])) > 0",
        pending: "5m",
        severity: "page",
        summary: "No mark has come through queue, worker and collector of {{ $labels.analyzer }} for 20 minutes, and no backlog explains it",
        at: "30m",
        fires: (
            &[
                (r#"ocelli_heartbeat_timestamp_seconds{analyzer="a"}"#, "60x60"),
                (r#"ocelli_analyzer_ready{analyzer="a"}"#, "1x60"),
                (r#"ocelli_jobs_total{analyzer="a",outcome="done"}"#, "7x60"),
            ],
            &[("analyzer", "a")],
        ),
        quiet: &[
            (r#"ocelli_heartbeat_timestamp_seconds{analyzer="a"}"#, "0+60x60"),
            (r#"ocelli_analyzer_ready{analyzer="a"}"#, "1x60"),
            (r#"ocelli_jobs_total{analyzer="a",outcome="done"}"#, "7x60"),
        ],
    },
    Alert {
        name: "OcelliAuditDiffers",
        expression: "max(ocelli_audit_differences) > 0",
        pending: "0m",
        severity: "page",
        summary: "The catalog contradicts itself",
        at: "5m",
        fires: (&[(r#"ocelli_audit_differences{instance="c"}"#, "1x10")], &[]),
        quiet: &[(r#"ocelli_audit_differences{instance="c"}"#, "0x10")],
    },
    Alert {
        name: "OcelliTargetDown",
        expression: "up{job=~\"ocelli|rabbitmq|rabbitmq-queues\"} == 0",
        pending: "5m",
        severity: "page",
        summary: "{{ $labels.instance }} ({{ $labels.job }}) does not answer",
        at: "10m",
        fires: (
            &[(r#"up{job="ocelli",instance="w:9464"}"#, "0x10")],
            &[("job", "ocelli"), ("instance", "w:9464")],
        ),
        quiet: &[(r#"up{job="ocelli",instance="w:9464"}"#, "1 1 1 0 0 0 1 1 1 1 1 1")],
    },
    Alert {
        name: "OcelliBrokerBlocked",
        expression: "sum by (instance) (rate(ocelli_broker_blocked_seconds_total[5m])) > 0.5",
        pending: "5m",
        severity: "page",
        summary: "The broker takes no messages from {{ $labels.instance }}: memory or disk alarm",
        at: "15m",
        fires: (
            &[(r#"ocelli_broker_blocked_seconds_total{instance="p"}"#, "0+60x20")],
            &[("instance", "p")],
        ),
        quiet: &[(r#"ocelli_broker_blocked_seconds_total{instance="p"}"#, "0+6x20")],
    },
    Alert {
        name: "OcelliDiskLow",
        expression: "min by (instance) (ocelli_catalog_free_bytes) < 5e9",
        pending: "10m",
        severity: "page",
        summary: "Less than 5 GB are free where the catalog of {{ $labels.instance }} lies",
        at: "20m",
        fires: (&[(r#"ocelli_catalog_free_bytes{instance="c"}"#, "4e9x30")], &[("instance", "c")]),
        quiet: &[(r#"ocelli_catalog_free_bytes{instance="c"}"#, "6e9x30")],
    },
    Alert {
        name: "OcelliBrokerDiskLow",
        expression: "rabbitmq_disk_space_available_bytes < 2 * rabbitmq_disk_space_available_limit_bytes",
        pending: "10m",
        severity: "page",
        summary: "The broker {{ $labels.instance }} is near its disk alarm, at which it takes nothing more",
        at: "20m",
        fires: (
            &[
                (r#"rabbitmq_disk_space_available_bytes{instance="r"}"#, "90000000x30"),
                (r#"rabbitmq_disk_space_available_limit_bytes{instance="r"}"#, "50000000x30"),
            ],
            &[("instance", "r")],
        ),
        quiet: &[
            (r#"rabbitmq_disk_space_available_bytes{instance="r"}"#, "900000000x30"),
            (r#"rabbitmq_disk_space_available_limit_bytes{instance="r"}"#, "50000000x30"),
        ],
    },
    Alert {
        name: "OcelliFailuresGrow",
        expression: "max by (analyzer) (ocelli_catalog_jobs{state=\"failed\"}) \
                     - max by (analyzer) (ocelli_catalog_jobs{state=\"failed\"} offset 6h) > 100",
        pending: "0m",
        severity: "ticket",
        summary: "More than 100 jobs of {{ $labels.analyzer }} have failed in six hours",
        at: "7h",
        fires: (
            &[(r#"ocelli_catalog_jobs{analyzer="a",state="failed"}"#, "0+1x500")],
            &[("analyzer", "a")],
        ),
        quiet: &[(r#"ocelli_catalog_jobs{analyzer="a",state="failed"}"#, "5000x500")],
    },
    Alert {
        name: "OcelliDeadLetters",
        expression: "max(ocelli_dead_letters_kept) > 0",
        pending: "10m",
        severity: "ticket",
        summary: "Messages died in their queue and wait for people",
        at: "20m",
        fires: (&[(r#"ocelli_dead_letters_kept{instance="c"}"#, "2x30")], &[]),
        quiet: &[(r#"ocelli_dead_letters_kept{instance="c"}"#, "0x30")],
    },
    Alert {
        name: "OcelliEventsGivenUp",
        expression: "max by (listener) (ocelli_events_waiting{state=\"given_up\"}) > 0",
        pending: "10m",
        severity: "ticket",
        summary: "{{ $labels.listener }} has not taken events for days, and is told of them no more",
        at: "20m",
        fires: (
            &[(r#"ocelli_events_waiting{listener="site",state="given_up",instance="c"}"#, "2x30")],
            &[("listener", "site")],
        ),
        quiet: &[
            (r#"ocelli_events_waiting{listener="site",state="given_up",instance="c"}"#, "0x30"),
            (r#"ocelli_events_waiting{listener="site",state="waiting",instance="c"}"#, "7x30"),
        ],
    },
    Alert {
        name: "OcelliEventsLate",
        expression: "max by (listener) (ocelli_event_oldest_age_seconds) > 3600",
        pending: "10m",
        severity: "ticket",
        summary: "{{ $labels.listener }} has not been told of a record for more than an hour",
        at: "20m",
        fires: (
            &[(r#"ocelli_event_oldest_age_seconds{listener="site",instance="c"}"#, "4000+60x30")],
            &[("listener", "site")],
        ),
        quiet: &[(r#"ocelli_event_oldest_age_seconds{listener="site",instance="c"}"#, "3000x30")],
    },
    Alert {
        name: "OcelliJobsLost",
        expression: "sum(increase(ocelli_swept_jobs_total{program=\"ocelli-collector\"}[1h])) > 0",
        pending: "0m",
        severity: "ticket",
        summary: "Jobs had got lost and were enqueued again",
        at: "30m",
        fires: (&[(r#"ocelli_swept_jobs_total{program="ocelli-collector"}"#, "0x10 5x60")], &[]),
        quiet: &[(r#"ocelli_swept_jobs_total{program="ocelli-collector"}"#, "5x60")],
    },
    Alert {
        name: "OcelliSweeperStopped",
        expression: "time() - max(ocelli_last_sweep_timestamp_seconds) > 1800",
        pending: "5m",
        severity: "ticket",
        summary: "No sweep has come to its end for half an hour: what gets lost stays lost",
        at: "60m",
        fires: (&[(r#"ocelli_last_sweep_timestamp_seconds{instance="c"}"#, "60x90")], &[]),
        quiet: &[(r#"ocelli_last_sweep_timestamp_seconds{instance="c"}"#, "0+60x90")],
    },
    Alert {
        name: "OcelliQueueOld",
        expression: "max by (analyzer) (ocelli_oldest_open_job_age_seconds) > 86400 \
                     unless on (analyzer) max by (analyzer) (ocelli_analyzer_paused) == 1",
        pending: "30m",
        severity: "ticket",
        summary: "A question to {{ $labels.analyzer }} has waited for more than a day",
        at: "60m",
        fires: (
            &[
                (r#"ocelli_oldest_open_job_age_seconds{analyzer="a"}"#, "90000x90"),
                (r#"ocelli_analyzer_paused{analyzer="a"}"#, "0x90"),
            ],
            &[("analyzer", "a")],
        ),
        quiet: &[
            (r#"ocelli_oldest_open_job_age_seconds{analyzer="a"}"#, "90000x90"),
            (r#"ocelli_analyzer_paused{analyzer="a"}"#, "1x90"),
        ],
    },
    Alert {
        name: "OcelliModelsAway",
        expression: "sum by (analyzer) (ocelli_llm_endpoints{state=~\"free|full\"}) == 0",
        pending: "15m",
        severity: "ticket",
        summary: "No model server of {{ $labels.analyzer }} can be asked; its jobs wait",
        at: "30m",
        fires: (
            &[
                (r#"ocelli_llm_endpoints{analyzer="a",state="free"}"#, "0x60"),
                (r#"ocelli_llm_endpoints{analyzer="a",state="full"}"#, "0x60"),
                (r#"ocelli_llm_endpoints{analyzer="a",state="away"}"#, "1x60"),
            ],
            &[("analyzer", "a")],
        ),
        quiet: &[
            (r#"ocelli_llm_endpoints{analyzer="a",state="free"}"#, "1x60"),
            (r#"ocelli_llm_endpoints{analyzer="a",state="full"}"#, "0x60"),
            (r#"ocelli_llm_endpoints{analyzer="a",state="away"}"#, "1x60"),
        ],
    },
    Alert {
        name: "OcelliBudgetNear",
        expression: "max by (budget) (ocelli_budget_used_ratio) > 0.9",
        pending: "0m",
        severity: "ticket",
        summary: "More than 90 % of the budget of {{ $labels.budget }} is spent",
        at: "5m",
        fires: (
            &[(r#"ocelli_budget_used_ratio{budget="25 USD per month for gpt"}"#, "0.95x10")],
            &[("budget", "25 USD per month for gpt")],
        ),
        quiet: &[(r#"ocelli_budget_used_ratio{budget="25 USD per month for gpt"}"#, "0.5x10")],
    },
    Alert {
        name: "OcelliReadersDie",
        expression: "sum by (instance) (increase(ocelli_ocr_children_lost_total{reason=~\"died|deadline\"}[1h])) > 20",
        pending: "0m",
        severity: "ticket",
        summary: "More than 20 readers of {{ $labels.instance }} have died or hung in an hour",
        at: "60m",
        fires: (
            &[(r#"ocelli_ocr_children_lost_total{reason="died",instance="w"}"#, "0+1x90")],
            &[("instance", "w")],
        ),
        quiet: &[(r#"ocelli_ocr_children_lost_total{reason="died",instance="w"}"#, "0x50 3x40")],
    },
];
