"""Celery: a group of three tasks for an image, each stores its own row. With CHORD=1 the tasks return their texts and a
chord's callback stores the record, which is Celery's own way to gather."""

import os

import celery
from celery import chord, group
from kombu import Queue

import work

CHORD = os.environ.get("CHORD") == "1"

app = celery.Celery("peer_celery", broker=work.AMQP_URL)
app.conf.update(
    task_default_queue="peer",
    task_queues=[Queue("peer", queue_arguments={"x-queue-type": "quorum"})],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={"confirm_publish": True},
    worker_prefetch_multiplier=int(os.environ.get("PREFETCH", "32")),
    worker_concurrency=work.CONCURRENCY,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    task_ignore_result=not CHORD,
)
if CHORD:
    url = work.DATABASE_URL.replace("postgres://", "postgresql+psycopg://")
    app.conf.update(result_backend=f"db+{url}", result_chord_retry_interval=0.1)


@app.task
def analyze(analyzer, digest, path):
    if CHORD:
        return [analyzer, work.read(digest, path)]
    return work.analyze(analyzer, digest, path)


@app.task(ignore_result=True)
def gather(answers, digest):
    with work.connection().transaction(), work.connection().cursor() as cursor:
        rows = [(digest, analyzer, text) for analyzer, text in answers]
        cursor.executemany(work.ADD_ANALYSIS, rows)


def worker():
    app.worker_main(
        ["worker", "--loglevel=WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    )


def produce(images):
    with app.producer_or_acquire() as producer:
        for digest, path, _ in images:
            tasks = [analyze.s(analyzer, digest, path) for analyzer in work.ANALYZERS]
            if CHORD:
                chord(tasks)(gather.s(digest))
            else:
                group(tasks).apply_async(producer=producer)


if __name__ == "__main__":
    work.main(worker, produce)
