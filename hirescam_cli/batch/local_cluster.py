"""A Dask cluster of this machine for one run: only processes that hold the run's own certificate can speak to it.

Whoever may speak to a Dask scheduler or worker can run code as its owner. Dask's own local cluster listens on the
loopback interface for every user of the machine, without asking who speaks, and answers over HTTP too. Here every
connection is TLS in both directions, with a certificate that is made for the run, never leaves memory and the pipes to
the run's processes, and nothing answers over HTTP.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Nanny, Scheduler, Security, SpecCluster, Worker

_HOST, _PROTOCOL = "127.0.0.1", "tls://"


class _SilentScheduler(Scheduler):  # type: ignore[misc]
    """A scheduler without an HTTP server."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Dask starts one whatever is configured."""


class SilentWorker(Worker):  # type: ignore[misc]
    """A worker without an HTTP server."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Dask starts one whatever is configured."""


@contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """A running cluster of `workers` processes with one thread each."""
    security = Security.temporary()
    shared = {"host": _HOST, "protocol": _PROTOCOL, "security": security, "dashboard": False}
    scheduler = {"cls": _SilentScheduler, "options": {**shared, "port": 0, "dashboard_address": None}}
    worker = {
        "cls": Nanny,
        "options": {
            **shared,
            "worker_class": SilentWorker,
            "nthreads": 1,
            "memory_limit": 0,
            "silence_logs": logging.CRITICAL,
            "dashboard_address": None,
        },
    }
    spec = dict.fromkeys(range(workers), worker)
    with (
        _only_critical("distributed"),
        SpecCluster(workers=spec, scheduler=scheduler, security=security, silence_logs=False) as cluster,
    ):
        yield cluster


@contextmanager
def _only_critical(name: str) -> Iterator[None]:
    """Inside, these loggers say nothing of a scheduler that nobody else knows, up to the end of its closing."""
    loggers = [
        logging.getLogger(known)
        for known in [name, *logging.root.manager.loggerDict]
        if known.startswith(name)
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
