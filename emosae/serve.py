"""A web server for finished pages: this machine only, read only, one directory only."""

from __future__ import annotations

import logging
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from emosae.errors import UserError

HOST = "127.0.0.1"
_PAGES = ("index.html", "site/index.html", "atlas/index.html", "report/index.html")
_OWN_NAMES = {HOST, "localhost"}

_log = logging.getLogger(__name__)


class _Handler(SimpleHTTPRequestHandler):
    """Serves files below the directory; lists nothing, follows no link out, shows no hidden file."""

    def send_head(self) -> Any:
        """Answer, or refuse a request that did not come from this machine's browser or leaves the directory."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in _OWN_NAMES:  # a foreign page whose name was made to point here
            self.send_error(HTTPStatus.FORBIDDEN)
            return None
        if not self._is_inside():
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def _is_inside(self) -> bool:
        root = Path(self.directory).resolve()
        try:
            path = Path(self.translate_path(self.path)).resolve()
        except (OSError, ValueError):
            return False
        if not path.is_relative_to(root):
            return False
        return not any(part.startswith(".") for part in path.relative_to(root).parts)

    def list_directory(self, path: Any) -> None:
        """Refuse: a directory without an index page is not shown."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        """Let no browser guess types, and let it ask again after the page was rebuilt."""
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log quietly."""
        _log.debug(format, *args)


def open_server(directory: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of `directory` on this machine; the caller runs and closes it. Port 0 takes a free one."""
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory")
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port}: must lie in 0 to 65535")
    _first_page(directory)
    try:
        return ThreadingHTTPServer((HOST, port), partial(_Handler, directory=str(directory)))
    except OSError as taken:
        raise UserError(f"--port {port}: cannot be used ({taken.strerror}); 0 takes a free one") from taken


def address(directory: Path, server: ThreadingHTTPServer) -> str:
    """Where a browser finds the first page."""
    page = _first_page(directory).removesuffix("index.html")
    return f"http://{HOST}:{server.server_address[1]}/{page}"


def _first_page(directory: Path) -> str:
    for page in _PAGES:
        if (directory / page).is_file():
            return page
    raise UserError(f"{directory}: no page there (looked for {', '.join(_PAGES)}); build the atlas first")
