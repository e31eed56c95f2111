"""API keys: random tokens, hashed at rest, read again when their file changes.

A key is 256 random bits, so nobody finds it by trying, whatever the hash costs. Slow hashes (bcrypt, scrypt, Argon2)
make up for passwords that people choose from few; here they would only cost every request milliseconds of processor. A
salt makes equal or guessable secrets cost one search each; random keys are neither. The prefix of what is hashed makes
these hashes useless for anything else that hashes the same token. Never hash a password of your own into the file.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from serving.errors import SettingsError
from serving.guard.identity import ANONYMOUS, logger

Role = Literal["restore", "admin"]

# A recognisable beginning, so that secret scanners can find keys that leak.
KEY_PREFIX = "msk_"
_KEY_BYTES = 32
_HASHED_PREFIX = b"millisight api key 1:"
_LOOK_S = 1.0


class KeyFileError(SettingsError):
    """The key file cannot be read or used."""


class ApiKey(BaseModel):
    """What is stored of one key.

    Attributes:
        name: Shown in logs and as the client of jobs.
        sha256: Of the key; see `hash_key`.
        role: `admin` may also load, unload and reload models.
        rate_per_minute: Requests a minute; None: as many as it likes.
        burst: Requests at once, when none came for a while; None: those of one minute.
        created: When.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    role: Role = "restore"
    rate_per_minute: Annotated[float, Field(gt=0, le=1e6)] | None = None
    burst: Annotated[int, Field(ge=1, le=10**6)] | None = None
    created: AwareDatetime

    @field_validator("name")
    @classmethod
    def _not_anonymous(cls, name: str) -> str:
        if name == ANONYMOUS.name:
            raise ValueError("is the name of clients without a key")
        return name


_KEYS = TypeAdapter(tuple[ApiKey, ...])


def hash_key(key: str) -> str:
    """What is stored in place of a key."""
    return hashlib.sha256(_HASHED_PREFIX + key.encode("utf-8", "surrogateescape")).hexdigest()


def new_key(
    name: str, role: Role = "restore", rate_per_minute: float | None = None, burst: int | None = None
) -> tuple[str, ApiKey]:
    """Makes a key; the first value is the only place where it ever stands in the clear.

    Raises:
        KeyFileError: A value is not allowed.
    """
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    try:
        entry = ApiKey(
            name=name,
            sha256=hash_key(key),
            role=role,
            rate_per_minute=rate_per_minute,
            burst=burst,
            created=datetime.now(UTC).replace(microsecond=0),
        )
    except ValidationError as error:
        raise KeyFileError(f"No key can be made of this: {_problems(error)}.") from error
    return key, entry


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Reads a key file.

    Raises:
        KeyFileError: It cannot be read, has something else in it, or two keys share a name.
    """
    try:
        keys = _KEYS.validate_json(path.read_bytes())
    except OSError as error:
        raise KeyFileError(
            f"The key file {path} cannot be read: {error.strerror}. `millisight keys create` makes one."
        ) from error
    except ValidationError as error:
        # Without the input: whatever stands there by mistake may be a key.
        raise KeyFileError(f"The key file {path} is wrong: {_problems(error)}. See docs/serving.md.") from None
    names = [key.name for key in keys]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise KeyFileError(f"The key file {path} has two keys of the name {', '.join(twice)}. Names are unique.")
    return keys


def write_keys(path: Path, keys: Iterable[ApiKey]) -> None:
    """Replaces a key file at once, so that no server sees half of it; only its owner may read it.

    Raises:
        KeyFileError: It cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(_KEYS.dump_json(tuple(keys), indent=1) + b"\n")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise KeyFileError(f"The key file {path} cannot be written: {error.strerror}.") from error


def _problems(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}" for problem in problems[:5])


class KeyRing:
    """The keys of a file, followed while it changes. A broken new version leaves the keys as they were."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Reads the file.

        Raises:
            KeyFileError: It cannot be used; a server must not start without the keys it was told to ask for.
        """
        self._path = path
        self._clock = clock
        self._version = self._look()
        self._keys = read_keys(path)
        self._next_look = clock() + _LOOK_S

    def find(self, key: str) -> ApiKey | None:
        """The entry of a key. Takes the same time whichever it is: all are compared, in constant time each."""
        self._follow()
        digest = hash_key(key)
        found = None
        for entry in self._keys:
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        return found

    def _follow(self) -> None:
        if self._clock() < self._next_look:
            return
        self._next_look = self._clock() + _LOOK_S
        version = self._look()
        if version == self._version:
            return
        self._version = version
        try:
            self._keys = read_keys(self._path)
        except KeyFileError as error:
            logger.error("%s The %d keys read before stay in force.", error, len(self._keys))
        else:
            logger.info("Read %d API keys.", len(self._keys))

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
