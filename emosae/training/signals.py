"""Being told to stop: note it, finish the step, save, and only then do what the signal asks."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
"""What a user, a scheduler that needs the node, and submitit before a time limit send."""


class StopRequest:
    """Holds back the signals inside a `with` block; `received` is the first that came.

    The handlers from before are back after the block, where `deliver` raises the signal again: SIGTERM ends the
    process, SIGINT raises KeyboardInterrupt, and submitit's handler puts the job back into the queue. Outside of the
    main thread, where Python allows no handlers, nothing is held back.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {one: signal.signal(one, self._note) for one in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number)

    def deliver(self) -> None:
        """Raise the signal that came, if one did; the handlers from before answer it."""
        if self.received is not None:
            signal.raise_signal(self.received)
