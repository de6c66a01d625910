"""Where the cloud's tasks run."""
