"""The HTTP session with an archive: certificates always checked, secrets in no message."""

from __future__ import annotations

import logging
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter

from hirescam_cli.pacs.access import Access, Credentials

# These libraries log addresses with their queries, which may name a patient.
_TALKATIVE = ("urllib3", "requests", "dicomweb_client")


class _Checked(HTTPAdapter):
    """Checks certificates whatever the environment says, and leaves the Host header to the HTTP library."""

    def __init__(self, ca_file: Path | None) -> None:
        self._ca_file = None if ca_file is None else str(ca_file)
        super().__init__()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: dict[str, str] | None = None,
    ) -> requests.Response:
        # dicomweb-client names the host without its port, which is wrong behind a proxy.
        request.headers.pop("Host", None)
        trusted = self._ca_file or (verify if isinstance(verify, str) else True)
        return super().send(request, stream, timeout, trusted, cert, proxies)


class _Authorisation(requests.auth.AuthBase):
    """Ours and none other: with it in place the library looks for no netrc of its own."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._credentials is None:
            return request
        if self._credentials.user is None:
            request.headers["Authorization"] = f"Bearer {self._credentials.secret}"
            return request
        user, secret = self._credentials.user.encode(), self._credentials.secret.encode()
        return requests.auth.HTTPBasicAuth(user, secret)(request)


def open_session(access: Access) -> requests.Session:
    """A session that speaks for us."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    session = requests.Session()
    # Pixels hardly compress, and compressing them costs an archive several times what sending them does.
    session.headers["Accept-Encoding"] = "identity"
    session.auth = _Authorisation(access.credentials)
    session.mount("https://", _Checked(access.ca_file))
    session.mount("http://", _Checked(access.ca_file))
    return session
