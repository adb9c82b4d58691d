"""FastStream: a message for each of three analyzers, each handler stores its own row."""

import asyncio
import os
import subprocess
import sys

import asyncpg
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

import work

PREFETCH = int(os.environ.get("PREFETCH", "64"))
broker = RabbitBroker(work.AMQP_URL, default_channel=Channel(prefetch_count=PREFETCH, publisher_confirms=True), logger=None)
app = FastStream(broker, logger=None)
queue = RabbitQueue("peer", queue_type=QueueType.QUORUM, durable=True)
ADD = "INSERT INTO analyses (digest, analyzer, text) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
pool = None


@app.on_startup
async def connect():
    global pool
    pool = await asyncpg.create_pool(work.DATABASE_URL, min_size=8, max_size=8)


@broker.subscriber(queue, ack_policy=AckPolicy.NACK_ON_ERROR)
async def analyze(job: dict) -> None:
    await pool.execute(ADD, job["digest"], job["analyzer"], work.read(job["digest"], job["path"]))


def worker():
    if sys.argv[2:] == ["one"]:
        asyncio.run(app.run())
        return
    words = [sys.executable, __file__, "worker", "one"]
    processes = [subprocess.Popen(words) for _ in range(work.CONCURRENCY)]
    for process in processes:
        process.wait()


def produce(images):
    asyncio.run(enqueue(images))


async def enqueue(images):
    await broker.connect()
    await broker.declare_queue(queue)
    sending = set()
    for digest, path, _ in images:
        for analyzer in work.ANALYZERS:
            job = {"analyzer": analyzer, "digest": digest, "path": path}
            sending.add(asyncio.create_task(broker.publish(job, queue=queue, persist=True)))
        if len(sending) >= 256:
            done, sending = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
            [task.result() for task in done]
    for task in sending:
        await task
    await broker.stop()


if __name__ == "__main__":
    work.main(worker, produce)
