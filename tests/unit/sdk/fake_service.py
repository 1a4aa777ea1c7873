"""A service for supervision tests: it serves /healthz and writes its ready file, or misbehaves."""

import http.server
import json
import os
import pathlib
import signal
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def main() -> None:
    name, behaviour, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    if behaviour == "crash":
        sys.stderr.write(f"{name}: cannot open its store\n")
        sys.exit(3)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def stop(number: int, frame: object) -> None:
        with (folder / "stopped").open("a") as handle:
            handle.write(f"{name}\n")
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    if behaviour != "mute":
        ready = {"pid": os.getpid(), "base_url": f"http://127.0.0.1:{server.server_port}/v1"}
        (folder / f"{name}.part").write_text(json.dumps(ready))
        (folder / f"{name}.part").replace(folder / f"{name}.json")
    server.serve_forever()


main()
