"""Trains the demonstration model on phantoms, from nothing, reproducibly.

    python -m hirescam_cli.phantom.train --cache-dir FOLDER [--output FILE]

Three phases. First slice groups one by one, each label against its group and its cells: the network's HiResCAM map at
the last layer, `sum over c of W * A` per cell, is pushed up inside the abnormality and to zero elsewhere (the mask
loss of AxialNet's authors, arXiv 2111.12215, with the phantom's masks in the "stretch" placement). The last third of
its steps dwells on nodules and masses, which are small and look like vessels cut across, and sets fresh nodules into
scans that have none (`phantom.pasting`): 600 scans hold too few to learn what a nodule is, rather than which scan has
one. Then the head on whole scans, against the scan's labels, with the trunk's features computed once; some scans
without nodules have been given some here too. Last a scale and an offset per label, fitted on validation scans, which
are left as they are, and folded into the fully connected layer.

The same machine, library versions and numbers of threads give the same weights; other numbers of threads give others.
The shipped weights are of the defaults, in two runs with `--first-phase`, on scans that differ from today's by one step
of 255 in about two voxels of a million (an older order of summation in the preparation): training anew gives other
bits. On two busy cores: 8 minutes for the scans, 23 and 11 for phase 1, 4 for the rest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from hirescam_cli.model.architectures.axialnet import AxialNet
from hirescam_cli.phantom.data import SIDE, SLICES, SUBTRACT, Cache, build_cache
from hirescam_cli.phantom.lesions import FINDINGS
from hirescam_cli.phantom.sampling import GROUP, Sampler, paste_scan, scan_targets
from hirescam_cli.phantom.scan_head import ScanHead, bias_of, calibrate, head_maps, scan_loss

TRUNK_WIDTH = 16
HEAD_CHANNELS = (64, 64, 48, 48)
TRAIN_SEED, TRAIN_SCANS, VALIDATION_SCANS = 100_000, 600, 60
_GROUPS = SLICES // GROUP
_THETA = 3.0


@dataclass(frozen=True)
class Schedule:
    """Length and pace of the phases."""

    steps: int = 3000
    rate: float = 2e-3
    hard_steps: int = 1500
    hard_rate: float = 2e-3
    hard_share: float = 0.5
    paste_share: float = 0.4
    scan_paste_share: float = 0.35
    batch: int = 24
    head_epochs: int = 4
    epochs_an_offset: int = 4
    head_batch: int = 4
    head_rate: float = 5e-4
    scan_weight: float = 10.0
    seed: int = 0


def log(message: str) -> None:
    """One line of progress on standard error."""
    print(message, file=sys.stderr, flush=True)


def network_values(window: NDArray[np.uint8]) -> Tensor:
    """Network values of windows [n, 3, side, side] in 255 steps, channels last."""
    values = torch.from_numpy(window).to(torch.float32, memory_format=torch.channels_last)
    return values.div_(255.0).sub_(SUBTRACT)


def group_loss(maps: Tensor, bias: Tensor, group: Tensor, cells: Tensor) -> Tensor:
    """Loss of slice groups: cells and groups against targets (1, 0, or -1: open), negative evidence kept small."""
    shared = maps.shape[0] * maps.shape[1]
    weight = (cells == 0).float() + 2.0 * (cells == 1).float()
    target = cells.clamp(min=0).float()
    cell = (
        F.binary_cross_entropy_with_logits(maps - _THETA, target, reduction="none") * weight
    ).sum() / shared
    scores = maps.sum(dim=(2, 3)) + bias
    each = F.binary_cross_entropy_with_logits(scores, group.clamp(min=0).float(), reduction="none")
    whole = (each * (group >= 0)).mean()
    negative = (F.relu(-maps) ** 2).sum() / shared
    return cell + 2.0 * whole + 0.05 * negative


def _next_batch(sampler: Sampler, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Network values of a batch at slightly changed contrast and brightness, and its targets."""
    batch = sampler.batch(size)
    values = network_values(batch.window)
    n = len(values)
    gain = 1.0 + 0.06 * (torch.rand(n, 1, 1, 1, generator=generator) - 0.5)
    offset = 0.02 * (torch.rand(n, 1, 1, 1, generator=generator) - 0.5)
    return values.mul_(gain).add_(offset), torch.from_numpy(batch.group), torch.from_numpy(batch.cells)


