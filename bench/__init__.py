"""How fast the service is, measured: `python -m bench`, or `make bench`."""
