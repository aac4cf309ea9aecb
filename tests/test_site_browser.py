"""The site in a real browser without a network: every page, light and dark, at a phone's width."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from chromium import headless
from selenium.webdriver.support.expected_conditions import url_to_be
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parent.parent
PHONE = 390  # Pixels.
READY = "return document.readyState === 'complete'"

pytestmark = [pytest.mark.slow, pytest.mark.process]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, its walkthroughs not executed: that is for `make docs`."""
    target = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "docs/pages.py", target],
        cwd=ROOT,
        env={**os.environ, "SITE_EXECUTE": "off"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def browser(at_hand):
    with headless("host-resolver-rules=MAP * ~NOTFOUND") as opened:  # There is no outside.
        opened.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": PHONE, "height": 800, "deviceScaleFactor": 1, "mobile": True},
        )
        yield opened


def test_no_page_names_a_script_style_or_picture_of_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]*?src="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]*?href="([^"]+)"', text)
        assert not [x for x in loaded if x.startswith(("http:", "https:", "//"))], page.name


def test_every_page_opens_offline_in_light_and_dark_at_a_phone_s_width(site, browser):
    pages = [p for p in site.rglob("*.html") if "_static" not in p.parts]
    assert len(pages) > 25
    for page in pages:
        browser.get(page.as_uri())
        if page == site / "index.html":  # It forwards: until then its body may be gone any moment.
            wait = WebDriverWait(browser, 60)
            wait.until(url_to_be((site / "docs" / "index.html").as_uri()))
            wait.until(lambda opened: opened.execute_script(READY))
        asked = browser.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name)"
        )
        assert not [url for url in asked if url.startswith("http")], page.name
        grounds = set()
        for theme in ("light", "dark"):
            browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
            grounds.add(
                browser.execute_script("return getComputedStyle(document.body).backgroundColor")
            )
        if "explorer-reference" not in page.name and page.name != "index.html":
            assert len(grounds) == 2, page.name
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= PHONE + 1, f"{page.name} is {wide} pixels wide"


def test_formulas_are_drawn_without_a_script(site, browser):
    browser.get((site / "docs" / "concepts.html").as_uri())
    heights = browser.execute_script(
        "return [...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().height)"
    )
    assert len(heights) > 5 and min(heights) > 5
    assert "MathJax" not in browser.page_source
