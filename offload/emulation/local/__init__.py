"""The local backend: an experiment's machines as namespaces and cgroups of this machine."""
