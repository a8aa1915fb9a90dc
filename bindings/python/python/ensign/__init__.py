"""Feature flags for AI model deployment: read in process, reported in the background.

    from ensign import Client

    client = Client("http://127.0.0.1:7070", key)
    model = client.variant("inference_model", unit="user-1", default="claude-3-haiku")
    with model.request() as call:
        call.tokens(*answer(model.value))
    client.outcome(model, "helpful", True)

An evaluation waits for nothing and goes on while the server is away. Clients may be used from any thread and any
event loop, and after `os.fork`.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from . import _ensign
from ._ensign import __version__

__all__ = ["Client", "Request", "Variant", "__version__"]


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Variant:
    """What a flag gave one unit: its value, why, and what reports are attributed by."""

    __slots__ = ("_client", "_core")

    def __init__(self, client: Client, core: _ensign.Variant) -> None:
        self._client = client
        self._core = core

    @property
    def value(self) -> Any:
        """The value; the caller's default where the flag gave none."""
        return self._core.value

    @property
    def name(self) -> str | None:
        """The variant's name; `None` where the default was given."""
        return self._core.name

    @property
    def flag(self) -> str:
        """The flag's key."""
        return self._core.flag

    @property
    def reason(self) -> str:
        """Why, in OpenFeature's words: `STATIC`, `DEFAULT`, `TARGETING_MATCH`, `SPLIT`, `DISABLED`, `ERROR`."""
        return self._core.reason

    @property
    def error(self) -> str | None:
        """OpenFeature's word for what went wrong; `None` if nothing did."""
        return self._core.error

    def token(self, use_case: str | None = None) -> str | None:
        """The attribution token: whoever sends feedback with it needs nothing else.

        It is signed, says nothing readable, and may be given to anybody. `None` until the client has heard from the
        server once.
        """
        return self._client._core.token(self._core, use_case)

    def request(self, **about: Any) -> Request:
        """Times a model request that uses this variant; see `Client.request`."""
        return self._client.request(self, **about)

    def __repr__(self) -> str:
        return f"Variant({self.flag!r}, {self.value!r}, reason={self.reason!r})"

    def __str__(self) -> str:
        return str(self.value)


class Request:
    """A model request under way. Use it with `with` or `async with`: it is reported when the block ends.

    A block that ends without an exception is `ok`; an exception is told apart by its type and its HTTP status, if it
    has one. `failed` says it in the application's own words, which count more.
    """

    __slots__ = ("_client", "_variants", "_about", "_began", "_first", "_status")

    def __init__(self, client: Client, variants: Sequence[Variant], about: dict[str, Any]) -> None:
        self._client = client
        self._variants = variants
        self._about = about
        self._began: float | None = None
        self._first: float | None = None
        self._status: str | None = None

    def tokens(self, tokens_in: int | None = None, tokens_out: int | None = None) -> None:
        """Says how many tokens were sent and received."""
        if tokens_in is not None:
            self._about["tokens_in"] = tokens_in
        if tokens_out is not None:
            self._about["tokens_out"] = tokens_out

    def cost(self, cost: float) -> None:
        """Says what it cost, where the price table does not."""
        self._about["cost"] = cost

    def first_token(self) -> None:
        """Says that the first token came, now; later calls change nothing."""
        if self._first is None:
            self._first = time.perf_counter()

    def failed(self, status: str) -> None:
        """Says how it ended: `timeout`, `malformed`, `truncated`, `upstream_error`, `overloaded`, `rate_limited`,
        `rejected`, `client_cancelled`, `content_filter` (or `ok`)."""
        self._status = status

    def __enter__(self) -> Request:
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = time.perf_counter()
        began = ended if self._began is None else self._began
        status = self._status or _status(error)
        first = None if self._first is None else self._first - began
        cores = [variant._core for variant in self._variants]
        self._client._core.request(cores, status, ended - began, first, **self._about)

    async def __aenter__(self) -> Request:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def _status(error: BaseException | None) -> str:
    """The status that an exception means, by its type's name and HTTP status: every client library has its own."""
    if error is None:
        return "ok"
    if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)):
        return "client_cancelled"
    if isinstance(error, TimeoutError) or "timeout" in type(error).__name__.lower():
        return "timeout"
    code = getattr(error, "status_code", None) or getattr(error, "status", None)
    if code is None:
        code = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(code, int):
        if code == 429:
            return "rate_limited"
        if code in (503, 529):
            return "overloaded"
        if code in (408, 504):
            return "timeout"
        if 400 <= code < 500:
            return "rejected"
        if code >= 500:
            return "upstream_error"
    if isinstance(error, (ConnectionError, OSError)):
        return "upstream_error"
    if isinstance(error, (ValueError, KeyError, TypeError, IndexError)):
        # What came could not be used.
        return "malformed"
    return "upstream_error"


