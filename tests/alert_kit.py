"""What alerts are tried with: a sink that listens on loopback, and drift to tell of."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from schemas.usecases.flights import FLIGHTS
from schemas.verdicts import Alert, ColumnDrift, DriftVerdict
from tasks.alerting.rules import alerts_of_verdict


class Sink:
    """A web server that keeps what it is told, and says no while it is told to."""

    def __init__(self, port: int = 0) -> None:
        self.told: list[dict[str, str]] = []
        self.status = 200
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if sink.status == 200:
                    sink.told.append(json.loads(body))
                self.send_response(sink.status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.told]


COLUMN = ColumnDrift(column="dest", method="psi", score=0.5, threshold=0.1, importance=0.4)


def drifted(score: float) -> list[Alert]:
    column = COLUMN.model_copy(update={"score": score})
    verdict = DriftVerdict(status="drift" if score > 0.1 else "no drift", why=f"dest {score}", rows=500, columns=(column,))
    return list(alerts_of_verdict(FLIGHTS, verdict))
