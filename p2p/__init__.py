"""The peer-to-peer network: messages, sessions, planners, and the one module with I/O."""
