"""Experiments: machines with limited processors and links with limited rates, on one machine.

`experiment` says what an experiment is; `files` reads one. `local` runs it: a network namespace and
a cgroup for each machine, a process of `links` for each link, all measured once a second. `report`
makes a page of a run, and `rendering` writes the same experiment as manifests for Kubernetes.

    python3 -m offload.emulation plan examples/experiments/wifi-drop.toml
    sudo .venv/bin/python -m offload.emulation run examples/experiments/wifi-drop.toml
"""