def train_groups(network: AxialNet, sampler: Sampler, schedule: Schedule, steps: int, rate: float) -> None:
    """Phase 1: the whole network on single slice groups."""
    generator = torch.Generator().manual_seed(schedule.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps, pct_start=0.1)
    network.train()
    losses, started = [], time.monotonic()
    with ThreadPoolExecutor(1) as loader:
        upcoming = loader.submit(_next_batch, sampler, schedule.batch, generator)
        for step in range(steps):
            values, group, cells = upcoming.result()
            upcoming = loader.submit(_next_batch, sampler, schedule.batch, generator)
            with torch.autocast("cpu", torch.bfloat16):
                features = network.features(values)
            maps = head_maps(network, features)
            loss = group_loss(maps, bias_of(network), group, cells)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            pace.step()
            losses.append(loss.item())
            if (step + 1) % 100 == 0:
                log(
                    f"groups: step {step + 1}, loss {np.mean(losses[-100:]):.3f}, {time.monotonic() - started:.0f} s"
                )


@torch.no_grad()
def scan_features(
    network: AxialNet,
    cache: Cache,
    scans: range,
    offset: int = 0,
    windows: dict[int, NDArray[np.uint8]] | None = None,
) -> Tensor:
    """The trunk's features, bfloat16 [scans, groups, channels, h, w].

    Groups start at slice `offset`; the last slice is repeated. `windows`: what takes the place of some scans.
    """
    network.eval()
    out = []
    for n in scans:
        scan = cache.windows[n] if windows is None or n not in windows else windows[n]
        slices = np.minimum(np.arange(SLICES) + offset, SLICES - 1)
        window = scan[slices].reshape(_GROUPS, GROUP, SIDE, SIDE)
        with torch.autocast("cpu", torch.bfloat16):
            out.append(network.features(network_values(window)).to(torch.bfloat16))
    return torch.stack(out)


def _pasted_scans(
    cache: Cache, schedule: Schedule, count: int
) -> tuple[dict[int, NDArray[np.uint8]], dict[int, NDArray[np.float32]]]:
    """Windows and ml, by scan, of a share of the scans without nodules, given some."""
    rng = np.random.default_rng([schedule.seed, 2])
    windows, ml = {}, {}
    for n in range(count):
        if cache.present[n, FINDINGS.index("nodule")] or rng.random() >= schedule.scan_paste_share:
            continue
        window, volume = paste_scan(cache.windows[n], rng)
        if volume.any():
            windows[n], ml[n] = window, volume
    return windows, ml


def train_scans(
    network: AxialNet, cache: Cache, sampler: Sampler, held_back: Tensor, schedule: Schedule
) -> ScanHead:
    """Phase 2: the head on the sampler's scans as wholes, still held to its cells and groups.

    `held_back`: features of the validation scans, which are those after the sampler's; they only give a figure to log.
    """
    head, count = ScanHead(network), sampler.count
    windows, pasted = _pasted_scans(cache, schedule, count)
    present = torch.from_numpy(cache.present[:count].copy())
    present[list(pasted), FINDINGS.index("nodule")] = True
    slow = [*network.conv2d.parameters(), *network.fc.parameters()]
    fast = [head.log_scale, head.offset]
    optimizer = torch.optim.AdamW(
        [{"params": slow, "lr": schedule.head_rate}, {"params": fast, "lr": 2e-2, "weight_decay": 0.0}],
        weight_decay=1e-2,
    )
    pace = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, schedule.head_epochs * (count // schedule.head_batch)
    )
    rng, started = np.random.default_rng(schedule.seed), time.monotonic()
    offset, features = 0, torch.empty(0)
    for epoch in range(schedule.head_epochs):
        if epoch % schedule.epochs_an_offset == 0:
            offset = epoch // schedule.epochs_an_offset % GROUP
            features = scan_features(network, cache, range(count), offset, windows)
        order = rng.permutation(count)
        for first in range(0, count - schedule.head_batch + 1, schedule.head_batch):
            scans = order[first : first + schedule.head_batch]
            logits, maps = head(features[torch.from_numpy(scans)])
            aims = scan_targets(cache, scans, sampler.largest, offset, pasted)
            group, cells = (torch.from_numpy(t) for t in aims)
            loss = F.binary_cross_entropy_with_logits(logits, present[torch.from_numpy(scans)].float())
            loss = schedule.scan_weight * loss + group_loss(maps, bias_of(network), group, cells)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(slow, 5.0)
            optimizer.step()
            pace.step()
        with torch.no_grad():
            check = scan_loss(head, held_back, torch.from_numpy(cache.present[count:]))
        log(f"scans: epoch {epoch + 1}, held back {check.item():.3f}, {time.monotonic() - started:.0f} s")
    return head


