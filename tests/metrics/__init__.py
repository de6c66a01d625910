"""Metrics: what events give them, the documents that name them, and a real Prometheus."""
