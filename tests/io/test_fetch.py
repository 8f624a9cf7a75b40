"""The fetcher against a server of our own that misbehaves in every way servers do."""

from __future__ import annotations

import hashlib
import multiprocessing
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from nst.errors import FileError, NstError, WeightsError
from nst.io.download import Patience
from nst.io.fetch import fetch
from nst.io.known_models import KnownModel

WEIGHTS = np.random.default_rng(8).bytes(300_000)
SWIFT = Patience(timeout=5.0, attempts=3, pause=0.0)


class Server(ThreadingHTTPServer):
    """Serves `content`; the other attributes say what goes wrong. `ranges` records what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = WEIGHTS
        self.etag = '"one"'
        self.content_type = "application/octet-stream"
        self.knows_ranges = True
        self.says_length = True
        self.cuts: list[int] = []  # answers that end after so many bytes, in order
        self.statuses: list[int] = []  # answers that are errors, in order
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.caffemodel"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        self.close_connection = True
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/weights.caffemodel")
            self.end_headers()
            return
        if self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
            return
        self._send_content(self._start())

    def _start(self) -> int:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", self.server.etag) == self.server.etag
        return int(wanted[1]) if wanted and same and self.server.knows_ranges else 0

    def _send_content(self, start: int) -> None:
        content = self.server.content
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", self.server.content_type)
        self.send_header("ETag", self.server.etag)
        self.send_header("Connection", "close")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.server.says_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + self.server.cuts.pop(0) if self.server.cuts else None
        self.wfile.write(content[start:end])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def model(*urls: str, content: bytes = WEIGHTS) -> KnownModel:
    return KnownModel(
        name="tiny",
        file="tiny.caffemodel",
        bytes=len(content),
        digests={kind: hashlib.new(kind, content).hexdigest() for kind in ("md5", "sha256")},
        folder=Path("no such folder"),
        urls=urls,
    )


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")


def put_part(cache: Path, content: bytes) -> None:
    (cache / "tiny").mkdir(parents=True)
    (cache / "tiny" / "tiny.caffemodel.part").write_bytes(content)


def test_weights_arrive_whole_and_nothing_else_stays(server: Server, tmp_path: Path) -> None:
    path = fetch(model(server.url), tmp_path, patience=SWIFT)
    assert path == tmp_path / "tiny" / "tiny.caffemodel"
    assert path.read_bytes() == WEIGHTS
    assert left_in(tmp_path) == ["tiny.caffemodel"]


def test_progress_grows_to_the_whole(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    fetch(model(server.url), tmp_path, progress=lambda *step: seen.append(step), patience=SWIFT)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (len(WEIGHTS), len(WEIGHTS))


def test_what_is_in_the_cache_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch(model(server.url), tmp_path, patience=SWIFT)
    fetch(model(server.url), tmp_path, patience=SWIFT)
    assert len(server.ranges) == 1


def test_a_damaged_file_in_the_cache_is_replaced(server: Server, tmp_path: Path) -> None:
    path = fetch(model(server.url), tmp_path, patience=SWIFT)
    path.write_bytes(WEIGHTS[:-1] + b"?")
    assert fetch(model(server.url), tmp_path, patience=SWIFT).read_bytes() == WEIGHTS


def test_a_later_run_asks_for_the_rest_only(server: Server, tmp_path: Path) -> None:
    put_part(tmp_path, WEIGHTS[:100_000])
    path = fetch(model(server.url), tmp_path, patience=SWIFT)
    assert path.read_bytes() == WEIGHTS
    assert server.ranges == ["bytes=100000-"]


def test_a_connection_cut_midway_is_taken_up_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 50_000]
    told: list[str] = []
    path = fetch(model(server.url), tmp_path, tell=told.append, patience=SWIFT)
    assert path.read_bytes() == WEIGHTS
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert len(told) == 2


def test_without_a_length_the_cut_is_found_by_the_known_size(
    server: Server, tmp_path: Path
) -> None:
    server.says_length = False
    server.cuts = [100_000]
    assert fetch(model(server.url), tmp_path, patience=SWIFT).read_bytes() == WEIGHTS


def test_a_server_without_ranges_sends_the_whole_again(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    server.cuts = [100_000]
    path = fetch(model(server.url), tmp_path, patience=SWIFT)
    assert path.read_bytes() == WEIGHTS
    assert server.ranges == [None, "bytes=100000-"]


def test_a_file_that_changed_between_the_attempts_starts_over(
    server: Server, tmp_path: Path
) -> None:
    server.content, server.cuts = bytes(len(WEIGHTS)), [100_000]

    def change(line: str) -> None:
        server.content, server.etag = WEIGHTS, '"two"'

    assert fetch(model(server.url), tmp_path, tell=change, patience=SWIFT).read_bytes() == WEIGHTS
    assert server.ranges == [None, "bytes=100000-"]


def test_a_part_of_something_else_is_found_out_and_fetched_afresh(
    server: Server, tmp_path: Path
) -> None:
    put_part(tmp_path, b"!" * 100_000)
    path = fetch(model(server.url), tmp_path, patience=SWIFT)
    assert path.read_bytes() == WEIGHTS
    assert server.ranges == ["bytes=100000-", None]


def test_a_complete_part_needs_no_server(tmp_path: Path) -> None:
    put_part(tmp_path, WEIGHTS)
    path = fetch(model("http://127.0.0.1:9/nobody"), tmp_path, patience=SWIFT)
    assert path.read_bytes() == WEIGHTS


def test_a_part_longer_than_the_file_starts_over(server: Server, tmp_path: Path) -> None:
    put_part(tmp_path, WEIGHTS + b"!")
    assert fetch(model(server.url), tmp_path, patience=SWIFT).read_bytes() == WEIGHTS


def test_a_file_of_another_size_is_refused_before_it_is_loaded(
    server: Server, tmp_path: Path
) -> None:
    server.content = WEIGHTS[:-1]
    with pytest.raises(WeightsError, match=r"another size \(got 299,999 bytes, expected 300,000\)"):
        fetch(model(server.url), tmp_path, patience=SWIFT)
    assert left_in(tmp_path) == []


def test_more_than_the_expected_bytes_are_not_kept(server: Server, tmp_path: Path) -> None:
    server.content = WEIGHTS + b"!" * 1_000_000
    server.says_length = False
    with pytest.raises(WeightsError, match="more than 300,000 bytes"):
        fetch(model(server.url), tmp_path, patience=SWIFT)
    assert (tmp_path / "tiny" / "tiny.caffemodel.part").stat().st_size == 0


def test_a_wrong_checksum_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    server.content = WEIGHTS[:-1] + b"?"
    with pytest.raises(WeightsError, match=r"what arrived is not the file: .*wrong md5") as caught:
        fetch(model(server.url), tmp_path, patience=SWIFT)
    assert hashlib.md5(WEIGHTS).hexdigest() in str(caught.value)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_not_tried_again(server: Server, tmp_path: Path, status: int) -> None:
    server.statuses = [status] * 9
    with pytest.raises(WeightsError, match=f"the server answers {status}") as caught:
        fetch(model(server.url), tmp_path, patience=SWIFT)
    assert len(server.ranges) == 1
    assert "If you have the file, put it at" in str(caught.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_tried_again(server: Server, tmp_path: Path, status: int) -> None:
    server.statuses = [status, status]
    assert fetch(model(server.url), tmp_path, patience=SWIFT).read_bytes() == WEIGHTS


def test_patience_ends(server: Server, tmp_path: Path) -> None:
    server.statuses = [503] * 9
    with pytest.raises(WeightsError, match=r"503 .*, 3 times in a row"):
        fetch(model(server.url), tmp_path, patience=SWIFT)
    assert len(server.ranges) == 3


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream"])
@pytest.mark.parametrize("length", [True, False])
def test_a_web_page_is_recognised_and_costs_no_part(
    server: Server, tmp_path: Path, content_type: str, length: bool
) -> None:
    put_part(tmp_path, WEIGHTS[:100_000])
    server.knows_ranges = False
    server.says_length = length
    page = b"\n<!DOCTYPE html><html><title>Log in\n first</title>"
    server.content = page.ljust(len(WEIGHTS))
    server.content_type = content_type
    with pytest.raises(WeightsError, match="a web page, titled 'Log in first', came instead"):
        fetch(model(server.url), tmp_path, patience=SWIFT)
    assert (tmp_path / "tiny" / "tiny.caffemodel.part").read_bytes() == WEIGHTS[:100_000]


def test_a_redirection_is_followed_with_the_range(server: Server, tmp_path: Path) -> None:
    put_part(tmp_path, WEIGHTS[:100_000])
    moved = server.url.replace("/weights.caffemodel", "/moved")
    assert fetch(model(moved), tmp_path, patience=SWIFT).read_bytes() == WEIGHTS
    assert server.ranges == ["bytes=100000-"] * 2


def test_an_error_after_a_redirection_names_where_it_led(server: Server, tmp_path: Path) -> None:
    server.content = b"short"
    moved = server.url.replace("/weights.caffemodel", "/moved")
    with pytest.raises(WeightsError, match=f"/moved: .*another size.* from {server.url}"):
        fetch(model(moved), tmp_path, patience=SWIFT)


def test_a_redirection_in_circles_is_one_line(server: Server, tmp_path: Path) -> None:
    circle = server.url.replace("/weights.caffemodel", "/loop")
    with pytest.raises(WeightsError, match="the server answers 302") as caught:
        fetch(model(circle), tmp_path, patience=SWIFT)
    assert "\n" not in str(caught.value)


def test_nobody_listening_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no connection") as caught:
        fetch(model("http://127.0.0.1:9/x"), tmp_path, patience=SWIFT)
    assert "\n" not in str(caught.value)


def test_a_silent_server_times_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(WeightsError, match="timed out"):
            fetch(model(url), tmp_path, patience=Patience(timeout=0.05, attempts=2, pause=0))


def test_the_next_address_is_tried(server: Server, tmp_path: Path) -> None:
    server.statuses = [404]
    told: list[str] = []
    urls = (server.url + "?first", server.url)
    assert fetch(model(*urls), tmp_path, tell=told.append, patience=SWIFT).read_bytes() == WEIGHTS
    assert "trying the next address" in told[0]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/x", "weights"])
def test_only_web_addresses_are_opened(tmp_path: Path, url: str) -> None:
    with pytest.raises(WeightsError, match="not an address of the web"):
        fetch(model(url), tmp_path, patience=SWIFT)


def test_a_model_without_an_address_says_where_to_put_the_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no address is known.*tiny\.caffemodel"):
        fetch(model(), tmp_path, patience=SWIFT)


def test_shipped_weights_are_where_they_are(tmp_path: Path) -> None:
    shipped = tmp_path / "tiny.caffemodel"
    shipped.write_bytes(WEIGHTS)
    assert fetch(replace(model(), folder=tmp_path), tmp_path / "cache") == shipped


def test_shipped_weights_that_are_damaged_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "tiny.caffemodel").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="wrong size"):
        fetch(replace(model(), folder=tmp_path), tmp_path / "cache")


def test_a_full_disk_is_noticed_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(FileError, match=r"too little room \(got 0 bytes free"):
        fetch(model(server.url), tmp_path, patience=SWIFT)
    assert server.ranges == []


def test_a_cache_that_cannot_be_made_is_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="cannot be written") as caught:
        fetch(model(server.url), tmp_path / "file", patience=SWIFT)
    assert "\n" not in str(caught.value)


def _fetch_in_process(url: str, cache: Path, results: multiprocessing.SimpleQueue[str]) -> None:
    try:
        results.put(
            hashlib.sha256(fetch(model(url), cache, patience=SWIFT).read_bytes()).hexdigest()
        )
    except NstError as error:
        results.put(str(error))


def test_processes_that_fetch_at_once_share_one_download(server: Server, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    started = [
        context.Process(target=_fetch_in_process, args=(server.url, tmp_path, results))
        for _ in range(3)
    ]
    for process in started:
        process.start()
    hashes = {results.get() for _ in started}
    for process in started:
        process.join()
    assert hashes == {hashlib.sha256(WEIGHTS).hexdigest()}
    assert len(server.ranges) == 1
    assert left_in(tmp_path) == ["tiny.caffemodel"]