def train(
    cache: Cache,
    schedule: Schedule,
    count: int,
    first_phase: Path | None = None,
    later_threads: int | None = None,
) -> AxialNet:
    """A trained network.

    `first_phase`: file for the state before nodules are pasted; where it exists, training goes on from it.
    `later_threads`: threads of torch from then on.
    """
    torch.manual_seed(schedule.seed)
    network = AxialNet(len(FINDINGS), TRUNK_WIDTH, HEAD_CHANNELS)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sampler = Sampler(cache, schedule.seed, count)
    with torch.no_grad():
        bias_of(network).fill_(-_THETA)
    if first_phase is not None and first_phase.is_file():
        network.load_state_dict(torch.load(first_phase, weights_only=True))
    else:
        train_groups(network, sampler, schedule, schedule.steps, schedule.rate)
        if first_phase is not None:
            torch.save(network.state_dict(), first_phase)
    if later_threads is not None:
        torch.set_num_threads(later_threads)
    hard = Sampler(cache, schedule.seed + 1, count, schedule.hard_share, schedule.paste_share)
    train_groups(network, hard, schedule, schedule.hard_steps, schedule.hard_rate)
    held_back = scan_features(network, cache, range(count, len(cache)))
    head = train_scans(network, cache, sampler, held_back, schedule)
    calibrate(head, held_back, torch.from_numpy(cache.present[count:]))
    head.fold()
    network.eval()
    return network


def save(network: AxialNet, path: Path) -> str:
    """Write the weights as safetensors; returns their SHA-256."""
    state = {
        k: v.contiguous() for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")
    }
    save_file(state, path, metadata={"format": "pt"})
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m hirescam_cli.phantom.train", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--cache-dir", type=Path, required=True, help="folder for the training scans (about 12 GB)"
    )
    parser.add_argument("--output", type=Path, default=Path("demo.safetensors"))
    parser.add_argument("--scans", type=int, default=TRAIN_SCANS, help="training scans")
    parser.add_argument(
        "--steps", type=int, default=Schedule.steps, help="steps of phase 1 before nodules are pasted"
    )
    parser.add_argument(
        "--first-phase", type=Path, help="file that keeps the state before nodules are pasted, to go on from"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that make the scans")
    parser.add_argument(
        "--threads", type=int, nargs=2, default=(1, 2), help="threads of torch before and after that state"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads[0])
    started = time.monotonic()
    cache = build_cache(args.cache_dir, TRAIN_SEED, args.scans + VALIDATION_SCANS, args.workers)
    log(f"data: {len(cache)} scans, {time.monotonic() - started:.0f} s")
    network = train(cache, Schedule(steps=args.steps), args.scans, args.first_phase, args.threads[1])
    digest = save(network, args.output)
    print(
        json.dumps(
            {"weights": args.output.name, "sha256": digest, "seconds": round(time.monotonic() - started)}
        )
    )


if __name__ == "__main__":
    main()
