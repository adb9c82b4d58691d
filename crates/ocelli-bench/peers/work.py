"""What every peer does, whatever its framework: the same tables, the same task, the same way to begin.

The settings come from the environment: AMQP_URL, DATABASE_URL, CONCURRENCY. A peer is called with `prepare` (make the
tables), `worker` (stay) or `produce FOLDER` (enqueue the files of a folder: says `ready` when it could begin, begins when
a line comes in, and ends when the broker has confirmed everything).
"""

import hashlib
import os
import pathlib
import sys
import threading

AMQP_URL = os.environ["AMQP_URL"]
DATABASE_URL = os.environ["DATABASE_URL"]
CONCURRENCY = int(os.environ.get("CONCURRENCY", "2"))
ANALYZERS = ("null-a", "null-b", "null-c")

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    digest text PRIMARY KEY, path text NOT NULL, bytes bigint NOT NULL, first_seen timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS analyses (
    digest text NOT NULL, analyzer text NOT NULL, text text NOT NULL, finished_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (digest, analyzer));
"""
ADD_IMAGE = "INSERT INTO images (digest, path, bytes) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
ADD_ANALYSIS = "INSERT INTO analyses (digest, analyzer, text) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"

_local = threading.local()


def connection():
    """The database connection of this thread; each statement is a transaction, committed when it returns."""
    if getattr(_local, "connection", None) is None:
        import psycopg

        _local.connection = psycopg.connect(DATABASE_URL, autocommit=True)
    return _local.connection


def prepare():
    connection().execute(SCHEMA)


def read(digest, path):
    """The image's bytes, checked; what a null analyzer answers."""
    data = pathlib.Path(path).read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"{path} is another image now")
    return f"nothing was read in {digest[:12]}"


def analyze(analyzer, digest, path):
    """One task: read, store, and only then return to be acknowledged."""
    connection().execute(ADD_ANALYSIS, (digest, analyzer, read(digest, path)))


def images(folder):
    """(digest, path, bytes) of every file below a folder."""
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            yield hashlib.sha256(data).hexdigest(), str(path), len(data)


def begin(folder):
    """Waits to be let go; then the images of the folder, written into the database in batches of 500."""
    connection()
    print("ready", flush=True)
    sys.stdin.readline()
    batch = []
    for image in images(folder):
        batch.append(image)
        if len(batch) == 500:
            yield from stored(batch)
            batch = []
    yield from stored(batch)


def stored(batch):
    with connection().transaction(), connection().cursor() as cursor:
        cursor.executemany(ADD_IMAGE, batch)
    return batch


def main(worker, produce):
    match sys.argv[1:]:
        case ["prepare"]:
            prepare()
        case ["worker", *_]:
            worker()
        case ["produce", folder]:
            produce(begin(folder))
        case _:
            sys.exit("prepare, worker or produce FOLDER")
