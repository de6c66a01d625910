"""How a run goes, as lines on standard error.

progress = Progress(experiment.duration_s, sys.stderr)
progress.say("pi started: iot-client 6 25")
progress.watch(12.0, now)       # 12 s of 60: pi 0.15 core 41 MiB, ...; wifi 3.9 Mbit/s
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final, TextIO

from offload.emulation.local.collecting import DirectionNow, MachineNow, Now
from offload.emulation.report import wording

# A person watches a terminal; a file is read later, and need not be long.
TERMINAL_EVERY_S: Final = 1.0
FILE_EVERY_S: Final = 5.0

# Of an experiment with many, a line shows the first ones.
_SHOWN: Final = 4


class Progress:
    """Writes lines about a run.

    Args:
        duration_s: Of the run.
        output: Where the lines go.
    """

    def __init__(self, duration_s: float, output: TextIO) -> None:
        """Write nothing yet."""
        self._duration_s = duration_s
        self._output = output
        self._every_s = TERMINAL_EVERY_S if output.isatty() else FILE_EVERY_S
        self._turn = 0

    def say(self, text: str) -> None:
        """Write a line of text, without what could steer a terminal."""
        shown = "".join(each if each.isprintable() else "?" for each in text)
        self._output.write(f"{shown}\n")
        self._output.flush()

    def watch(self, elapsed_s: float, now: Now) -> None:
        """Write a line about what was found, if it is time for one."""
        turn = int(elapsed_s // self._every_s)
        if turn == self._turn:
            return
        self._turn = turn
        machines = _shortened([_machine(each) for each in now.machines])
        links = _shortened(_links(now.directions))
        said = "; ".join(filter(None, [machines, links]))
        self.say(f"{elapsed_s:.0f} s of {self._duration_s:g}: {said}")


def _machine(now: MachineNow) -> str:
    parts = [now.machine]
    if now.cpu_cores is not None:
        parts.append(f"{now.cpu_cores:.2f} core")
    if now.memory_bytes is not None:
        parts.append(wording.size(now.memory_bytes))
    return " ".join(parts)


def _links(directions: Sequence[DirectionNow]) -> list[str]:
    """Return what each link carries, both ways together."""
    sums: Counter[str] = Counter()
    for each in directions:
        sums[each.link] += round(each.bit_s)
    return [f"{link} {wording.rate(bit_s)}" for link, bit_s in sums.items()]


def _shortened(texts: Sequence[str]) -> str:
    more = [f"and {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return ", ".join([*texts[:_SHOWN], *more])
