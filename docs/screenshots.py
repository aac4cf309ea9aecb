"""The pictures of the explorer: in JupyterLab, and as a page without a kernel.

`python docs/screenshots.py` makes docs/explorer.png and docs/explorer-page.png from the shipped
study with a headless Chromium (chromium and chromedriver on the path).
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from chromium import headless, lab
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parent.parent
WINDOW = "1280,1010"  # Pixels.
COLOURS = 255
PATIENCE = 600  # Seconds.
PAINTED = "canvas.toolkit-picture[data-turn]"
TWIN = ".widget-text input[type=text]:not([placeholder^='or the path'])"
INSIDE, BEYOND = "3e12", "1e13"  # FLOP; the study ends at the first.


def in_lab(opened: webdriver.Chrome, folder: Path) -> None:
    """docs/explorer.png: the notebook at a budget that the study has."""
    with lab(ROOT, folder) as address:
        wait = WebDriverWait(opened, PATIENCE, ignored_exceptions=[Exception])
        notebook = f"{address}/lab/tree/notebooks/explore.ipynb?token=t&reset"
        wait.until(lambda o: o.get(notebook) or True)
        wait.until(lambda o: "Idle" in o.find_element(By.ID, "jp-main-statusbar").text)
        opened.execute_script("jupyterapp.commands.execute('notebook:run-all-cells')")
        wait.until(lambda o: o.find_element(By.CSS_SELECTOR, PAINTED))
        opened.execute_script("jupyterapp.commands.execute('application:toggle-left-area')")
        ask(opened, opened.find_element(By.CSS_SELECTOR, TWIN), INSIDE)
        wait.until(lambda o: "For 3×10¹² FLOP" in label(o))
        opened.execute_script(
            "arguments[0].scrollIntoView()",
            opened.find_element(By.CSS_SELECTOR, ".widget-dropdown"),
        )
        save(opened, ROOT / "docs" / "explorer.png")


def label(opened: webdriver.Chrome) -> str:
    return opened.find_element(By.CSS_SELECTOR, PAINTED).get_attribute("aria-label") or ""


def as_page(opened: webdriver.Chrome, folder: Path) -> None:
    """docs/explorer-page.png: the page without a kernel, beyond the study's budgets."""
    from toolkit.explorer.page import write_page
    from toolkit.recipe.study import Study
    from toolkit.tables import read_table

    page = folder / "explorer.html"
    write_page(Study.of(read_table("reference")), page, "The compute-optimal recipe: reference")
    opened.get(page.as_uri())
    ask(opened, opened.find_element(By.ID, "twin"), BEYOND)
    save(opened, ROOT / "docs" / "explorer-page.png")


def ask(opened: webdriver.Chrome, field: WebElement, budget: str) -> None:
    field.send_keys(Keys.CONTROL + "a")
    field.send_keys(budget, Keys.ENTER)
    drawn = "return [...document.images].every((image) => image.complete)"
    WebDriverWait(opened, PATIENCE).until(lambda o: o.execute_script(drawn))


def save(opened: webdriver.Chrome, target: Path) -> None:
    with Image.open(io.BytesIO(opened.get_screenshot_as_png())) as image:
        image.convert("RGB").quantize(COLOURS).save(target, optimize=True)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, headless(f"window-size={WINDOW}") as opened:
        as_page(opened, Path(folder))
        in_lab(opened, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
