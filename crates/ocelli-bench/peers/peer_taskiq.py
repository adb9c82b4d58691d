"""Taskiq with taskiq-aio-pika: three tasks for an image, each stores its own row."""

import asyncio
import os
import sys

import asyncpg
from taskiq import TaskiqEvents
from taskiq_aio_pika import AioPikaBroker
from taskiq_aio_pika.queue import Queue, QueueType

import work

PREFETCH = int(os.environ.get("PREFETCH", "64"))
broker = AioPikaBroker(work.AMQP_URL, qos=PREFETCH, task_queues=[Queue(name="peer", type=QueueType.QUORUM)])
ADD = "INSERT INTO analyses (digest, analyzer, text) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
pool = None


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def connect(_state):
    global pool
    pool = await asyncpg.create_pool(work.DATABASE_URL, min_size=8, max_size=8)


@broker.task(task_name="analyze")
async def analyze(analyzer: str, digest: str, path: str) -> None:
    await pool.execute(ADD, digest, analyzer, work.read(digest, path))


def worker():
    words = ["taskiq", "worker", "peer_taskiq:broker", "--workers", str(work.CONCURRENCY)]
    words += ["--ack-type", "when_executed", "--max-async-tasks", str(PREFETCH), "--log-level", "WARNING"]
    os.execv(sys.executable, [sys.executable, "-m", *words])


def produce(images):
    asyncio.run(enqueue(images))


async def enqueue(images):
    await broker.startup()
    sending = set()
    for digest, path, _ in images:
        for analyzer in work.ANALYZERS:
            sending.add(asyncio.create_task(analyze.kiq(analyzer, digest, path)))
        if len(sending) >= 256:
            done, sending = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
            [task.result() for task in done]
    for task in sending:
        await task
    await broker.shutdown()


if __name__ == "__main__":
    work.main(worker, produce)
