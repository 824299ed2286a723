"""Takes docs/images/cards.png from a running demo: `make run` in one terminal, this script in another.

Usage: python -m scripts.take_screenshots [ADDRESS OF THE SANDBOX]   (default http://127.0.0.1:8080)
The dose warning of the pictured patient must not have been overridden before in that database.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
PATIENT = "dose-above"
WIDTH, MARGIN = 1080, 12  # pixels


def main(address: str) -> None:
    """Sign the example order and picture what comes back."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    IMAGES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, device_scale_factor=2, base_url=address)
        page.goto(f"/patients/{PATIENT}")
        page.get_by_role("button", name="Sign", exact=True).click()
        page.locator(".card").first.wait_for()
        page.locator(".card").first.get_by_text("Details", exact=True).click()
        top = page.locator("#outcome").bounding_box()
        bottom = page.locator(".card").last.bounding_box()
        if top is None or bottom is None:
            sys.exit("no cards are shown")
        area = {
            "x": top["x"] - MARGIN,
            "y": top["y"] - MARGIN,
            "width": bottom["width"] + 2 * MARGIN,
            "height": bottom["y"] + bottom["height"] - top["y"] + 2 * MARGIN,
        }
        page.screenshot(path=IMAGES / "cards.png", clip=area, full_page=True)
        browser.close()
    print(f"wrote {IMAGES / 'cards.png'}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
