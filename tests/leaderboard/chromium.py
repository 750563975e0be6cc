"""Drives a headless Chromium over its debugging pipe: JSON messages that end in a zero byte, on descriptors 3 and 4.

    with Browser(binary, profile) as browser:
        page = browser.open(url)
        page.run("document.title")

The protocol is that of the developer tools; no package is needed. Each wait has a limit, and the process that was
started is ended with its block.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

PATIENCE = 60
"""Seconds to wait for an answer; the machine may be loaded."""
KEYS = {"Enter": 13, "Tab": 9, " ": 32, "ArrowRight": 39, "ArrowLeft": 37, "End": 35, "Home": 36}
"""Key -> its code."""


def find() -> str | None:
    """The program, or None where there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)


class Browser:
    """One process, with a profile of its own that the caller removes."""

    def __init__(self, binary: str, profile: Path):
        read, self._out = os.pipe()
        self._in, write = os.pipe()
        # Above 10, so that putting one at 3 or 4 does not close the other.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (read, write)]
        os.close(read)
        os.close(write)

        def place() -> None:
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"]
        self._process = subprocess.Popen(
            [binary, *flags, f"--user-data-dir={profile}", "--window-size=1280,900", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,  # what Python opened does not pass anyway
            preexec_fn=place,
            start_new_session=True,
        )
        for end in ends:
            os.close(end)
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._out)
        os.close(self._in)
        try:
            self._process.wait(5)  # it ends with its pipe
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    def open(self, url: str) -> Page:
        """A new page at an address, loaded."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log"):
            page.send(f"{domain}.enable")
        page.go(url)
        return page

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The answer to a command. RuntimeError where it fails, TimeoutError where none comes."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(self._out, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = self.receive(end - time.monotonic())
            if found is not None and found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']['message']}")
                return found["result"]
        raise TimeoutError(f"no answer to {method} within {PATIENCE} s")

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """The next message, events kept in `events`; None where none comes in time."""
        end = time.monotonic() + seconds
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return None
            read = os.read(self._in, 1 << 16)
            if not read:
                raise RuntimeError("Chromium ended")
            self._rest += read
        message, self._rest = self._rest.split(b"\0", 1)
        found = json.loads(message)
        if "method" in found:
            self.events.append(found)
        return found


class Page:
    """A tab of the browser."""

    def __init__(self, browser: Browser, session: str):
        self._browser, self._session = browser, session

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command to this page."""
        return self._browser.send(method, self._session, **parameters)

    def go(self, url: str) -> None:
        """Load an address, also where only its fragment is another."""
        self.send("Page.navigate", url="about:blank")
        self._until("document.URL === 'about:blank'")
        self.send("Page.navigate", url=url)
        self._until("document.URL !== 'about:blank' && document.readyState === 'complete'")

    def _until(self, condition: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.run(condition):
            if time.monotonic() > end:
                raise TimeoutError(f"{condition} did not become true within {PATIENCE} s")
            time.sleep(0.01)

    def run(self, script: str) -> Any:
        """The value of an expression; promises are awaited. RuntimeError where it throws."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key."""
        code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **code)

    def scheme(self, name: str) -> None:
        """The system's colour scheme: "light" or "dark"."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def size(self, width: int, height: int) -> None:
        """The size of the window in pixels; a narrow one is a phone."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def picture(self, path: Path) -> None:
        """What the window shows, as PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def complaints(self) -> list[str]:
        """Errors and warnings of the console since the browser started: exceptions, blocked content, missing files."""
        self.run("new Promise((done) => setTimeout(done, 50))")  # reports come after what they are about
        found: list[str] = []
        for event in self._browser.events:
            if event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] in ("error", "warning"):
                found.append(event["params"]["entry"]["text"])
            elif event["method"] == "Runtime.exceptionThrown":
                found.append(str(event["params"]["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning"):
                found.append(str(event["params"]["args"]))
        return found
