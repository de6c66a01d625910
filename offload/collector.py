"""Keep Python's garbage collector out of the frames' way."""

import gc
from typing import Final

# The collector looks at the young objects whenever there are so many more than before; by default
# 700, so several times for each frame that is held. Frames die by themselves when they are done
# with: what is left to collect are the few cycles that exceptions leave.
YOUNG_OBJECTS: Final = 20_000


def collect_rarely() -> None:
    """Never look again at what exists now, and seldom at what is made later.

    To be called once all is loaded: a collection over what the imports made takes 15 ms.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
