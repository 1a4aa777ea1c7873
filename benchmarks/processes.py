"""CPU time and peak memory of processes, read from `/proc`; Linux only."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process has used.

    Attributes:
        cpu_seconds: User and system time since it began.
        peak_mib: Most resident memory it ever had, in MiB.
    """

    cpu_seconds: float
    peak_mib: float


def sample(pid: int) -> Sample:
    """Returns what a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    peak = next(line for line in status if line.startswith("VmHWM:"))
    return Sample(cpu_seconds=ticks / _TICKS, peak_mib=int(peak.split()[1]) / 1024)
