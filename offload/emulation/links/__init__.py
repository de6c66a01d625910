"""The links of an experiment: what they do to packets, and the process that does it."""
