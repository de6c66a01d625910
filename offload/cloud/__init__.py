"""What only the cloud program needs."""
