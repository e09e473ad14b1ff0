"""Whoever computes chunks, found or started: worker processes of this machine, or a scheduler that runs somewhere."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from linsim.errors import InvalidInput, RunFailed, brief_error, require, require_integer
from linsim.sweeping.cluster.allowed import require_address, require_guard
from linsim.sweeping.cluster.computing import Cluster
from linsim.sweeping.running import Hands, ThisProcess

ANSWER = 10.0
"""Seconds in which a scheduler must answer, and have a worker."""

_GRACE = 0.5  # seconds for a worker of this machine to end
_LOUD = ("distributed", "tornado", "asyncio")

# A worker process of this machine starts with it. An interrupt reaches it, too, but the client is to end it.
_PRELOAD = """import logging, signal; signal.signal(signal.SIGINT, signal.SIG_IGN)
logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)"""


@contextmanager
def hands(scheduler: str | None, workers: int | None, unencrypted: bool = False) -> Iterator[Hands]:
    """Whoever computes chunks: workers of a cluster until the context ends, or this process.

    Args:
      scheduler: address of a running Dask scheduler, `tls://HOST:PORT`, or `tcp://` on this machine.
      workers: how many worker processes to start on this machine; both None is this process.
      unencrypted: go beyond this machine without TLS, too.

    Raises:
      InvalidInput: the scheduler is elsewhere without TLS, does not answer, or has no workers, or ones of other
        versions; no Dask; a script that worker processes would begin again.
      RunFailed: later, from the sweep: scheduler or workers were lost, or a chunk failed.
    """
    if scheduler is None and workers is None:
        yield ThisProcess()
        return
    require(scheduler is None or workers is None, "workers", workers, "none beside a scheduler, which has its own")
    if workers is not None:
        require_integer("workers", workers, at_least=1)
        require_guard("workers", workers)
    if scheduler is not None:
        require_address("scheduler", scheduler, unencrypted)
    asked: tuple[str, Any] = ("workers", workers) if scheduler is None else ("scheduler", scheduler)
    try:
        dask = importlib.import_module("distributed")  # an extra
    except ImportError as error:
        raise InvalidInput(*asked, "anything once Dask is there: pip install 'linsim[cluster]'") from error
    with _quiet(), _started(dask, workers or 1) if scheduler is None else _connected(dask, scheduler) as client:
        cluster = Cluster(dask, client)
        try:
            cluster.look()
        except RunFailed as error:
            raise InvalidInput(*asked, f"versions as here: {error}") from error
        yield cluster


@contextmanager
def _started(dask: Any, workers: int) -> Iterator[Any]:
    """A client of new worker processes of this machine."""
    quiet = {"silence_logs": logging.CRITICAL + 1, "preload": [_PRELOAD]}
    # Even without a dashboard the scheduler answers health checks: not at a port that others may have taken.
    unseen = {"dashboard_address": None, "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"}}
    # By default workers compute with one BLAS thread: the last bits of a decomposition would differ from the client's.
    with importlib.import_module("dask").config.set({"distributed.nanny.pre-spawn-environ": {}}):
        try:
            cluster = dask.LocalCluster(n_workers=workers, threads_per_worker=1, memory_limit=None, **quiet, **unseen)
        except Exception as error:
            raise RunFailed(f"workers: {workers} processes could not be started ({brief_error(error)})") from error

        async def dismiss() -> None:  # without the seconds that Dask leaves for what nobody waits for any more
            ends = (each.close(timeout=_GRACE) for each in cluster.workers.values())
            await asyncio.gather(*ends, return_exceptions=True)

        with cluster:
            try:
                with dask.Client(cluster, set_as_default=False) as client:
                    yield client
            finally:
                cluster.sync(dismiss)


@contextmanager
def _connected(dask: Any, address: str) -> Iterator[Any]:
    """A client of a scheduler that runs."""
    try:
        client = dask.Client(address, timeout=ANSWER, set_as_default=False)
    except Exception as error:  # whatever the layers below say of names and ports
        raise InvalidInput("scheduler", address, f"one that answers in {ANSWER:g} s ({brief_error(error)})") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=ANSWER)
        except TimeoutError as error:
            raise InvalidInput("scheduler", address, f"one with workers: none came in {ANSWER:g} s") from error
        yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """What Dask logs on the way is not for users: what matters of it, they are told in one line."""
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.split(".")[0] in _LOUD]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