class Client:
    """Reads the flags of one environment.

    `url` is the server, `key` the SDK key of the environment. `folder` keeps the last good ruleset, so that a start
    while the server is away serves it. `wait` is how many seconds the constructor waits for the first ruleset; it
    returns in any case. At most `queue` reports wait to be sent; more are dropped, and counted in `counts`.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        folder: str | os.PathLike[str] | None = None,
        wait: float = 2.0,
        queue: int = 10_000,
        flush_every: float = 0.2,
        exposures: bool = True,
        on_change: Callable[[int, list[str]], None] | None = None,
    ) -> None:
        self._listeners: list[Callable[[int, list[str]], None]] = [] if on_change is None else [on_change]
        listeners = self._listeners

        def changed(revision: int, flags: list[str]) -> None:
            for listener in list(listeners):
                listener(revision, flags)

        path = None if folder is None else Path(folder)
        self._core = _ensign.Core(url, key, path, queue, flush_every, exposures, changed)
        # Bound once: an attribute that is found on the instance is found sooner.
        self.value = self._core.value
        _clients.add(self)
        if wait > 0:
            self._core.wait_ready(wait)

    def variant(
        self, flag: str, *, unit: str | None = None, context: Mapping[str, Any] | None = None, default: Any = None
    ) -> Variant:
        """Evaluates a flag for a unit and gives the value with everything that reports need.

        Never raises because of a flag: a flag that is missing or broken gives `default`, and `error` says so.
        """
        if context is not None and not isinstance(context, dict):
            context = dict(context)
        return Variant(self, self._core.variant(flag, unit, context, default))

    def request(
        self,
        variants: Variant | Sequence[Variant],
        *,
        use_case: str | None = None,
        model: str | None = None,
        id: str | None = None,
    ) -> Request:
        """Times a model request that uses these variants, and reports how it ended."""
        about: dict[str, Any] = {}
        for name, value in (("use_case", use_case), ("model", model), ("id", id)):
            if value is not None:
                about[name] = value
        return Request(self, [variants] if isinstance(variants, Variant) else list(variants), about)

    def outcome(self, subject: Variant | Sequence[Variant] | str, metric: str, value: bool | float) -> bool:
        """Reports a fact found out later: of a variant, of several, or of an attribution token (a string).

        Never waits; `False` when it was dropped because too much is waiting.
        """
        if isinstance(subject, str):
            return self._core.outcome_by_token(subject, metric, float(value))
        variants = [subject] if isinstance(subject, Variant) else subject
        return self._core.outcome([variant._core for variant in variants], metric, value)

    def wait_ready(self, timeout: float = 5.0) -> bool:
        """Waits for the first ruleset; `False` when there is none in time."""
        return self._core.wait_ready(timeout)

    def flush(self, timeout: float = 5.0) -> bool:
        """Waits until the server has acknowledged everything reported so far; `False` when it has not in time."""
        return self._core.flush(timeout)

    def close(self, timeout: float = 2.0) -> bool:
        """Flushes and stops following the server. Evaluations go on with the last ruleset."""
        _clients.discard(self)
        return self._core.close(timeout)

    @property
    def contact(self) -> str:
        """How well the server is heard: `never`, `current`, `lost`, `stale` or `refused`."""
        return self._core.contact

    @property
    def revision(self) -> int | None:
        """The revision that is served; `None` before the first."""
        return self._core.revision

    @property
    def counts(self) -> dict[str, int]:
        """What became of the reports: `noted`, `dropped`, `acknowledged`, `refused`, `failed_tries`."""
        return self._core.counts

    @property
    def problems(self) -> list[str]:
        """What is wrong with single flags, as sentences."""
        return self._core.problems

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _after_fork() -> None:
    for client in list(_clients):
        client._core.after_fork()


def _at_exit() -> None:
    for client in list(_clients):
        client.close(1.0)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
