"""Reaching a Dask scheduler: one of the user's, or one of this run's own that nobody else can speak to."""

from __future__ import annotations

import os
from asyncio import CancelledError
from collections.abc import Iterator
from concurrent.futures import CancelledError as FutureCancelledError
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from hirescam_cli.batch.options import RunOptions, processors
from hirescam_cli.children import child_environment
from hirescam_cli.errors import HirescamError, UnavailableError, UsageError

_CONNECT_SECONDS = 20.0
_TLS = "tls://"


@contextmanager
def connected(options: RunOptions) -> Iterator[Any]:
    """A client of the scheduler, or of a cluster of this run's own for "local".

    Raises UsageError without Dask, or without the certificates that an address asks for; UnavailableError if no
    scheduler answers.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise _missing("Dask") from error
    with ExitStack() as stack:
        address: Any = options.scheduler
        if address == "local":
            address = stack.enter_context(_own_cluster(options))
        elif str(address).startswith(_TLS):
            _check_certificates()
        try:
            client = _client(address)
        except (OSError, ValueError, TypeError, ImportError) as error:
            raise UnavailableError(
                f"No Dask scheduler answers at {options.scheduler}.",
                hint=(
                    "Start one with `dask scheduler` and give its address, such as tcp://host:8786; that of one with "
                    "TLS begins with tls://, and it wants a certificate that it trusts."
                ),
                code="scheduler-unreachable",
            ) from error
        stack.callback(_closed, client)
        yield client


@contextmanager
def scheduler_needed(client: Any) -> Iterator[None]:
    """Whatever goes wrong inside because the scheduler is gone becomes one UnavailableError."""
    try:
        yield
    except HirescamError:
        raise
    except (CancelledError, FutureCancelledError, OSError, TimeoutError) as error:
        # A closed connection; and futures of a client whose connection closed count as cancelled.
        raise scheduler_lost() from error
    except Exception as error:
        if client.status == "running":
            raise
        raise scheduler_lost() from error


def scheduler_lost() -> UnavailableError:
    """The error of a run whose scheduler went away."""
    return UnavailableError(
        "The Dask scheduler is gone.",
        code="scheduler-lost",
        stage="run",
        hint="Start it anew and run the same command again: finished cases are kept.",
    )


def _client(address: Any) -> Any:
    """A client that is connected. What it raises leaves nothing that would wait or complain."""
    from distributed import Client

    class Connected(Client):  # type: ignore[misc]
        def start(self, **more: Any) -> None:
            try:
                super().start(**more)
            except BaseException:
                # Else the client would try to say goodbye, for twice as long as it tried to connect.
                self.status = "closed"
                raise

    return Connected(address, timeout=_CONNECT_SECONDS, set_as_default=False)


def _closed(client: Any) -> None:
    """Close a client, whose scheduler may be gone."""
    with suppress(CancelledError, FutureCancelledError, OSError, TimeoutError, RuntimeError):
        client.close()


@contextmanager
def _own_cluster(options: RunOptions) -> Iterator[Any]:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise _missing("cryptography") from error
    from hirescam_cli.batch.local_cluster import local_cluster

    with _children_search_the_installation(), local_cluster(options.jobs or max(1, processors() // 2)) as own:
        yield own


def _missing(what: str) -> UsageError:
    return UsageError(
        f"--scheduler needs {what}, which is not installed.",
        hint='Install "hirescam-cli[dask]", or divide the work with --num-parts and --part-id.',
        code="dask-missing",
    )


def _check_certificates() -> None:
    """UsageError where Dask knows no certificates for a scheduler with TLS."""
    from distributed import Security

    if Security().get_connection_args("client").get("ssl_context") is None:
        raise UsageError(
            "The scheduler's address asks for TLS and Dask has no certificates.",
            hint=(
                "Set distributed.comm.tls.ca-file, .client.cert and .client.key in Dask's configuration, or "
                "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ..__CLIENT__CERT and ..__CLIENT__KEY."
            ),
            code="scheduler-tls",
        )


@contextmanager
def _children_search_the_installation() -> Iterator[None]:
    """Inside the context, Python processes that others start search the working folder for no module."""
    wanted = child_environment() | {"PYTHONSAFEPATH": "1"}
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "PYTHONSAFEPATH")}
    os.environ.update({name: wanted[name] for name in before})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
