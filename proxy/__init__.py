"""The HTTP front of the service: images in, TorchServe's predictions out.

An upload's way: app (routing, ids, errors) -> upload (the endpoints, multipart) -> admission (who is refused) ->
batcher (one batch of what waits) -> torchserve (one POST for each batch) -> back to each upload its own reply.
"""

VERSION = "1.0.0"
