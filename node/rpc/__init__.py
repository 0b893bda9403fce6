"""JSON-RPC: one table of methods, and the transport that serves them.

Reading order: json, errors, params, table, dispatch, auth, server; then methods_*.py, and METHODS in
methods.py.
"""
