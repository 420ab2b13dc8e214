"""How to reach an archive: its address, who we are, whose certificates count. No message shows a secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from netrc import NetrcParseError, netrc
from pathlib import Path
from urllib.parse import urlsplit

from hirescam_cli.errors import UsageError
from hirescam_cli.options import check, stated

USER, PASSWORD, TOKEN = "HIRESCAM_PACS_USER", "HIRESCAM_PACS_PASSWORD", "HIRESCAM_PACS_TOKEN"
_ADDRESS = "Give --url or HIRESCAM_PACS_URL, such as https://pacs.example.org/dicom-web."


@dataclass(frozen=True)
class ArchiveOptions:
    """Options of every exchange with an archive; see the table in `options`."""

    url: str | None = stated("url")
    ca_file: Path | None = stated("ca-file")
    retries: int = stated("retries")
    answer_timeout: float = stated("answer-timeout")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Credentials:
    """Who we are: a user with a password, or a token. Its text shows neither."""

    user: str | None = None
    secret: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"user {self.user}" if self.user is not None else "a token"


@dataclass(frozen=True)
class Access:
    """A checked address without a slash at its end, and what goes with it. `place`: host and port, for messages."""

    url: str
    place: str
    credentials: Credentials | None
    ca_file: Path | None
    retries: int
    answer_timeout: float

    @property
    def in_the_clear(self) -> bool:
        """Whether credentials would travel unencrypted over a network."""
        return self.credentials is not None and self.url.startswith("http:") and not _is_here(self.place)


def access(options: ArchiveOptions, environment: Mapping[str, str] = os.environ) -> Access:
    """The access that options, environment and the netrc file give. Raises UsageError, never with a secret in it."""
    if not options.url:
        raise UsageError("No archive is named.", hint=_ADDRESS, code="pacs-url")
    try:
        parts = urlsplit(options.url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise UsageError("--url is not an http or https address.", hint=_ADDRESS, code="pacs-url")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise UsageError(
            "--url holds more than scheme, host, port and path.",
            hint=f"Credentials come from {USER} and {PASSWORD}, {TOKEN}, or the netrc file.",
            code="pacs-url",
        )
    if options.ca_file is not None and not options.ca_file.is_file():
        raise UsageError(
            f"--ca-file {options.ca_file} is not a file.", hint="Give a PEM file.", code="pacs-ca"
        )
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    return Access(
        url=f"{parts.scheme}://{place}{parts.path.rstrip('/')}",
        place=place,
        credentials=_credentials(host, environment),
        ca_file=options.ca_file,
        retries=options.retries,
        answer_timeout=options.answer_timeout,
    )


def _credentials(host: str, environment: Mapping[str, str]) -> Credentials | None:
    token, user, password = (environment.get(name) or None for name in (TOKEN, USER, PASSWORD))
    if token and (user or password):
        raise UsageError(f"Both {TOKEN} and {USER} are set.", hint="Unset one.", code="pacs-credentials")
    if token:
        return Credentials(None, token)
    if user:
        return Credentials(user, password or "")
    if password:
        raise UsageError(
            f"{PASSWORD} is set without {USER}.", hint=f"Set {USER} too.", code="pacs-credentials"
        )
    return _from_netrc(host, environment)


def _from_netrc(host: str, environment: Mapping[str, str]) -> Credentials | None:
    """The entry of the file that NETRC names, or of ~/.netrc; the default entry does not count."""
    path = Path(environment.get("NETRC") or "~/.netrc")
    try:
        path = path.expanduser()
        if not path.is_file():
            return None
        found = netrc(path).hosts.get(host)
    except NetrcParseError as error:
        # The parser's message quotes what it stumbled over, which may be a secret.
        raise UsageError(
            f"The netrc file is malformed at line {error.lineno}.",
            hint="Correct it.",
            code="pacs-credentials",
        ) from None
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None
    return None if found is None else Credentials(found[0], found[2] or "")


def _is_here(place: str) -> bool:
    host = place.rpartition(":")[0] if not place.endswith("]") and ":" in place else place
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
