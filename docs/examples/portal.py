#!/usr/bin/env python3
"""A registration page of one's own, connected to vestibule-dhcpd. docs/portal.md explains each step.

It knows visitors by the address of their connection. Behind a web server of yours, give --proxy ADDRESS:
then X-Forwarded-For is believed, of that address only.
"""
import argparse, html, http.server, json, secrets, urllib.error, urllib.parse, urllib.request

arguments = argparse.ArgumentParser()
for name in ("--listen", "--url", "--api", "--token-file"):
    arguments.add_argument(name, required=True)
arguments.add_argument("--proxy")
options = arguments.parse_args()
with open(options.token_file) as file:
    TOKEN = file.read().strip()
HOST = urllib.parse.urlsplit(options.url).hostname
STAMPS = {}  # visitor's address -> what a form of ours carries, so that no other page can send one
STAMPS_MAX, BODY_BYTES_MAX = 100_000, 4096


def ask(method, path, body=None):
    """Asks the API: (status, answer)."""
    request = urllib.request.Request(options.api + path, method=method)
    request.add_header("Authorization", "Bearer " + TOKEN)
    data = json.dumps(body).encode() if body is not None else None
    try:
        with urllib.request.urlopen(request, data, timeout=35) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:  # a problem document: branch on the end of its type
        return error.code, json.load(error)


class Portal(http.server.BaseHTTPRequestHandler):
    timeout = 10  # seconds that a visitor may be silent

    def visitor(self):
        peer = self.client_address[0]
        forwarded = self.headers.get_all("X-Forwarded-For")
        if peer == options.proxy and forwarded:  # the last one is the proxy's own word
            return ",".join(forwarded).split(",")[-1].strip()
        return peer

    def answer(self, status, title, body="", **headers):
        page = (f"<!DOCTYPE html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
                f"<title>{title}</title><h1>{title}</h1>{body}").encode()
        self.send_response(status)
        for name, value in {"Content-Type": "text/html; charset=utf-8", "Content-Length": len(page),
                            "Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'",
                            **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(page)

    def problem(self, answer):
        name = answer["type"].rsplit("/", 1)[-1].replace("lease-needed", "no-lease")
        if name in ("busy", "no-answer", "ending"):  # nobody knows yet: look again
            return self.answer(503, "One moment, please", "<p>Load this page again.</p>", Refresh=3, Retry_After=3)
        said = {
            "no-lease": "Your device is not known here. Reconnect to the network, then come back.",
            "randomised-address": "Switch off the private (random) hardware address for this network.",
            "device-limit-reached": "You have too many devices. Ask the help desk to remove one.",
            "suspended": "Your device is blocked. Ask the help desk why.",
            "quarantined": "Your device is in quarantine. Ask the help desk why.",
        }
        self.answer(409, "Not registered", "<p>" + said.get(name, html.escape(answer["title"])))

    def do_GET(self):
        if self.headers.get("Host", HOST).split(":")[0].lower() != HOST:  # every name leads here
            return self.answer(302, "Over there", Location=options.url)
        visitor = self.visitor()
        status, host = ask("GET", "/v1/whoami?" + urllib.parse.urlencode({"ip": visitor}))
        if status != 200:
            return self.problem(host)
        if host["registered"]:
            return self.answer(200, "This device is online", f"<p>For {html.escape(host['owner'] or 'nobody')}.")
        if len(STAMPS) >= STAMPS_MAX:
            STAMPS.clear()
        stamp = STAMPS[visitor] = secrets.token_hex(16)
        self.answer(200, "Register this device", "<form method=post><label>Your name: <input name=owner required></label>"
                    f"<input type=hidden name=stamp value={stamp}><button>Register</button></form>")

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Host", HOST).split(":")[0].lower() != HOST or not 0 <= length <= BODY_BYTES_MAX:
            return self.answer(400, "That did not work")
        form = urllib.parse.parse_qs(self.rfile.read(length).decode("utf-8", "replace"))
        visitor, owner = self.visitor(), form.get("owner", [""])[0].strip()
        if not owner or not secrets.compare_digest(form.get("stamp", [""])[0].encode(), STAMPS.get(visitor, "-").encode()):
            return self.answer(303, "Again", Location=options.url)
        # Here you would ask your own log-in who this is.
        status, answer = ask("POST", "/v1/registrations", {"ip": visitor, "owner": owner})
        if status not in (200, 201):
            return self.problem(answer)
        self.answer(303, "Registered", Location=options.url)  # the kernel lets the device pass by now


address, port = options.listen.rsplit(":", 1)
with http.server.ThreadingHTTPServer((address, int(port)), Portal) as server:
    print("ready", flush=True)
    server.serve_forever()
