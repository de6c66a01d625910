"""``python3 -m offload.control``: steer devices that are connected to a server."""
