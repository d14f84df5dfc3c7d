#!/usr/bin/env python3
"""Takes deliveries of a Vestibule webhook, and prints each event once.

    webhook-receiver.py PORT SECRET-FILE

It refuses what was not signed with the secret (403), what was signed more than five minutes ago or in
the future (403), and prints an event only the first time that it comes. Standard library only.
"""

import hashlib
import hmac
import http.server
import json
import sys
import time

TOLERANCE_SECONDS = 300
BODY_BYTES_MAX = 16 * 1024 * 1024


def verify(secret, header, body, now):
    """Why a delivery is refused; None if it is genuine and fresh."""
    try:
        parts = dict(part.split("=", 1) for part in (header or "").split(","))
        sent, given = int(parts["t"]), parts["v1"]
    except (KeyError, ValueError):
        return "no signature"
    signed = str(sent).encode() + b"." + body
    expected = hmac.new(secret, signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), given.encode()):
        return "the signature is wrong"
    if abs(now - sent) > TOLERANCE_SECONDS:
        return "the signature is too old"
    return None


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    secret = b""
    highest = {}  # the highest id of each server; a real receiver keeps it on disk

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= BODY_BYTES_MAX:
            return self.answer(413, "the body is too large, or has no length")
        body = self.rfile.read(length)
        header = self.headers.get("Vestibule-Signature")
        refused = verify(self.secret, header, body, time.time())
        if refused:
            return self.answer(403, refused)
        for event in json.loads(body)["events"]:
            server, number = event["server"], event["id"]
            if number is None or number > self.highest.get(server, 0):
                if number is not None:
                    self.highest[server] = number
                print(json.dumps(event), flush=True)
        return self.answer(200, "taken")

    def answer(self, status, text):
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        if status == 413:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def main():
    port, secret_file = int(sys.argv[1]), sys.argv[2]
    with open(secret_file, "rb") as file:
        Receiver.secret = file.read().strip()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    print(f"listening on {server.server_port}", file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
