"""What a file looks like by its first bytes, to say so when it is not what was expected."""

from __future__ import annotations

import codecs

HDF5 = b"\x89HDF\r\n\x1a\n"

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (HDF5, "an HDF5 file"),
    (b"PK\x03\x04", "a zip archive (PyTorch and numpy .npz files are such)"),
    (b"\x80\x02", "a Python pickle (old PyTorch files are such)"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\x93NUMPY", "a numpy .npy file"),
    (b"\x1f\x8b", "a gzip file: unpack it first"),
    (b"BZh", "a bzip2 file: unpack it first"),
    (b"\xfd7zXZ", "an xz file: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"version https://git-lfs", "a Git LFS pointer: run 'git lfs pull'"),
    (b"%PDF", "a PDF"),
)


def looks_like(head: bytes) -> str:
    """Returns what a file that starts with these bytes seems to be, empty if there is no telling."""
    if not head:
        return "an empty file"
    for signature, what in _SIGNATURES:
        if head.startswith(signature):
            return what
    if not head.strip(b"\0"):
        return "nothing but zeros"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page: the download went wrong"
    if head[:1] == b"\x08" and b"\x12" in head[2:4]:
        return "an ONNX model"
    return "a text file" if _is_text(head) else ""


def _is_text(head: bytes) -> bool:
    try:
        # Incremental, because the last letter may be cut in half.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(letter in "\t\r\n\f" or letter.isprintable() for letter in text)
