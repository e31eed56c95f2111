"""Requests as bytes, and the one form that every refusal has."""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Mapping

import httpx
from PIL import Image

from tests.servers import Server

FORM = "multipart/form-data; boundary=XX"
END = b"--XX--\r\n"
# Nothing here speaks TLS. Without this every client would load all certificates of the machine.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def client_of(server: Server, **headers: str) -> httpx.Client:
    """A client of this server; cheaper to make than `Server.client`."""
    return httpx.Client(base_url=server.url, timeout=30, trust_env=False, verify=_NO_TLS, headers=headers)


def part(name: str, data: bytes, filename: str | None = "x.png", part_type: str | None = "image/png") -> bytes:
    """One part of a form; `END` closes the form."""
    head = f'--XX\r\nContent-Disposition: form-data; name="{name}"'
    head += f'; filename="{filename}"' if filename is not None else ""
    head += f"\r\nContent-Type: {part_type}" if part_type else ""
    return head.encode() + b"\r\n\r\n" + data + b"\r\n"


def check_refused(response: httpx.Response, status: int, code: str) -> str:
    """Asserts that this is a refusal in the one form with this status and code; returns its message."""
    assert response.headers["Content-Type"] == "application/json", response
    error = response.json()["error"]
    assert set(error) == {"code", "message", "request_id"}
    assert (response.status_code, error["code"]) == (status, code), error
    assert error["request_id"] == response.headers["X-Request-Id"] != ""
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert error["message"]
    return str(error["message"])


def check_retry_after(response: httpx.Response) -> None:
    """Asserts that a client is told when to try again: whole seconds, at least one."""
    value = response.headers["Retry-After"]
    assert value.isdecimal(), value
    assert int(value) >= 1


def shown(response: httpx.Response) -> str:
    """What to print of an answer: never a picture."""
    is_text = response.headers.get("Content-Type", "").startswith(("application/json", "text/"))
    return f"{response.status_code}: {response.text[:500] if is_text else len(response.content)}"


def opened(response: httpx.Response) -> Image.Image:
    """The picture of a 200, its pixels decoded."""
    assert response.status_code == 200, shown(response)
    image = Image.open(io.BytesIO(response.content))
    image.load()
    return image


def send_form(client: httpx.Client, route: str, data: bytes, **headers: str) -> httpx.Response:
    """Posts a picture the way browsers do."""
    return client.post(route, files={"image": ("x.png", data, "image/png")}, headers=headers)


def send_raw(client: httpx.Client, route: str, data: bytes, **headers: str) -> httpx.Response:
    """Posts a picture as the body."""
    return client.post(route, content=data, headers={"Content-Type": "image/png", **headers})


def connect(url: str, timeout: float = 15.0) -> socket.socket:
    """A bare connection to the server."""
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port), timeout=timeout)


def head_of(route: str, length: int, headers: Mapping[str, str] | None = None) -> bytes:
    """The head of a POST whose body, of `length` bytes, is still to come."""
    lines = [f"POST {route} HTTP/1.1", "Host: x", "Content-Type: image/png", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_to_the_end(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))
