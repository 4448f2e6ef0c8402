"""The door to the `openai` client: one chat in, one text out, whatever the endpoint does in between."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from random import Random
from typing import TYPE_CHECKING, Any

from emosae.errors import UserError
from emosae.stories.generate.settings import CallSettings
from emosae.stories.generate.spend import Spend

if TYPE_CHECKING:
    from openai import OpenAIError

_LONGEST_WAIT = 60.0
_LONGEST_ORDERED_WAIT = 600.0
_HOPELESS = (401, 403, 404)
_WORTH_A_RETRY = (408, 409, 429)


class CallFailed(Exception):
    """A call was given up; the message says what the endpoint did last."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The text of an answer, perhaps empty, and what it took."""

    text: str
    spend: Spend


class _Unreadable(Exception):
    """The endpoint answered, but with no chat completion."""


class Endpoint:
    """An OpenAI-compatible endpoint; its address, unless given, and key are in OPENAI_BASE_URL and OPENAI_API_KEY.

    A call that stalls, breaks off, is answered by garbage, or is refused for the moment (408, 409, 429, 5xx) is made
    again after a wait that doubles each time; where the endpoint says how long to wait, all calls wait so long.
    """

    def __init__(self, model: str, settings: CallSettings, rng: Random, base_url: str | None = None) -> None:
        self._client = _open_client(settings.timeout, base_url)
        self._model = model
        self._settings = settings
        self._rng = rng
        self._resume_at = 0.0
        self.retries = 0

    @property
    def host(self) -> str:
        """Where the answers come from, without path and key."""
        return str(self._client.base_url.host)

    async def ask(self, messages: Sequence[dict[str, str]]) -> Reply:
        """The answer to one chat.

        Raises:
            CallFailed: The call failed more often than may be, or can only fail.
            UserError: The endpoint does not know the key or the model.
        """
        from openai import OpenAIError

        reason = ""
        for attempt in range(self._settings.retries + 1):
            await asyncio.sleep(max(0.0, self._resume_at - time.monotonic()))
            try:
                async with asyncio.timeout(self._settings.timeout):
                    return await self._call(messages)
            except TimeoutError:
                reason = f"no answer within {self._settings.timeout:g} s"
            except _Unreadable as error:
                reason = str(error)
            except OpenAIError as error:
                reason = self._explain(error)
            if attempt < self._settings.retries:
                self.retries += 1
                await asyncio.sleep(self._backoff(attempt))
        raise CallFailed(f"{self._settings.retries + 1} calls failed, the last with: {reason}")

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.close()

    async def _call(self, messages: Sequence[dict[str, str]]) -> Reply:
        options: dict[str, Any] = {}
        if self._settings.temperature is not None:
            options["temperature"] = self._settings.temperature
        try:
            chat: Any = list(messages)
            answer: Any = await self._client.chat.completions.create(model=self._model, messages=chat, **options)
        except ValueError as error:
            raise _Unreadable(f"a body that is not JSON ({error})") from error
        return _read_completion(answer)

    def _explain(self, error: OpenAIError) -> str:
        """What went wrong, if a retry may mend it; anything else is raised."""
        from openai import APIConnectionError, APIResponseValidationError, APIStatusError

        if isinstance(error, APIConnectionError | APIResponseValidationError):
            return str(error)
        if not isinstance(error, APIStatusError):
            raise error
        status, message = error.status_code, " ".join(str(error).split())[:300]
        if status in _HOPELESS:
            raise UserError(f"{self.host} refuses model {self._model!r}: {message}") from error
        if status < 500 and status not in _WORTH_A_RETRY:
            raise CallFailed(message) from error
        wait = _ordered_wait(error.response.headers.get("retry-after"))
        self._resume_at = max(self._resume_at, time.monotonic() + wait)
        return message

    def _backoff(self, attempt: int) -> float:
        """Seconds; half of them are drawn, so that calls that failed together do not come back together."""
        return min(_LONGEST_WAIT, self._settings.first_wait * 2**attempt) * self._rng.uniform(0.5, 1)


def _read_completion(answer: Any) -> Reply:
    """The text of a completion, empty if it has none; the client lets anything pass for a completion."""
    choices = getattr(answer, "choices", None)
    message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
    if message is None:
        raise _Unreadable("an answer that is no chat completion")
    content, usage = getattr(message, "content", None), getattr(answer, "usage", None)
    tokens = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
    counts = [count if isinstance(count, int) else 0 for count in tokens]
    return Reply(content if isinstance(content, str) else "", Spend(1, *counts))


def _ordered_wait(header: str | None) -> float:
    """Seconds that a Retry-After header asks for, at most ten minutes; 0 where it says nothing that can be read."""
    if not header:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_ORDERED_WAIT)


def _open_client(timeout: float, base_url: str | None) -> Any:
    try:
        from openai import AsyncOpenAI
    except ImportError as error:
        raise UserError("the openai client is missing: pip install 'emosae[generate]'") from error
    if not os.environ.get("OPENAI_API_KEY"):
        raise UserError("OPENAI_API_KEY is not set: set it, to any text for an endpoint that asks for none")
    return AsyncOpenAI(base_url=base_url, max_retries=0, timeout=timeout)
