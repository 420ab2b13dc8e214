"""How much memory a stretch of work took."""

from __future__ import annotations

from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class PeakMemory:
    """Peak resident memory of this process since the object was made.

    Linux forgets its high-water mark on request; elsewhere, and where that is forbidden, nothing is known.
    """

    def __init__(self) -> None:
        try:
            _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        except OSError:
            self._known = False
        else:
            self._known = True

    def mib(self) -> float | None:
        """The peak in MiB; None where the system does not tell it."""
        if not self._known:
            return None
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return None
