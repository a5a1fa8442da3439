"""The web page in Chromium, as a person uses it: page.py URL FOLDER. Prints JSON; screenshots go into the folder."""

import json
import sys
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

URL, FOLDER = sys.argv[1], Path(sys.argv[2])
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SLOW = 120_000

with sync_playwright() as play:
    browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(SLOW)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    found: dict[str, object] = {}

    page.goto(URL)
    expect(page.locator("#status")).to_contain_text("40 documents", timeout=SLOW)
    page.get_by_role("heading", name="rankrag").click()
    page.keyboard.press("/")
    page.keyboard.type("Who led elephants over the Brooklyn Bridge?")
    page.keyboard.press("Enter")
    page.wait_for_selector("article .cite")
    found["question"] = page.locator("article h2").inner_text()
    found["answer"] = page.locator("article .answer").inner_text()
    page.get_by_role("button", name="Helpful", exact=True).click()
    page.wait_for_selector("button[aria-pressed=true]")
    page.click("article summary")
    found["passages"] = page.locator(".passage").count()
    found["used"] = page.locator(".passage.used").count()
    page.click("article .cite")
    page.wait_for_selector("#wanted")
    found["highlighted"] = "P. T. Barnum" in page.locator("#wanted").inner_text()
    page.screenshot(path=FOLDER / "serve.png")
    found["serious"] = [
        f"{v['id']}: {v['nodes'][0]['target']}"
        for v in Axe().run(page).response["violations"]
        if v["impact"] in ("serious", "critical")
    ]
    page.keyboard.press("Escape")
    found["closed by the keyboard"] = page.locator("#viewer").is_hidden()

    page.fill("#question", "What is the source of the Danube?")
    page.keyboard.press("Enter")
    page.wait_for_selector("article:nth-of-type(2) details")
    page.locator("article:nth-of-type(2) summary").click()
    page.locator("article:nth-of-type(2) .place", has_text="page 2").first.click()
    expect(page.locator("#viewer-body .hit").first).to_be_in_viewport(timeout=SLOW)
    found["pdf at its passage"] = page.locator("#viewer-body canvas").count() >= 1
    page.screenshot(path=FOLDER / "pdf.png")
    page.click("#close-viewer")

    page.click("#show-files")
    page.wait_for_selector("#documents li")
    page.set_input_files("#pick", {"name": "sable.md", "mimeType": "text/markdown", "buffer": b"# Sable\n\nA marten."})
    page.wait_for_selector("#documents >> text=sable.md")
    found["uploaded"] = True
    # The stream of events begins with what is known of sable.md: that must not make the page read the list for ever.
    reads: list[str] = []
    page.on("request", lambda request: reads.append(request.url) if request.url.endswith("/documents") else None)
    page.wait_for_timeout(2500)
    found["reads of a list at rest"] = len(reads)
    page.get_by_label("Remove sable.md").click()
    page.wait_for_selector("#documents >> text=sable.md", state="detached")
    page.click("#close-files")

    with page.expect_download() as download:
        page.click("#export")
    found["exported"] = "[1]" in Path(download.value.path()).read_text(encoding="utf-8")
    page.set_viewport_size({"width": 390, "height": 780})
    page.click("#theme")
    page.locator("article:nth-of-type(1) h2").scroll_into_view_if_needed()
    found["no sideways scrolling on a phone"] = page.evaluate("document.body.scrollWidth <= 390")
    page.screenshot(path=FOLDER / "phone.png")
    found["problems"] = problems
    browser.close()
    print(json.dumps(found))
