"""Showing the site: on the loopback interface, or straight from the disk."""

from __future__ import annotations

import errno
import functools
import http.server
import importlib.util
import subprocess
import sys
import webbrowser
from pathlib import Path
from typing import Any

from senumpy.errors import InputError

_LOOPBACK = "127.0.0.1"


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Files of the site, always as they are now; nothing is logged."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def server(site: Path, port: int) -> http.server.ThreadingHTTPServer:
    """Return a server of the site that only this machine can ask; port 0 takes any free one.

    Raises
    ------
    InputError
        When the port is in use or not allowed.
    """
    handler = functools.partial(_Handler, directory=str(site))
    try:
        return http.server.ThreadingHTTPServer((_LOOPBACK, port), handler)
    except OverflowError:
        raise InputError(f"--port: got {port}, wanted 0 to 65535; 0 takes any free one") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"--port: {port} is in use; wanted another, or 0 for any free one") from None
        raise InputError(f"--port: cannot use {port}: {error.strerror}; 0 takes any free one") from None


def open_page(page: Path) -> bool:
    """Show a page in the browser; return whether there is one."""
    return webbrowser.open(page.resolve().as_uri())


def has_jupyterlab() -> bool:
    """Return whether JupyterLab is installed for this Python."""
    return importlib.util.find_spec("jupyterlab") is not None


def start_jupyterlab(notebook: Path) -> int:
    """Run JupyterLab with a notebook open until it is ended; return its exit status."""
    command = [sys.executable, "-m", "jupyterlab", str(notebook)]
    return subprocess.run(command, check=False).returncode
