"""Takes defences away one by one, to see that the tests notice."""
