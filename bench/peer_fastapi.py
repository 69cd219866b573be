"""The same net as a plain FastAPI service: uvicorn peer_fastapi:app --workers 2."""

from fastapi import FastAPI, UploadFile
from peer_net import Plain

app = FastAPI()
predict = Plain()


@app.post("/api/mnist")
async def mnist(image: UploadFile) -> dict:
    return predict([await image.read()])[0]
