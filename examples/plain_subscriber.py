"""Reads a topic with pyzmq, msgpack and NumPy alone: python plain_subscriber.py RUN_DIR TOPIC"""

import sys

import msgpack
import numpy as np
import zmq


def subscribe(run_dir, topic):
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.subscribe(topic)
    socket.connect(f"ipc://{run_dir}/{topic.replace('/', '=')}.sock")
    return socket


def read(socket):
    _topic, packed, *frames = socket.recv_multipart()
    header = msgpack.unpackb(packed)
    descriptors = zip(frames, header.get("payloads", ()), strict=True)
    arrays = [np.frombuffer(data, p["dtype"]).reshape(p["shape"]) for data, p in descriptors]
    return header, arrays  # an array field of header["body"] is its index in arrays


if __name__ == "__main__":
    subscription = subscribe(*sys.argv[1:])
    while True:
        header, arrays = read(subscription)
        print(header["seq"], header["stamp_ns"], header["body"], [a.shape for a in arrays])
