"""Many scans: what a scan costs beside the network, and that memory does not grow."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from hirescam_cli import pipeline
from hirescam_cli.batch import RunOptions, plan
from hirescam_cli.batch.events import CaseFinished, Event
from hirescam_cli.batch.options import processors
from hirescam_cli.batch.run import run
from hirescam_cli.batch.stages import Stages
from hirescam_cli.io import InputPath, ReadOptions, discover
from tests.batch.world import make_scans, tiny_settings

MIB = 1 << 20


def processor_seconds() -> float:
    """Processor time of this process and of the readers that have ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class Clock:
    """Time spent in the network, and the memory of this process after each case."""

    def __init__(self) -> None:
        self.network = self.network_processor = 0.0
        self.memory: list[int] = []
        self.process = psutil.Process()

    def explain(self, session: Any, prepared: Any) -> Any:
        begin, used = time.perf_counter(), time.thread_time()
        explained = pipeline.explain_prepared(session, prepared)
        self.network += time.perf_counter() - begin
        self.network_processor += time.thread_time() - used
        return explained

    def event(self, event: Event) -> None:
        if isinstance(event, CaseFinished):
            self.memory.append(self.process.memory_info().rss)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The network on one thread, so that the calling thread's processor time is all of the network's."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_thousand_scans(tmp_path: Path, model: Path, record_property: Any) -> None:
    clock = Clock()
    cases = plan(discover([InputPath(make_scans(tmp_path / "in", 1000))], ReadOptions()), tmp_path / "out")
    idle = os.getloadavg()[0] < processors()
    begin, used = time.perf_counter(), processor_seconds()
    result = run(
        cases, tiny_settings(model), RunOptions(jobs=1), clock.event, stages=Stages(explain_prepared=clock.explain)
    )  # fmt: skip
    beside = (time.perf_counter() - begin - clock.network) / 1000
    used = (processor_seconds() - used - clock.network_processor) / 1000
    growth = (max(clock.memory[-50:]) - max(clock.memory[50:100])) / MIB
    print(
        f"{clock.network:.1f} s of network, {beside * 1000:.1f} ms a scan beside it "
        f"({used * 1000:.1f} ms of processor), {growth:.1f} MiB of growth"
    )
    record_property("milliseconds_a_scan", beside * 1000)
    record_property("growth_mib", growth)
    assert (result.done, result.exit_code) == (1000, 0)
    assert growth < 20
    assert used < 0.030
    assert beside < 0.030 or not idle
