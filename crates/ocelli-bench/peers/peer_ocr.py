"""Celery with tesserocr: one task for an image, which reads it with one Tesseract of the process and stores the text."""

import os

import celery
from celery.signals import worker_process_init
from kombu import Queue

import work

app = celery.Celery("peer_ocr", broker=work.AMQP_URL)
app.conf.update(
    task_default_queue="peer",
    task_queues=[Queue("peer", queue_arguments={"x-queue-type": "quorum"})],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={"confirm_publish": True},
    worker_prefetch_multiplier=2,
    worker_concurrency=work.CONCURRENCY,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
)
engine = None


@worker_process_init.connect
def load(**_):
    global engine
    import tesserocr

    engine = tesserocr.PyTessBaseAPI(path=os.environ["TESSDATA_PREFIX"], lang="eng", psm=tesserocr.PSM.AUTO)


@app.task
def analyze(digest, path):
    work.read(digest, path)
    engine.SetImageFile(path)
    text = engine.GetUTF8Text()
    work.connection().execute(work.ADD_ANALYSIS, (digest, "tesserocr", text))


def worker():
    app.worker_main(["worker", "--loglevel=WARNING", "--without-gossip", "--without-mingle"])


def produce(images):
    with app.producer_or_acquire() as producer:
        for digest, path, _ in images:
            analyze.apply_async((digest, path), producer=producer)


if __name__ == "__main__":
    work.main(worker, produce)
