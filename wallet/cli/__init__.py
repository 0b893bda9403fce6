"""The command line of the wallet. One module per group of commands; `main` puts them together."""
