"""A browser for tests: Debian's Chromium, spoken to in WebDriver's plain HTTP through its chromedriver."""

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's name for a reference to an element
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")


class Browser:
    """A headless window. `with Browser() as browser: browser.open(path)`."""

    def __enter__(self):
        quiet = subprocess.DEVNULL
        self.driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=quiet, text=True)
        try:
            port = next(filter(None, (re.search(r"on port (\d+)\.", line) for line in self.driver.stdout)))[1]
            self.address = f"http://127.0.0.1:{port}/session"
            flags = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
            wanted = {"browserName": "chrome", "goog:chromeOptions": {"binary": CHROMIUM, "args": flags},
                      "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
            made = self.ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})
            self.address += "/" + made["sessionId"]
        except BaseException:
            self.driver.kill()
            raise
        return self

    def __exit__(self, *error):
        self.ask("DELETE", "")
        self.driver.terminate()
        self.driver.wait()

    def ask(self, method, path, content=None):
        """One WebDriver command -> its value."""
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.address + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def open(self, path):
        self.ask("POST", "/url", {"url": path.resolve().as_uri()})

    def run(self, script, *arguments):
        """What a piece of JavaScript returns in the page."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition, seconds=120):
        """Wait until condition() is true -> its value."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > end:
                raise TimeoutError(condition)
            time.sleep(0.05)
        return value

    def find(self, selector):
        return self.ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def text(self, selector):
        return self.ask("GET", f"/element/{self.find(selector)}/text")

    def click(self, selector):
        self.ask("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector, text):
        self.ask("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def drag(self, *selectors):
        """Press the mouse on the first element, draw it over the others, and let go."""
        over = [{ELEMENT: self.find(selector)} for selector in selectors]
        moves = [{"type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": each} for each in over]
        moves.insert(1, {"type": "pointerDown", "button": 0})
        moves.append({"type": "pointerUp", "button": 0})
        self.ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": moves}]})

    def log(self, kind):
        """What is new in a log: "browser" is the console, "performance" tells what was fetched."""
        return self.ask("POST", "/se/log", {"type": kind})

    def devtools(self, command, **parameters):
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})
