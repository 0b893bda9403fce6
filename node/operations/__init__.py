"""What keeps a node running for years: figures, readiness, the service manager, settings anew."""
