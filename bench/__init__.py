"""How fast the service is, measured: `python -m bench`, or `make bench`."""

import os

os.environ["no_proxy"] = "127.0.0.1"  # `http_proxy` is for other machines
