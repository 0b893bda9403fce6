"""A durable, numbered log of what happens to watched addresses, and everything that hands it on."""
