"""`ragkit ui`: starts Streamlit on this machine alone and says when it is ready."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from ragkit.errors import RagkitError
from ragkit.home import check_name
from ui.console import HomeOption, home_of, notes, write

ADDRESS = "127.0.0.1"
APP = Path(__file__).parents[1] / "app.py"
FLAGS = {
    "server.address": ADDRESS,
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "runner.postScriptGC": "false",
    "logger.level": "warning",
}
"""What must hold wherever the app is started from; everything else is in `.streamlit/config.toml`."""
HOSTS = ("127.0.0.1", "localhost")
"""Host names that the server answers to: without this list any web page could reach it by DNS rebinding."""


class NotServed(RagkitError):
    """The browser front end could not be started."""


def serve(
    port: Annotated[int, typer.Option("--port", "-p", min=1, max=65535, help="Port on 127.0.0.1.")] = 8501,
    collection: Annotated[str, typer.Option("--collection", "-c", metavar="NAME", help="Collection to open.")] = "",
    home: HomeOption = None,
) -> None:
    """Serve until Ctrl-C."""
    query = f"/?collection={check_name(collection)}" if collection else ""
    _check_port(port)
    started = time.monotonic()
    server = _start(port, home_of(home))
    signal.signal(signal.SIGTERM, _stop)
    try:
        _wait(server, port)
        write(f"ragkit is at http://{ADDRESS}:{port}{query}\n")
        notes.print(f"[dim]Ready after {time.monotonic() - started:.1f} s. Ctrl-C stops it.[/]")
        server.wait()
    except KeyboardInterrupt:
        notes.print("Stopping.")
    finally:
        _end(server)
    if server.returncode > 0:
        raise NotServed(f"The server ended with code {server.returncode}.", "The lines above say why.")


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except PermissionError as error:
            raise NotServed(f"Port {port} may not be used by this user.", "Choose one above 1023.") from error
        except OSError as error:
            other = port + 1 if port < 65535 else port - 1
            raise NotServed(
                f"Port {port} on {ADDRESS} is in use.",
                f"Choose another: ragkit ui --port {other}, or make app PORT={other}.",
            ) from error


def _start(port: int, home: Path) -> subprocess.Popen[bytes]:
    flags = [f"--{name}={value}" for name, value in {**FLAGS, "server.port": str(port)}.items()]
    hosts = [f"--server.allowedHosts={host}" for host in HOSTS]
    return subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(APP), *flags, *hosts],
        cwd=APP.parents[1],  # where .streamlit/config.toml is
        env={**os.environ, "RAGKIT_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # its greeting; what matters comes on standard error
    )


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    """Return when the server answers."""
    while server.poll() is None:
        connection = http.client.HTTPConnection(ADDRESS, port, timeout=2)
        try:
            connection.request("GET", "/_stcore/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise NotServed(f"The server ended with code {server.returncode} before it was ready.", "The lines above say why.")


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _end(server: subprocess.Popen[bytes]) -> None:
    """Make sure that the server is gone."""
    for action in (lambda: None, server.terminate, server.kill):
        action()
        try:
            server.wait(timeout=3)
            return
        except subprocess.TimeoutExpired:
            continue
