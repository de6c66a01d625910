"""What is done to a stream to see whether it survives, and what then became of it. Pure.

trial = Trial(frames=400, kills=5, victims=(Victim.SERVER,), seed=1)
for blow in trial.blows():
    ...
Verdict(trial=trial, expected=..., found=..., ...).line()
"""

from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

# The places of the kills in the stream; behind them the stream comes to its end undisturbed.
KILLED_SHARE: Final = 0.9

# A start takes 0.3 s and more, a handshake some milliseconds, a commit as long.
START_S: Final = 0.5
HANDSHAKE_S: Final = 0.01
FAR_HANDSHAKE_S: Final = 0.2
WORK_S: Final = 0.02
OUTAGE_S: Final = 0.4


class Victim(Enum):
    """What is hit: a program, which is killed, or the connection between them, which is cut."""

    SERVER = "server"
    CLIENT = "client"
    CONNECTION = "connection"


class Moment(Enum):
    """When a program is killed: some seeded time after one of these.

    ``STARTING``: the blow before, when programs are starting. ``SHAKING_HANDS``: a connection was
    made. ``WORKING``: the stream has come to a place.
    """

    STARTING = "starting"
    SHAKING_HANDS = "shaking hands"
    WORKING = "working"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One thing that is done to the stream.

    Attributes:
        victim: What is hit.
        moment: When; ``WORKING`` for a connection.
        place: How far the stream must have come, if ``WORKING``.
        delay_s: Seconds that it waits then.
        outage_s: How long a connection is cut, if it is one that is hit.
    """

    victim: Victim
    moment: Moment
    place: int
    delay_s: float
    outage_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One stream, and what is done to it.

    Attributes:
        frames: How many it has.
        kills: How often a program is killed.
        victims: The programs that are killed; each time one of them is chosen.
        seed: Chooses the blows and the faults of the link.
        cuts: How often the connection is cut besides.
        spool: Whether the device has one. A client that is killed needs it.
        is_far: Whether the link is slow, so that frames wait for their acknowledgement for longer
            than the device waits before it writes them to its spool.
        window: Most messages in flight.
        rate_fps: Pace of the source; None: as fast as it goes.
    """

    frames: int
    kills: int
    victims: tuple[Victim, ...]
    seed: int
    cuts: int = 0
    spool: bool = False
    is_far: bool = False
    window: int = 32
    rate_fps: int | None = None

    @property
    def has_proxy(self) -> bool:
        """Whether a fault proxy stands between the programs."""
        return self.cuts > 0 or self.is_far

    def blows(self) -> list[Blow]:
        """Return what is done, in order; the same for the same trial."""
        random = Random(self.seed)
        victims = [*random.choices(self.victims, k=self.kills), *[Victim.CONNECTION] * self.cuts]
        random.shuffle(victims)
        last = int(KILLED_SHARE * self.frames)
        places = sorted(random.randrange(last) for _ in victims)
        return [
            self._blow(random, victim, place) for victim, place in zip(victims, places, strict=True)
        ]

    def _blow(self, random: Random, victim: Victim, place: int) -> Blow:
        delays_s = {
            Moment.STARTING: START_S,
            Moment.SHAKING_HANDS: FAR_HANDSHAKE_S if self.is_far else HANDSHAKE_S,
            Moment.WORKING: WORK_S,
        }
        moment = Moment.WORKING
        if victim is not Victim.CONNECTION:
            moment = random.choices(list(Moment), weights=(1, 1, 4))[0]
        return Blow(
            victim=victim,
            moment=moment,
            place=place,
            delay_s=random.uniform(0, delays_s[moment]),
            outage_s=random.uniform(0, OUTAGE_S),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a stream came to.

    Attributes:
        results: By sequence number, the running totals among them.
        failures: Task and reason by sequence number.
        next_seq: The stream's position.
        filtered: How many frames were filtered.
        dropped: How many were dropped.
    """

    results: dict[int, object]
    failures: dict[int, tuple[str, str]]
    next_seq: int
    filtered: int
    dropped: int

    @property
    def rows(self) -> dict[int, object]:
        """All results and failures by sequence number."""
        return {**self.results, **self.failures}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a stream under its blows.

    Attributes:
        trial: What was done to it.
        expected: What the stream comes to if nobody disturbs it.
        found: What it came to.
        kills: How many programs were killed before the stream's end.
        resumed: Frames taken over from the spool, over all runs of the client.
        resent: Frames that the last run of the client sent again.
        duplicates_ignored: By the last run of the server.
        seconds: How long it took.
        device: The frames in the last summary of the client.
    """

    trial: Trial
    expected: Stored
    found: Stored
    kills: int
    resumed: int
    resent: int
    duplicates_ignored: int
    seconds: float
    device: dict[str, int]

    @property
    def lost(self) -> int:
        """How many frames it should have an outcome of, and has none."""
        unfiltered = max(0, self.expected.filtered - self.found.filtered)
        return len(self.expected.rows.keys() - self.found.rows.keys()) + unfiltered

    @property
    def doubled(self) -> int:
        """How many frames it has more than one outcome of."""
        twice = self.found.results.keys() & self.found.failures.keys()
        return len(twice) + max(0, self.found.filtered - self.expected.filtered)

    @property
    def wrong(self) -> int:
        """How many results and failures are not those of the undisturbed stream."""
        expected = self.expected.rows
        return sum(expected.get(seq) != row for seq, row in self.found.rows.items())

    @property
    def is_equal(self) -> bool:
        """Whether all that is stored is what the undisturbed stream has stored."""
        return self.found == self.expected

    @property
    def is_booked(self) -> bool:
        """Whether the client's last summary adds up, and nothing in it was given up."""
        ways_out = ("completed", "filtered", "dropped", "failed", "spooled", "abandoned")
        taken = self.device["captured"] + self.device["resumed"]
        return (
            taken == sum(self.device[each] for each in ways_out)
            and self.device["abandoned"] == self.device["spooled"] == 0
        )

    def line(self) -> str:
        """Return it as one line."""
        hit = " and ".join(each.value for each in self.trial.victims)
        cuts = f" cuts={self.trial.cuts}" if self.trial.cuts else ""
        return (
            f"{hit} killed: seed={self.trial.seed} kills={self.kills}{cuts}"
            f" frames={self.trial.frames} lost={self.lost} doubled={self.doubled}"
            f" wrong={self.wrong} resumed={self.resumed} resent={self.resent}"
            f" duplicates_ignored={self.duplicates_ignored} seconds={self.seconds:.0f}"
        )
