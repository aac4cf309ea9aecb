"""A headless Chromium, and a JupyterLab to open in it: for pictures of the explorer, and tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver

MISSING = "no chromium and chromedriver here: apt-get install chromium chromium-driver"


def programs() -> tuple[str, str] | None:
    """The browser and its driver; None where one of them is missing."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


@contextmanager
def headless(*arguments: str) -> Iterator[webdriver.Chrome]:
    """A browser without a window that keeps its console's log, closed at the end.

    Args:
        arguments: Of the command line, without their dashes.

    Raises:
        FileNotFoundError: There is no browser.
    """
    found = programs()
    if found is None:
        raise FileNotFoundError(MISSING)
    options = webdriver.ChromeOptions()
    options.binary_location, driver = found
    usual = ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage")
    for argument in (*usual, *arguments):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield opened
    finally:
        opened.quit()


@contextmanager
def lab(root: Path, own: Path, **environment: str) -> Iterator[str]:
    """The address of a JupyterLab, which may still be starting, with settings of its own.

    Args:
        root: The folder that it shows. own: For its settings and its log.
        environment: Of its kernels, beside this process's.
    """
    settings = own / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
        "--ip=127.0.0.1", "--IdentityProvider.token=t", f"--ServerApp.root_dir={root}",
        "--expose-app-in-browser",
    ]  # fmt: skip
    folders = {
        "JUPYTERLAB_SETTINGS_DIR": str(own / "settings"),
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
    }
    with open(own / "log", "wb") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **folders, **environment}, stdout=log, stderr=log
        )
        try:
            yield f"http://localhost:{port}"
        finally:
            server.terminate()
            server.wait(60)
