"""The parts of the scheduler: see `scheduler`, which callers import."""
