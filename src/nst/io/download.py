"""One file from one address, resumed until it is whole: HTTP and nothing about models.

What has arrived is in a `.part` file. Every request after the first asks for the rest only, on
condition that the file there is still the same (Range with If-Range, RFC 9110 13.1.5 and 14.2); a
server that cannot do that sends the whole again and the part starts over. A connection that breaks
is tried again with growing pauses; an answer that will not change by asking again (404, a web page,
a file of another size) is an error at once.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from nst.errors import WeightsError

Progress = Callable[[int, int], None]
"""Called with bytes there and bytes in all, after every piece."""

Tell = Callable[[str], None]
"""Called with one line about what is going on: a wait, a new attempt."""

_CHUNK = 1 << 18
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Patience:
    """Seconds to wait for a byte, attempts without progress, and the first pause in seconds.

    The pause doubles with every attempt.
    """

    timeout: float = 30.0
    attempts: int = 5
    pause: float = 1.0


class Interrupted(Exception):
    """The transfer stopped, and another attempt may go on from where it did."""


class Part:
    """A file that is arriving, and what the server said to recognise it by.

    `stitched` tells that not all of it came in one answer, so that pieces of two files may have
    met.
    """

    def __init__(self, path: Path, expected: int) -> None:
        self.path = path
        self.expected = expected
        self.stitched = self.size > 0

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    def forget(self) -> None:
        """Removes what has arrived."""
        self.path.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)
        self.stitched = False

    def move_to(self, target: Path) -> None:
        """Gives the file its final name, in one step."""
        self.path.replace(target)
        self.forget()

    def remember(self, url: str, validator: str) -> None:
        """Notes what the file at `url` is recognised by: its ETag, or when it was modified."""
        self._tag.write_text(json.dumps([url, validator]), encoding="utf-8")

    def validator(self, url: str) -> str:
        """What was noted when the file began to arrive from `url`; empty if unknown."""
        try:
            noted = json.loads(self._tag.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return ""
        return str(noted[1]) if isinstance(noted, list) and noted[:1] == [url] else ""

    @property
    def _tag(self) -> Path:
        return self.path.with_name(self.path.name + ".tag")


def download(url: str, part: Part, progress: Progress, tell: Tell, patience: Patience) -> None:
    """Fetches until `part` has its expected size. Raises WeightsError if that is not to be had.

    OSError is of the disk. Nothing is said about the content: that is for a checksum.
    """
    failures = 0
    while part.size != part.expected:
        before = part.size
        try:
            _fetch_rest(url, part, progress, patience.timeout)
        except Interrupted as error:
            failures = 0 if part.size > before else failures + 1
            if failures >= patience.attempts:
                raise WeightsError(f"{error}, {failures} times in a row", path=url) from error
            seconds = patience.pause * 2 ** max(failures - 1, 0)
            tell(f"{url}: {error}; trying again in {seconds:.0f} s")
            time.sleep(seconds)


def _fetch_rest(url: str, part: Part, progress: Progress, timeout: float) -> None:
    """One request for what is missing; raises Interrupted if less arrives."""
    if part.size > part.expected:
        part.forget()
    with _open(url, part, timeout) as response:
        start = _start_of(response, url, part)
        chunk = _read(response)
        if _is_web_page(response, chunk):
            raise WeightsError(_describe_web_page(response, chunk, url), path=url)
        part.stitched = start > 0
        with part.path.open("rb+" if start else "wb") as file:
            file.seek(start)
            while chunk:
                file.write(chunk[: part.expected + 1 - file.tell()])
                progress(min(file.tell(), part.expected), part.expected)
                if file.tell() > part.expected:
                    file.truncate(0)
                    raise WeightsError(f"more than {part.expected:,} bytes arrive", path=url)
                chunk = _read(response)
    if part.size < part.expected:
        raise Interrupted(f"the connection ended after {part.size:,} of {part.expected:,} bytes")


def _open(url: str, part: Part, timeout: float) -> Any:
    if not url.startswith(("https://", "http://")):
        raise WeightsError("not an address of the web (expected https://...)", path=url)
    headers = {"User-Agent": "nst-caffe", "Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if validator := part.validator(url):
            headers["If-Range"] = validator
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        raise _refusal(error, url, part) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise WeightsError(f"the server cannot be trusted ({reason})", path=url) from error
        raise Interrupted(f"no connection ({reason})") from error


def _refusal(error: urllib.error.HTTPError, url: str, part: Part) -> Exception:
    """The exception for an answer that is no file."""
    error.close()
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.forget()
        return Interrupted("the file there is shorter than what has arrived")
    answer = f"the server answers {error.code} {' '.join(str(error.reason).split())}"
    if error.code in _WORTH_ANOTHER_TRY:
        return Interrupted(answer)
    return WeightsError(answer + _redirection(error, url), path=url)


def _start_of(response: Any, url: str, part: Part) -> int:
    """Where in the file the answer begins; WeightsError if it is about a file of another size."""
    length = response.headers.get("Content-Length", "")
    whole = int(length) if length.isdigit() else None
    start = 0
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        place = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if place is None or int(place[1]) != part.size:
            part.forget()
            raise Interrupted("the server sent another part than was asked for")
        start, whole = part.size, None if place[2] == "*" else int(place[2])
    web_page = response.headers.get_content_type() == "text/html"
    if whole not in (None, part.expected) and not web_page:
        raise WeightsError(
            f"the file there has another size (got {whole:,} bytes, expected {part.expected:,})"
            + _redirection(response, url),
            path=url,
        )
    if start == 0 and not web_page:
        etag = response.headers.get("ETag", "")
        # A weak ETag promises equal meaning, not equal bytes; If-Range forbids it.
        strong = "" if etag.startswith("W/") else etag
        part.remember(url, strong or response.headers.get("Last-Modified", ""))
    return start


def _read(response: Any) -> bytes:
    try:
        return bytes(response.read(_CHUNK))
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(f"the connection broke ({str(error) or type(error).__name__})") from error


def _is_web_page(response: Any, start: bytes) -> bool:
    looks = start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))
    return looks or response.headers.get_content_type() == "text/html"


def _describe_web_page(response: Any, page: bytes, url: str) -> str:
    title = re.search(rb"<title[^>]*>(.*?)</title>", page, re.IGNORECASE | re.DOTALL)
    words = " ".join(title[1].decode("utf-8", "replace").split())[:80] if title else ""
    named = f", titled {words!r}," if words else ""
    return f"a web page{named} came instead of the file{_redirection(response, url)}"


def _redirection(response: Any, url: str) -> str:
    final = response.geturl()
    return "" if final == url else f" from {final}"
