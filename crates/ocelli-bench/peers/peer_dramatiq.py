"""Dramatiq: a group of three messages for an image, each stores its own row. Its group callbacks need Redis or Memcached;
here the rows themselves say when a record is complete."""

import os
import sys

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

import work


class QuorumBroker(RabbitmqBroker):
    """Queues of Dramatiq are classic ones; ours are quorum queues, as everybody's in this comparison."""

    def _build_queue_arguments(self, queue_name):
        return super()._build_queue_arguments(queue_name) | {"x-queue-type": "quorum"}


broker = QuorumBroker(url=work.AMQP_URL, confirm_delivery=True)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="peer")
def analyze(analyzer, digest, path):
    work.analyze(analyzer, digest, path)


def worker():
    os.environ["dramatiq_queue_prefetch"] = os.environ.get("PREFETCH", "64")
    threads = os.environ.get("THREADS", "4")
    words = ["dramatiq", "peer_dramatiq", "--processes", str(work.CONCURRENCY), "--threads", threads]
    os.execv(sys.executable, [sys.executable, "-m", *words])


def produce(images):
    for digest, path, _ in images:
        dramatiq.group(analyze.message(analyzer, digest, path) for analyzer in work.ANALYZERS).run()


if __name__ == "__main__":
    work.main(worker, produce)
