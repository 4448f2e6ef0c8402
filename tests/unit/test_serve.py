"""The server shows the pages and nothing else, to nobody else."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from emosae.errors import UserError
from emosae.serve import HOST, address, open_server


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    pages = tmp_path / "run"
    (pages / "site" / "data").mkdir(parents=True)
    (pages / "site" / "index.html").write_text("<title>atlas</title>")
    (pages / "site" / "data" / "nodes.json").write_text("[]")
    (pages / ".secret").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    (pages / "link.txt").symlink_to(tmp_path / "outside.txt")
    (pages / "links").symlink_to(tmp_path)
    return pages


@pytest.fixture
def ask(pages: Path) -> Iterator:
    with open_server(pages) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def ask(path: str, method: str = "GET", host: str = HOST) -> tuple[int, str]:
            connection = http.client.HTTPConnection(HOST, server.server_address[1], timeout=5)
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", host)
            connection.endheaders()
            response = connection.getresponse()
            content = response.read().decode()
            connection.close()
            return response.status, content

        yield ask
        server.shutdown()
        thread.join()


def test_pages_and_their_data_are_shown(ask) -> None:
    assert ask("/site/") == (200, "<title>atlas</title>")
    assert ask("/site/data/nodes.json?x=1") == (200, "[]")
    assert ask("/site/", method="HEAD") == (200, "")
    assert ask("/site/", host="localhost:8000")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../outside.txt",
        "/site/../../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/site/%2e%2e/%2e%2e/outside.txt",
        "//etc/passwd",
        "/link.txt",
        "/links/outside.txt",
        "/.secret",
        "/site/../.secret",
        "/%00",
        "/none.html",
    ],
)
def test_nothing_outside_or_hidden_is_shown(ask, path: str) -> None:
    status, content = ask(path)
    assert status == 404
    assert "secret" not in content
    assert "root:" not in content


@pytest.mark.parametrize("path", ["/", "/site/data/", "/site/data"])
def test_directories_are_not_listed(ask, path: str) -> None:
    status, content = ask(path)
    assert status in {301, 404}
    assert "nodes" not in content


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", ""])
def test_a_page_elsewhere_that_points_its_name_here_is_refused(ask, host: str) -> None:
    assert ask("/site/", host=host)[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_is_read_only(ask, method: str) -> None:
    assert ask("/site/", method=method)[0] == 501


def test_only_this_machine_is_served(pages: Path) -> None:
    with open_server(pages) as server:
        assert server.server_address[0] == "127.0.0.1"
        assert address(pages, server) == f"http://127.0.0.1:{server.server_address[1]}/site/"


def test_what_cannot_be_served_is_named(pages: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no such directory"):
        open_server(tmp_path / "none")
    with pytest.raises(UserError, match="data: no page there"):
        open_server(pages / "site" / "data")
    with pytest.raises(UserError, match="--port 70000: must lie"):
        open_server(pages, 70000)
    with open_server(pages) as server, pytest.raises(UserError, match=r"cannot be used .*in use"):
        open_server(pages, server.server_address[1])
