"""Chromium driven by chromedriver's plain HTTP (W3C WebDriver): what a person does on a page, step by step.

Arguments: the page's address, then one step each. `see TEXT|#ID` waits for it, `gone …` for its end, `click #ID` clicks,
`press TEXT` clicks the button or link that says so, `try …` is the same for what may not be there, `show NAME` leaves a
picture in $KEEP, `say CSS` prints its text, `go FRAGMENT` goes elsewhere on the page.
"""
import base64, json, os, subprocess, sys, time, urllib.error, urllib.request

PATIENCE_S = 40
PORT = 9515


def ask(path, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, {"Content-Type": "application/json"})
    request.method = method or ("GET" if body is None else "POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["value"]


def wait(what, look, patience_s=PATIENCE_S):
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise TimeoutError(what)


class Page:
    def __init__(self):
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--disable-dev-shm-usage", "--window-size=1280,900", "--force-prefers-reduced-motion",
                 f"--user-data-dir={os.environ['HOME']}/chromium"]
        wanted = {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": flags}}}}
        self.at = "/session/" + ask("/session", wanted)["sessionId"]

    def run(self, script, *args):
        return ask(self.at + "/execute/sync", {"script": script, "args": list(args)})

    def open(self, address):
        ask(self.at + "/url", {"url": address})

    # A button that React shows takes its events a moment later only where it was disabled.
    FIND = """
        const words = arguments[0], press = arguments[1];
        const shown = e => e && e.getClientRects().length > 0 && !e.disabled;
        if (words.startsWith('#') || words.startsWith('.')) {
            return [...document.querySelectorAll(words)].find(shown) || null;
        }
        if (press) {
            return [...document.querySelectorAll('button, a, [role=menuitem]')]
                .find(e => shown(e) && e.innerText.trim() === words) || null;
        }
        return document.body.innerText.includes(words) || null;
    """

    def find(self, words, press=False):
        try:
            return self.run(self.FIND, words, press)
        except urllib.error.HTTPError:
            return None

    def do(self, step):
        verb, _, rest = step.partition(" ")
        if verb == "see":
            wait(step, lambda: self.find(rest))
        elif verb == "gone":
            wait(step, lambda: not self.find(rest))
        elif verb in ("click", "press"):
            self.run("arguments[0].click()", wait(step, lambda: self.find(rest, verb == "press")))
        elif verb == "go":
            self.run("window.location.hash = arguments[0]", rest)
        elif verb == "show":
            # What was just drawn may still be moving.
            time.sleep(0.5)
            with open(f"{os.environ['KEEP']}/{rest}.png", "wb") as file:
                file.write(base64.b64decode(ask(self.at + "/screenshot")))
        elif verb == "say":
            found = wait(step, lambda: self.find(rest))
            print(rest, "says", " ".join(self.run("return arguments[0].innerText", found).split()))
            return
        elif verb == "try":
            try:
                wait(rest, lambda: self.find(rest.partition(" ")[2], rest.startswith("press")), 8)
                self.do(rest)
            except TimeoutError:
                pass
            return
        else:
            raise ValueError(step)
        if verb != "show":
            print("did", step)


def main():
    address, steps = sys.argv[1], sys.argv[2:]
    log = open(f"{os.environ['KEEP']}/chromedriver.log", "w")
    driver = subprocess.Popen(["chromedriver", f"--port={PORT}"], stdout=log, stderr=log)
    try:
        def ready():
            try:
                return ask("/status")["ready"]
            except OSError:
                return False

        wait("chromedriver", ready)
        page = Page()
        try:
            page.open(address)
            for step in steps:
                try:
                    page.do(step)
                except TimeoutError as late:
                    print("in vain:", late)
                    page.do("show in-vain")
                    print(page.run("return document.body.innerText")[:2000])
                    sys.exit(1)
        finally:
            ask(page.at, method="DELETE")
    finally:
        driver.terminate()
        driver.wait()


main()
