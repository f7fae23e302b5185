"""The page of a study as a viewer meets it, in a headless Chromium driven over the W3C WebDriver protocol."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from thcli.clips.ffmpeg import executable
from thcli.evaluation.study.answers import read_answers
from thcli.evaluation.study.key import read_key
from thcli.evaluation.study.make import make_study
from thcli.evaluation.study.scoring import score

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"),
]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""Key by which WebDriver marks an element in JSON."""


class Browser:
    """A headless Chromium with a profile of its own; downloads go to ``downloads``."""

    def __init__(self, folder: Path) -> None:
        self.downloads = folder / "downloads"
        self.downloads.mkdir()
        self.driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        port = next(
            int(found[1]) for line in self.driver.stdout if (found := re.search(rb"successfully on port (\d+)", line))
        )
        self.base = f"http://127.0.0.1:{port}/session"
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", f"--user-data-dir={folder}/profile"]
        flags += ["--window-size=1280,800"]
        chrome = {
            "binary": CHROMIUM,
            "args": flags,
            "prefs": {"download.default_directory": str(self.downloads)},
        }
        asked = {
            "capabilities": {"alwaysMatch": {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"browser": "ALL"}}}
        }
        try:
            self.base += "/" + self._send("POST", "", asked)["sessionId"]
        except BaseException:
            self.driver.kill()
            raise

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {json.load(error)['value']['message']}") from error

    def open(self, path: Path) -> None:
        self._send("POST", "/url", {"url": path.as_uri()})

    def run(self, script: str, *arguments: object) -> Any:
        return self._send("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, css: str) -> str:
        return self._send("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css: str) -> None:
        """Click as with the mouse, which fails where the element is hidden or covered."""
        self._send("POST", f"/element/{self.find(css)}/click")

    def type(self, css: str, text: str) -> None:
        self._send("POST", f"/element/{self.find(css)}/value", {"text": text})

    def press(self, key: str) -> None:
        """Press a key on whatever has the focus."""
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._send("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def text(self, css: str) -> str:
        return self._send("GET", f"/element/{self.find(css)}/text")

    def enabled(self, css: str) -> bool:
        return self._send("GET", f"/element/{self.find(css)}/enabled")

    def shown(self, css: str) -> bool:
        return self._send("GET", f"/element/{self.find(css)}/displayed")

    def into_frame(self) -> None:
        self._send("POST", "/frame", {"id": {ELEMENT: self.find("iframe")}})

    def messages(self) -> list[str]:
        """Return what the console said, such as breaches of the Content-Security-Policy."""
        return [entry["message"] for entry in self._send("POST", "/se/log", {"type": "browser"})]

    def close(self) -> None:
        try:
            self._send("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()
            self.driver.stdout.close()


def until(condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """Wait until a condition is true, and return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study of two methods with two clips of 0.6 s; study.key.json lies beside it."""
    folder = tmp_path_factory.mktemp("study")
    for method, picture in (("ours", "testsrc"), ("theirs", "smptebars")):
        (folder / method).mkdir()
        for clip, tone in (("one", 200), ("two", 400)):
            sources = [f"{picture}=size=128x128:rate=25:duration=0.6", f"sine=frequency={tone}:duration=0.6"]
            inputs = [part for source in sources for part in ("-f", "lavfi", "-i", source)]
            target = folder / method / f"{clip}.mp4"
            subprocess.run([executable(), "-v", "error", *inputs, "-pix_fmt", "yuv420p", target], check=True)
    folders = {method: folder / method for method in ("ours", "theirs")}
    return make_study(folders, folder / "study.html", "A study", seed=1).page


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    opened = Browser(tmp_path)
    yield opened
    opened.close()


def begin(browser: Browser, viewer: str) -> list[str]:
    """Enter a name, start, and return the order of the videos."""
    browser.type("#viewer", viewer)
    browser.click("#begin button")
    return browser.run("return state.order")


def rate(browser: Browser, realism: int, sync: int) -> None:
    """Watch the video on show to its end and answer both questions by clicks."""
    assert not browser.enabled("input[name=realism]")
    browser.click("#play")
    until(lambda: browser.enabled("input[name=realism]"), "the end of the video")
    assert not browser.enabled("#next")
    browser.click(f"input[name=realism][value='{realism}']")
    browser.click(f"input[name=sync][value='{sync}']")
    assert browser.enabled("#next")


def downloaded(path: Path) -> Any:
    """Read a saved file, which the browser makes before it fills it."""
    until(lambda: path.is_file() and path.stat().st_size > 0, "the download")
    return json.loads(path.read_text("utf-8"))


def test_page_lets_a_viewer_watch_rate_reload_and_save(browser, page):
    browser.open(page)
    order = begin(browser, "Zoë <b>&")
    given = {}
    for place, name in enumerate(order):
        assert browser.text("#count") == f"Video {place + 1} of 4"
        assert not browser.enabled("#next")
        given[name] = {"realism": 10 - place, "sync": place}
        rate(browser, *given[name].values())
        browser.click("#next")
        if place == 1:
            browser.open(page)
            assert browser.text("#found") == "Welcome back, Zoë <b>&. You have rated 2 of 4 videos."
            browser.click("#resume")
            assert browser.run("return state.order") == order
    assert browser.text("#thanks") == "Thank you, Zoë <b>&"
    browser.click("#save")
    saved = browser.downloads / "answers_Zoë_b_.json"
    answers = downloaded(saved)
    assert answers["order"] == order and answers["answers"] == given and answers["viewer"] == "Zoë <b>&"

    key = read_key(page.with_suffix(".key.json"))
    result = score(key, read_answers([saved], key))
    for one in result.scores:
        own = [given[name][one.question] for name in order if key.videos[name].method == one.method]
        assert one.mean == sum(own) / 2
    # Nothing was asked of the network, and the policy let all of the page's own script run.
    assert (
        browser.run(
            "return performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('blob:'))"
        )
        == []
    )
    assert browser.messages() == []


def test_page_shows_earlier_answers_and_lets_them_be_changed(browser, page):
    browser.open(page)
    first = begin(browser, "Bo")[0]
    assert not browser.enabled("#back")
    rate(browser, 3, 4)
    browser.click("#next")
    assert browser.run("return document.querySelectorAll('input:checked').length") == 0
    browser.click("#back")
    assert browser.text("#count") == "Video 1 of 4"
    assert browser.run("return [...document.querySelectorAll('input:checked')].map(i => i.value)") == ["3", "4"]
    browser.click("input[name=sync][value='9']")
    browser.click("#stop")
    assert browser.text("#rated") == "You have rated 1 of 4 videos."
    browser.click("#save")
    saved = browser.downloads / "answers_Bo.json"
    assert downloaded(saved)["answers"] == {first: {"realism": 3, "sync": 9}}
    # The next viewer at this machine starts with nothing of the last one.
    browser.click("#anew")
    assert browser.run("return [state, localStorage.length, document.querySelector('#viewer').value]") == [None, 0, ""]


def test_page_can_be_used_by_keyboard_alone(browser, page):
    enter, tab, space, right = "\ue007", "\ue004", " ", "\ue014"
    browser.open(page)
    browser.type("#viewer", "Kim" + enter)
    browser.press(space)
    until(lambda: browser.enabled("input[name=realism]"), "the end of the video")
    for _ in range(2):
        browser.press(tab)
        browser.press(space)
        browser.press(right)
        browser.press(right)
    assert browser.run("return state.answers[state.order[0]]") == {"realism": 2, "sync": 2}
    browser.press(enter)
    assert browser.text("#count") == "Video 2 of 4"


def test_page_gives_each_viewer_an_order_of_its_own(browser, page):
    browser.open(page)
    orders = {name: browser.run("return orderFor(arguments[0])", name) for name in ("Ann", "Ben", "Cy", "Di", "Ed")}
    assert all(sorted(order) == sorted(orders["Ann"]) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) > 2
    assert begin(browser, "  Ann ") == orders["Ann"]
    # Every video comes in every place about equally often: of 400 viewers 100, give or take 4 deviations.
    places = browser.run(
        "const n = study.videos.map(() => study.videos.map(() => 0));"
        "for (let i = 0; i < 400; i++) orderFor('viewer ' + i).forEach((v, at) => n[study.videos.indexOf(v)][at]++);"
        "return n"
    )
    assert all(65 < count < 135 for row in places for count in row)


def test_page_works_without_storage_and_says_so(browser, page):
    outer = page.with_name("outer.html")
    outer.write_text('<iframe sandbox="allow-scripts allow-forms" src="study.html" width="1100" height="700"></iframe>')
    browser.open(outer)
    browser.into_frame()
    assert browser.shown("#forgetful")
    begin(browser, "Lou")
    rate(browser, 0, 10)
    browser.click("#stop")
    assert json.loads(browser.run("return document.querySelector('#text').value"))["viewer"] == "Lou"


def test_page_passes_over_a_video_that_cannot_be_played(browser, page):
    broken = page.with_name("broken.html")
    broken.write_text(re.sub(r'(id="video-\w+">)[^<]+', r"\1AAAA", page.read_text()))
    browser.open(broken)
    begin(browser, "Mo")
    until(lambda: browser.enabled("#next"), "the error")
    assert browser.text("#hint").startswith("This browser cannot play the video.")
    browser.click("#next")
    assert browser.text("#count") == "Video 2 of 4"
