"""The HTTP front of the service: uploads in, TorchServe's predictions out.

An upload's way: app (routing, ids, errors) -> upload (body, multipart) -> predictor (lanes, retries, deadline)
-> lane (uploads that wait share a trip) -> torchserve (one POST a trip) -> back to each upload its own reply.
"""

VERSION = "1.0.0"
