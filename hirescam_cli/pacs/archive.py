"""An archive over DICOMweb: searching (QIDO-RS), fetching (WADO-RS) and storing (STOW-RS).

Searches go through dicomweb-client. Instances travel as the bytes they are, which that library would decode and encode
again: the hash that a case gives is then the hash of what was sent, and the archive's bytes are those that are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

import requests
from dicomweb_client.web import DICOMwebClient

from hirescam_cli.errors import UnavailableError
from hirescam_cli.identifiers import is_uid
from hirescam_cli.pacs.access import PASSWORD, TOKEN, USER, Access
from hirescam_cli.pacs.multipart import Body, instance_of
from hirescam_cli.pacs.patience import Answer, PassingError, Patience, Say, broken, passing
from hirescam_cli.pacs.query import SERIES_KEYS, STUDY_KEYS
from hirescam_cli.pacs.session import open_session
from hirescam_cli.pacs.stored import Stored, read_answer

# An attribute of an answer in the DICOM JSON model, by tag (PS3.18 annex F).
Attributes: TypeAlias = dict[str, dict[Any, Any]]
STUDY, SERIES, INSTANCE, SOP_CLASS = (
    STUDY_KEYS["StudyInstanceUID"],
    SERIES_KEYS["SeriesInstanceUID"],
    "00080018",
    "00080016",
)
_PAGE = 500
_CONNECT_SECONDS = 10.0
_ACCEPTED = (
    'multipart/related; type="application/dicom"; transfer-syntax=*',
    'multipart/related; type="application/dicom"',
)


class RefusedError(UnavailableError):
    """The archive said no to one request. `reason`: its status in words."""

    def __init__(self, status: int) -> None:
        self.status = status
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "unknown status"
        self.reason = f"the archive answered {status} ({phrase})"
        super().__init__(
            f"T{self.reason[1:]}.",
            hint="Check that --url is the root of its DICOMweb service and that it can search so.",
            code="pacs-refused",
            stage="archive",
        )


class Archive:
    """Requests to one archive. Raises RefusedError for one that is refused for itself, and UnavailableError where the
    archive cannot be reached, does not let us in, or fails for longer than `patience`."""

    def __init__(self, access: Access, say: Say, patience: Patience | None = None) -> None:
        self._access, self._say = access, say
        self._patience = patience or Patience(access.retries)
        self._session = open_session(access)
        self._timeout = (_CONNECT_SECONDS, access.answer_timeout)
        self._client = DICOMwebClient(access.url, self._session, timeout=self._timeout, permissive_uid=True)
        self._client.set_http_retry_params(retry=False)
        self._accept = 0

    @property
    def url(self) -> str:
        """Its address, without credentials."""
        return self._access.url

    def studies(self, filters: Mapping[str, str], most: int) -> list[Attributes]:
        """The studies that match; no further page is asked for once there are more than `most`."""
        search = self._client.search_for_studies
        return self._pages(
            "search", STUDY, lambda at: search(search_filters=dict(filters), limit=_PAGE, offset=at), most
        )

    def series(
        self, study: str | None, filters: Mapping[str, str], most: int | None = None
    ) -> list[Attributes]:
        """The series of a study, or of all studies, that match; `most` as for studies."""
        search = self._client.search_for_series
        return self._pages(
            "search",
            SERIES,
            lambda at: search(study, search_filters=dict(filters), limit=_PAGE, offset=at),
            most,
        )

    def instances(self, study: str, series: str) -> dict[str, str]:
        """The SOP Instance UIDs of a series, each with its SOP Class UID ("" where the archive does not say)."""
        search = self._client.search_for_instances
        found = self._pages(
            "list a series", INSTANCE, lambda at: search(study, series, limit=_PAGE, offset=at)
        )
        return {text(one, INSTANCE): text(one, SOP_CLASS) for one in found}

    def metadata(self, study: str, series: str, instance: str) -> Attributes:
        """The attributes of an instance."""
        fetch = self._client.retrieve_instance_metadata
        return self._ask("describe an instance", lambda: fetch(study, series, instance))

    def retrieve(self, study: str, series: str, instance: str) -> bytes:
        """An instance as the archive keeps it."""
        url = f"{self.url}/studies/{study}/series/{series}/instances/{instance}"
        return self._ask("send an instance", lambda: self._retrieve(url))

    def store(self, data: bytes, instance: str) -> Stored:
        """Store one instance and tell what the archive made of it."""
        return self._ask("take an instance", lambda: self._store(data, instance))

    def _retrieve(self, url: str) -> bytes:
        response = self._session.get(url, headers={"Accept": _ACCEPTED[self._accept]}, timeout=self._timeout)
        if response.status_code == HTTPStatus.NOT_ACCEPTABLE and self._accept == 0:
            self._accept = 1
            return self._retrieve(url)
        _check(response)
        try:
            return instance_of(response.headers.get("Content-Type", ""), response.content)
        except ValueError as error:
            raise PassingError(f"its answer is damaged: {error}") from None

    def _store(self, data: bytes, instance: str) -> Stored:
        body = Body(data)
        headers = {"Content-Type": body.content_type, "Accept": "application/dicom+json"}
        response = self._session.post(
            f"{self.url}/studies", data=body, headers=headers, timeout=self._timeout, allow_redirects=False
        )
        trouble = passing(response.status_code, response.headers)
        if trouble is not None:
            raise trouble
        stored = read_answer(response.status_code, response.content, instance)
        if stored is None:
            _check(response)
            raise RefusedError(response.status_code)
        return stored

    def _pages(
        self, what: str, key: str, page: Callable[[int], list[Attributes]], most: int | None = None
    ) -> list[Attributes]:
        """All answers of a search: further pages are asked for until one brings nothing new."""
        found: dict[str, Attributes] = {}
        offset = 0
        while True:
            try:
                answers = self._ask(what, lambda at=offset: page(at))  # type: ignore[misc]
            except RefusedError as refused:
                if offset and refused.status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):
                    return list(found.values())
                raise
            fresh = {text(one, key): one for one in answers if text(one, key) not in found}
            if not all(is_uid(uid) for uid in fresh):
                raise _nonsense(self._access.place, "an answer has no valid UID")
            found.update(fresh)
            offset += len(answers)
            if not fresh or (most is not None and len(found) > most):
                return list(found.values())

    def _ask(self, what: str, send: Callable[[], Answer]) -> Answer:
        def once() -> Answer:
            try:
                return send()
            except requests.HTTPError as error:
                if error.response is not None:
                    _check(error.response)
                raise broken(error) from None
            except requests.RequestException as error:
                raise broken(error) from None
            except (ValueError, IndexError):
                raise PassingError("its answer cannot be understood") from None

        return self._patience.ask(self._access.place, what, once, self._say)


def _check(response: requests.Response) -> None:
    """Raise for an answer that is not a success."""
    status = response.status_code
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise UnavailableError(
            f"The archive does not let us in ({status}).",
            hint=f"Set {USER} and {PASSWORD}, or {TOKEN}, or write a netrc file; and ask for the permission.",
            code="pacs-access",
            stage="archive",
        )
    trouble = passing(status, response.headers)
    if trouble is not None:
        raise trouble
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise RefusedError(status)


def _nonsense(place: str, what: str) -> UnavailableError:
    return UnavailableError(
        f"The archive {place} does not answer as DICOMweb asks: {what}.",
        hint="Check that --url is the root of its DICOMweb service.",
        code="pacs-answer",
        stage="archive",
    )


def text(attributes: Attributes, tag: str) -> str:
    """The first value of an attribute as text, "" if it has none; of a person's name its alphabetic form."""
    element = attributes.get(tag) if isinstance(attributes, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    first = values[0] if isinstance(values, list) and values else ""
    if isinstance(first, dict):
        first = first.get("Alphabetic", "")
    return str(first) if first is not None else ""


def count(attributes: Attributes, tag: str) -> int | None:
    """A number that an answer gives; None where it gives none."""
    found = text(attributes, tag)
    return int(found) if found.isdecimal() else None
