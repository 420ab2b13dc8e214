"""Trying again: what passes by itself is waited for, a limited number of times and ever longer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar

import requests

from hirescam_cli.errors import UnavailableError

PASSING = frozenset(
    (
        HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT,
    )
)  # fmt: skip
Answer = TypeVar("Answer")
Say = Callable[[str], None]


class PassingError(Exception):
    """A failure that may pass. `reason`: what happened, without addresses; `wait`: seconds that it asks for."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.wait = reason, wait


@dataclass(frozen=True)
class Patience:
    """`retries`: further attempts. Waits double from `first` to `longest` seconds; an archive that asks for more than
    `longest` is not waited for."""

    retries: int = 5
    first: float = 1.0
    longest: float = 120.0
    sleep: Callable[[float], None] = time.sleep

    def ask(self, place: str, what: str, send: Callable[[], Answer], say: Say) -> Answer:
        """The answer of `send`. Raises UnavailableError when its failures outlast our patience."""
        attempt = 0
        while True:
            try:
                return send()
            except PassingError as trouble:
                reason, asked = trouble.reason, trouble.wait
            wait = min(self.longest, self.first * 2**attempt) * random.uniform(0.75, 1.0)
            wait = wait if asked is None else asked
            if attempt >= self.retries or wait > self.longest:
                late = f"; it asks to wait {wait:.0f} s" if wait > self.longest else ""
                raise UnavailableError(
                    f"The archive {place} failed to {what}: {reason}{late} ({attempt + 1} attempts).",
                    hint="Run the same command again later: what was done is kept.",
                    code="pacs-unavailable",
                    stage="archive",
                )
            attempt += 1
            say(f"{reason}; attempt {attempt + 1} of {self.retries + 1} in {wait:.0f} s")
            self.sleep(wait)


def passing(status: int, headers: requests.structures.CaseInsensitiveDict[str]) -> PassingError | None:
    """The failure that a status means, if it may pass."""
    if status not in PASSING:
        return None
    return PassingError(
        f"it answered {status} ({HTTPStatus(status).phrase})", _asked(headers.get("Retry-After"))
    )


def _asked(text: str | None) -> float | None:
    """Seconds that Retry-After (a number or a date) asks for."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def broken(error: requests.RequestException) -> PassingError | UnavailableError:
    """What a failure of the connection means: only its kind is told, since its text may hold addresses and queries."""
    if isinstance(error, requests.exceptions.SSLError):
        return UnavailableError(
            "The archive's TLS certificate is not trusted, or it does not speak TLS.",
            hint="Give the certificate of its issuer with --ca-file.",
            code="pacs-tls",
            stage="archive",
        )
    kinds: tuple[tuple[type[requests.RequestException], str], ...] = (
        (requests.exceptions.ProxyError, "the proxy failed"),
        (requests.exceptions.ConnectTimeout, "no connection in time"),
        (requests.exceptions.Timeout, "no answer in time"),
        (requests.exceptions.ChunkedEncodingError, "the connection was lost in the middle of an answer"),
        (requests.exceptions.ContentDecodingError, "the answer was damaged"),
        (requests.exceptions.ConnectionError, "there is no connection"),
        (requests.exceptions.JSONDecodeError, "the answer is not JSON"),
    )
    for kind, reason in kinds:
        if isinstance(error, kind):
            return PassingError(reason)
    return PassingError(f"the request failed ({type(error).__name__})")
