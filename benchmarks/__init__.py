"""How fast the project is, and how fast others are at the same work, side by side.

Each module is a program: ``python3 -m benchmarks.transport`` prints a table, and writes JSON if it
is told where. Absolute figures belong to the machine; compare the ratios of one run.
"""
