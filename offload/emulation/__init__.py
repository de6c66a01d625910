"""Experiments on emulated machines and links, all on one machine: ``python3 -m offload.emulation``.

`experiment` says what an experiment is and `reading` reads one from a file. `local` runs it: a
network namespace and a cgroup for each machine (`network`, `cgroups`), a process that delays and
loses packets for each link (`relay`), real programs on them. `report` shows what came of it, and
`rendering` writes the same experiment for Kubernetes. No device needs any of it.
"""
