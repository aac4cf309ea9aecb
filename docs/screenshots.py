"""The pictures of the explorer: in JupyterLab, and as a page without a kernel.

`python docs/screenshots.py` makes docs/explorer.png and docs/explorer-page.png from the shipped
study with a headless Chromium (chromium and chromedriver on the path).
"""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parent.parent
WINDOW = (1280, 1010)  # Pixels.
COLOURS = 255
PATIENCE = 600  # Seconds.
PAINTED = "canvas.toolkit-picture[data-turn]"
TWIN = ".widget-text input[type=text]:not([placeholder^='or the path'])"
INSIDE, BEYOND = "3e12", "1e13"  # FLOP; the study ends at the first.


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--window-size={WINDOW[0]},{WINDOW[1]}")
    opened = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield opened
    finally:
        opened.quit()


@contextmanager
def lab(folder: Path) -> Iterator[str]:
    """The address of explore.ipynb in a JupyterLab with settings of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    own = {f"JUPYTER{name}": str(folder / name.strip("_").lower()) for name in
           ("_CONFIG_DIR", "_RUNTIME_DIR")}  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
         f"--port={port}", "--IdentityProvider.token=t", f"--ServerApp.root_dir={ROOT}",
         "--expose-app-in-browser"],
        env=os.environ | own | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://localhost:{port}/lab/tree/notebooks/explore.ipynb?token=t&reset"
    finally:
        server.terminate()
        server.wait(60)


def in_lab(opened: webdriver.Chrome, folder: Path) -> None:
    """docs/explorer.png: the notebook at a budget that the study has."""
    with lab(folder) as address:
        wait = WebDriverWait(opened, PATIENCE, ignored_exceptions=[Exception])
        wait.until(lambda o: opened.get(address) or True)
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


def ask(opened: webdriver.Chrome, field: object, budget: str) -> None:
    field.send_keys(Keys.CONTROL + "a")  # type: ignore[attr-defined]
    field.send_keys(budget, Keys.ENTER)  # type: ignore[attr-defined]
    drawn = "return [...document.images].every((image) => image.complete)"
    WebDriverWait(opened, PATIENCE).until(lambda o: o.execute_script(drawn))


def save(opened: webdriver.Chrome, target: Path) -> None:
    with Image.open(io.BytesIO(opened.get_screenshot_as_png())) as image:
        image.convert("RGB").quantize(COLOURS).save(target, optimize=True)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, browser() as opened:
        as_page(opened, Path(folder))
        in_lab(opened, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
