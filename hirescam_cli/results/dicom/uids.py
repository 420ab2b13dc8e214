"""UIDs of results: the same case gives the same ones again.

A UID is 2.25. and a UUID of version 5 (PS3.5 B.2, RFC 9562) of a name that says what the object is of: the hash of all
that decides the case's content (options, model, weights, precision, version), the fingerprint of the scan's bytes, the
UIDs of every source instance, and then what kind of object of which method, label, placement and style. So whoever
explains a scan again and sends the result again replaces it in the archive and does not double it, and results of
other options are other objects.
"""

from __future__ import annotations

import hashlib
import json
from uuid import UUID, uuid5

from hirescam_cli.case.record import Case
from hirescam_cli.volume import DicomSource

_NAMESPACE = UUID("177c77fc-d399-5c70-9612-9cc11c126871")


class Uids:
    """The UIDs of one case."""

    def __init__(self, case: Case, source: DicomSource) -> None:
        instances = sorted(str(instance.sop_uid) for instance in source.instances)
        self._case = [
            case.run.params_hash,
            case.input.fingerprint,
            case.input.volume,
            source.study_uid,
            source.series_uid,
            hashlib.sha256("\n".join(instances).encode()).hexdigest(),
        ]

    def of(self, *what: str | int | float | bool | None) -> str:
        """The UID of something of this case: the same for the same `what`."""
        name = json.dumps([*self._case, *what], allow_nan=False)
        return f"2.25.{uuid5(_NAMESPACE, name).int}"
