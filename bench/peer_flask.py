"""The same net as a plain Flask service: gunicorn -w 2 --threads 8 peer_flask:app."""

from flask import Flask, Response, jsonify, request
from peer_net import Plain

app = Flask(__name__)
predict = Plain()


@app.post("/api/mnist")
def mnist() -> Response:
    return jsonify(predict([request.files["image"].read()])[0])
