"""A few callers that each send a large request over TLS and read a stream back, turn after turn.

turn.py PORT PATH BODY_BYTES CALLERS SECONDS CA [HEADER…]   prints one line of JSON
"""

import json
import socket
import ssl
import statistics
import sys
import threading
import time


def request(path, body_bytes, headers):
    turns, text = [], "The gateway answers every caller with what it may see. "
    while len(text) * len(turns) < body_bytes:
        turns.append({"role": "user" if len(turns) % 2 == 0 else "assistant", "content": text})
    body = json.dumps({"model": "claude", "max_tokens": 1024, "stream": True, "messages": turns})
    body = body.encode()[:-2] + b" " * max(0, body_bytes - len(body)) + body.encode()[-2:]
    lines = [f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json",
             f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Caller(threading.Thread):
    def __init__(self, port, context, message, end):
        super().__init__()
        self.port, self.context, self.message, self.end = port, context, message, end
        self.first, self.errors, self.events, self.turns, self.bytes = [], 0, 0, 0, 0

    def run(self):
        raw = socket.create_connection(("127.0.0.1", self.port), 10)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.context.wrap_socket(raw, server_hostname="localhost") as connection:
            while True:
                try:
                    self.turn(connection)
                except (OSError, ValueError) as error:
                    print(error, file=sys.stderr)
                    self.errors += 1
                    return
                if time.monotonic() >= self.end:
                    return

    def turn(self, connection):
        began, seen, tail = time.perf_counter(), False, b""
        connection.sendall(self.message)
        while not tail.endswith(b"0\r\n\r\n"):
            data = connection.recv(65536)
            if not data:
                raise ValueError("the answer ended early")
            if not seen:
                if b"event:" not in data and b"\r\n\r\n" not in data[:-4]:
                    if not data.startswith(b"HTTP/1.1 200"):
                        raise ValueError(data[:300].decode(errors="replace"))
                else:
                    self.first.append((time.perf_counter() - began) * 1e6)
                    seen = True
            self.events += data.count(b'"t":"')
            self.bytes += len(data)
            tail = (tail + data)[-7:]
        self.turns += 1


def main(port, path, body_bytes, callers, seconds, ca, *headers):
    context = ssl.create_default_context(cafile=ca)
    message, start = request(path, int(body_bytes), headers), time.monotonic()
    crowd = [Caller(int(port), context, message, start + float(seconds)) for _ in range(int(callers))]
    for caller in crowd:
        caller.start()
    for caller in crowd:
        caller.join()
    total = lambda name: sum(getattr(caller, name) for caller in crowd)
    first = [value for caller in crowd for value in caller.first]
    print(json.dumps({"requests": total("turns"), "errors": total("errors"), "events": total("events"),
                      "body_bytes": total("bytes"), "seconds": time.monotonic() - start,
                      "latency_p50_us": statistics.median(first) if first else 0.0}))


main(*sys.argv[1:])
