"""What happens to device and link in each scenario, as values that the emulation runs.

    scenario = SCENARIOS["link"]
    experiment = scenario.experiment(Runner.fixed(3), pace=PACES["usual"])

A scenario is a few phases, each with a processor share of the device and a rate of the link.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final

from offload.emulation.experiment import (
    Change,
    Experiment,
    Link,
    LinkChange,
    Machine,
    MachineChange,
    Quality,
    Readiness,
    Role,
)

ROOT: Final = Path(__file__).parents[2]
APP: Final = "ball_tracking_example"
SPLITS: Final = (1, 2, 3, 4, 5, 6)

DEVICE: Final = "device"
CLOUD: Final = "cloud"
LINK: Final = "wifi"

FRAMES_FILE: Final = "frames.json"

_PORT: Final = 8089

# Not a secret: it is good for this network only, which ends with the run.
_TOKEN: Final = {"OFFLOAD_TOKEN": "benchmark:known-to-everybody"}

# A camera gives a little more than what is wanted: without that no scheduler could make up for a
# frame that was lost, and with much more a fixed split would work for frames that nobody asked for.
CAMERA_FACTOR: Final = 1.2

# Often enough to read the cloud's processor seconds at the borders of phases.
_COLLECT_EVERY_S: Final = 0.5

_LINK_DELAY_S: Final = 0.005
_DEVICE_MEMORY_BYTES: Final = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What holds for a while: cores of the device, and bits per second of the link, both ways."""

    cpu: float
    rate_bit_s: float

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.rate_bit_s / 1e6:g} Mbit/s, {self.cpu:g} core"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things last, in seconds: the start, which no figure counts, then each phase."""

    start_s: float
    phase_s: float


USUAL: Final = Pace(start_s=12.0, phase_s=26.0)
QUICK: Final = Pace(start_s=4.0, phase_s=6.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Who chooses the split.

    Attributes:
        name: In tables and files.
        chooser: What `device_program` puts in charge.
        split: Where it begins, or stays.
        is_fixed: Whether it stays.
    """

    name: str
    chooser: str
    split: int
    is_fixed: bool = False


def fixed(split: int) -> Runner:
    """Return who never moves the split: manual mode."""
    return Runner(name=f"K = {split}", chooser="ours", split=split, is_fixed=True)


OURS: Final = Runner(name="ours", chooser="ours", split=SPLITS[-1])
RULE: Final = Runner(name="rule", chooser="rule", split=SPLITS[-1])
FIXED: Final = tuple(map(fixed, SPLITS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A target, and what changes meanwhile.

    Attributes:
        name: In tables and files.
        target_fps: Finished frames per second that are wanted.
        phases: One after the other.
        watched: Whether the server asks for every picture.
        source: What the device looks at, unless the user says something else.
    """

    name: str
    target_fps: float
    phases: tuple[Phase, ...]
    watched: bool
    source: str

    @property
    def camera_fps(self) -> float:
        """Frames per second that the camera gives."""
        return CAMERA_FACTOR * self.target_fps

    def borders_s(self, pace: Pace) -> list[float]:
        """Return when the phases begin, and when the last one ends; the start is in the first."""
        ends_s = accumulate(
            (pace.phase_s for _ in self.phases[1:]), initial=pace.start_s + pace.phase_s
        )
        return [0.0, *ends_s]

    def experiment(self, runner: Runner, source: str, pace: Pace) -> Experiment:
        """Return what the emulation is to run."""
        first = self.phases[0]
        return Experiment(
            name=f"{self.name}-{runner.name}",
            machines=(self._cloud(), self._device(runner, source, pace)),
            links=(
                Link(
                    name=LINK,
                    ends=(DEVICE, CLOUD),
                    forward=_quality(first),
                    backward=_quality(first),
                ),
            ),
            changes=self._changes(pace),
            # The device ends by itself, and then the experiment does.
            duration_s=self.borders_s(pace)[-1] + 30,
            seed=1,
            collect_every_s=_COLLECT_EVERY_S,
            probes=False,
        )

    def _changes(self, pace: Pace) -> list[Change]:
        changes: list[Change] = []
        begins_s = self.borders_s(pace)[1:]
        for at_s, (before, after) in zip(begins_s, pairwise(self.phases), strict=False):
            text = f"at {at_s:g}s: {after}"
            if after.rate_bit_s != before.rate_bit_s:
                quality = _quality(after)
                changes.append(
                    LinkChange(at_s=at_s, link=LINK, forward=quality, backward=quality, text=text)
                )
            if after.cpu != before.cpu:
                changes.append(
                    MachineChange(
                        at_s=at_s,
                        machine=DEVICE,
                        cpu=after.cpu,
                        memory_bytes=_DEVICE_MEMORY_BYTES,
                        text=text,
                    )
                )
        return changes

    def _cloud(self) -> Machine:
        watch = ("--watch", "all") if self.watched else ()
        return Machine(
            name=CLOUD,
            role=Role.CLOUD,
            command=(
                *("{python}", str(ROOT / "cloud_server_coordinator.py"), "--app", APP),
                *("--port", str(_PORT), "--results", "none", *watch),
                *("--summary", "{folder}/summary.json", "--log-format", "json"),
            ),
            environment=_TOKEN,
            start_order=0,
            ready=Readiness(port=_PORT),
        )

    def _device(self, runner: Runner, source: str, pace: Pace) -> Machine:
        target = () if runner.is_fixed else (f"{self.target_fps:g}",)
        return Machine(
            name=DEVICE,
            role=Role.DEVICE,
            command=(
                *("{python}", "-m", "benchmarks.scheduler.device_program"),
                *(f"{{folder}}/{FRAMES_FILE}", runner.chooser, str(runner.split), *target),
                *("--app", APP, "--source", source, "--rate", f"{self.camera_fps:g}"),
                *("--duration", f"{self.borders_s(pace)[-1]:g}"),
                *("--host", "{cloud}", "--port", str(_PORT)),
                *("--summary", "{folder}/summary.json", "--log-format", "json"),
            ),
            environment=_TOKEN,
            cpu=self.phases[0].cpu,
            memory_bytes=_DEVICE_MEMORY_BYTES,
            start_order=1,
        )


def _quality(phase: Phase) -> Quality:
    return Quality(rate_bit_s=phase.rate_bit_s, delay_s=_LINK_DELAY_S)


_FAST: Final = 20e6
_SLOW: Final = 4e6

SCENARIOS: Final[Mapping[str, Scenario]] = {
    each.name: each
    for each in (
        Scenario(
            name="link",
            target_fps=25.0,
            phases=tuple(Phase(cpu=0.5, rate_bit_s=rate) for rate in (_FAST, _SLOW, _FAST)),
            watched=True,
            source="synthetic",
        ),
        Scenario(
            name="cpu",
            target_fps=150.0,
            phases=tuple(Phase(cpu=cpu, rate_bit_s=600e6) for cpu in (0.5, 0.25, 0.5)),
            watched=False,
            source="synthetic:320x240",
        ),
        Scenario(
            name="both",
            target_fps=25.0,
            phases=(
                Phase(cpu=0.5, rate_bit_s=_FAST),
                Phase(cpu=0.25, rate_bit_s=_SLOW),
                Phase(cpu=0.5, rate_bit_s=_FAST),
            ),
            watched=True,
            source="synthetic",
        ),
    )
}
