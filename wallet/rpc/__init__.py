"""The methods of a node with the types of their parameters and answers, for `wallet.client.Client`.

All but `caller` is written by `python -m scripts.make_client` from the node's table of methods.
"""
