# Beside it: micro sidecar        (this app registers itself; pip install flask websockets)
import atexit, json, os, signal, sys, threading, time, urllib.request

from flask import Flask, jsonify, request
from websockets.sync.client import connect

SIDECAR, PORT = os.environ.get("SIDECAR", "127.0.0.1:8081"), int(os.environ.get("PORT", "9090"))
NODE = {"id": "greeter-flask-1", "address": "127.0.0.1", "port": PORT, "metadata": {"protocol": "http"}}
app = Flask(__name__)


def sidecar(method, path, body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(f"http://{SIDECAR}{path}", data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return answer.read()


@app.post("/Say/Hello")  # what others call as Say.Hello
def hello():
    message = f"Hello {request.get_json()['name']}"
    sidecar("POST", "/broker?topic=greetings", message.encode())  # publish
    return jsonify(msg=message)


@app.post("/Say/Ask")  # calls a service, itself as it happens
def ask():
    call = {"service": "greeter", "method": "Say.Hello", "request": request.get_json()}
    return sidecar("POST", "/rpc", call), {"Content-Type": "application/json"}


def stay_registered():
    while True:  # vanishes 30 s after we stop renewing, should we crash
        try:
            sidecar("POST", "/registry?ttl=30s", {"name": "greeter", "nodes": [NODE]})
        except OSError as error:
            print("not registered:", error, flush=True)
        time.sleep(10)


def listen():
    while True:
        try:
            with connect(f"ws://{SIDECAR}/broker?topic=greetings&format=text") as topic:
                for message in topic:
                    print("heard:", message, flush=True)
        except OSError as error:
            print("not subscribed:", error, flush=True)
        time.sleep(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    atexit.register(lambda: sidecar("DELETE", "/registry", {"name": "greeter", "nodes": [NODE]}))
    for work in (stay_registered, listen):
        threading.Thread(target=work, daemon=True).start()
    app.run("127.0.0.1", PORT)
