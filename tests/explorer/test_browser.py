"""The explorer in a real browser: JupyterLab and headless Chromium, driven by the keyboard."""

import contextlib
import math
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from chromium import headless, lab
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from toolkit.explorer.controls import STEP
from toolkit.explorer.page import write_page
from toolkit.text import read_number

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "explore.ipynb"
PATIENCE = 300  # Seconds, for machines that are busy with other things.
PICTURE = "canvas.toolkit-picture"
SLIDER = ".widget-slider .noUi-handle"
TWIN = ".widget-text input[type=text]:not([placeholder^='or the path'])"
READABLE = 4.5  # Contrast of text with its ground, as the accessibility guidelines (WCAG) ask.

pytestmark = [pytest.mark.slow, pytest.mark.process]


def wait_for(what, condition, patience=PATIENCE):
    """The first true value of `condition()`; elements that come and go are asked for again."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        with contextlib.suppress(WebDriverException):
            if value := condition():
                return value
        time.sleep(0.2)
    raise AssertionError(f"waited {patience} s in vain for {what}")


@pytest.fixture(scope="module")
def browser(at_hand):
    with headless("window-size=1366,900") as running:
        running.set_script_timeout(60)
        yield running


@pytest.fixture(scope="module")
def notebook(table, tmp_path_factory):
    """The address of the explorer's notebook in a JupyterLab with settings of its own."""
    folder = tmp_path_factory.mktemp("lab")
    table.to_csv(folder / "runs.csv", index=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    parameters.source = f"source = {str(folder / 'runs.csv')!r}"
    nbformat.write(notebook, folder / NOTEBOOK.name)
    ours = {"PYTHONPATH": str(NOTEBOOK.parents[1]), "OMP_NUM_THREADS": "1"}
    with lab(folder, folder, **ours) as address:
        wait_for("JupyterLab", lambda: _answers(f"{address}/api/status?token=t"))
        yield f"{address}/lab/tree/{NOTEBOOK.name}?token=t&reset"


def _answers(address):
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as reply:
        return reply.status == 200
    return False


@pytest.fixture(scope="module")
def opened(browser, notebook):
    """The notebook with all its cells run and the first picture painted."""
    browser.get(notebook)
    wait_for("the notebook", lambda: css(browser, ".jp-NotebookPanel .jp-Cell"))
    wait_for("the kernel", lambda: "Idle" in css(browser, "#jp-main-statusbar")[0].text)
    browser.find_element(By.XPATH, "//li[@role='menuitem'][.//div[text()='Run']]").click()
    wait_for("the menu", lambda: css(browser, "li[data-command='runmenu:run-all']"))[0].click()
    wait_for("a picture", lambda: turn(browser))
    browser.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    return browser


def css(browser, selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def visible(browser, selector):
    for element in css(browser, selector):
        if element.is_displayed():
            return element
    raise NoSuchElementException(f"nothing visible at {selector}")


def turn(browser):
    """How many pictures the visible tab has painted."""
    return int(visible(browser, PICTURE).get_attribute("data-turn") or 0)


def painted(browser):
    canvas = visible(browser, PICTURE)
    return browser.execute_script("return arguments[0].toDataURL()", canvas)


def label(browser):
    return visible(browser, PICTURE).get_attribute("aria-label")


def said(browser):
    return visible(browser, ".tk-words").text


def height(browser):
    return css(browser, ".jp-OutputArea-output")[0].size["height"]


def press(browser, element, key, times=1):
    browser.execute_script("arguments[0].focus()", element)
    for _ in range(times):
        element.send_keys(key)


def agree(browser):
    """Whether nothing is on its way any more: what is typed before that may be overwritten."""
    twin = visible(browser, TWIN).get_attribute("value")
    handle = float(visible(browser, SLIDER).get_attribute("aria-valuetext"))
    return abs(math.log10(read_number(twin)) - handle) < STEP and (
        f"For {twin} FLOP" in label(browser)
    )


def test_the_budget_moves_by_keyboard_and_the_page_does_not_jump(opened):
    before, words, tall = painted(opened), said(opened), height(opened)
    press(opened, visible(opened, SLIDER), Keys.ARROW_LEFT, times=30)
    wait_for("other words", lambda: said(opened) != words)
    wait_for("another picture", lambda: painted(opened) != before)
    wait_for("slider, field and picture to agree", lambda: agree(opened))
    assert height(opened) == tall
    twin = visible(opened, TWIN)
    press(opened, twin, Keys.CONTROL + "a")
    twin.send_keys("1e12", Keys.ENTER)
    wait_for("the typed budget", lambda: "For 10¹² FLOP" in label(opened))
    assert height(opened) == tall


def test_dragging_ends_at_the_last_value_with_fewer_pictures_than_moves(opened):
    before = turn(opened)
    handle = visible(opened, SLIDER)
    actions = webdriver.ActionChains(opened, duration=5).click_and_hold(handle)
    for _ in range(60):
        actions = actions.move_by_offset(1, 0)
    actions.release().perform()

    wait_for("slider, field and picture to agree", lambda: agree(opened) and turn(opened) > before)
    assert turn(opened) - before < 60


def test_the_recipe_is_copied_by_one_click(opened):
    button = visible(opened, ".tk-copy")
    text = button.get_attribute("data-text")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    wait_for("a sign", lambda: visible(opened, ".tk-copy").text == "Copied")
    read = "navigator.clipboard.readText().then(arguments[0], e => arguments[0](String(e)))"
    assert opened.execute_async_script(read) == text
    assert text.startswith("title: ")


def test_every_tab_paints_its_picture_at_constant_height(opened):
    tabs = css(opened, ".widget-tab .lm-TabBar-tab, .jupyter-widget-tab .lm-TabBar-tab")
    assert len(tabs) == 5
    for tab in tabs[1:]:
        opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", tab)
        tab.click()
        wait_for("its picture", lambda: turn(opened))
        wait_for("its words", lambda: said(opened))
        tall, before = height(opened), painted(opened)
        if tab is not tabs[-1]:
            press(opened, visible(opened, SLIDER), Keys.ARROW_LEFT, 25)
            wait_for("another picture", lambda before=before: painted(opened) != before)
        assert height(opened) == tall


def test_a_click_on_a_run_leaves_it_out(opened):
    kept = int(said(opened).split()[0])
    canvas = visible(opened, PICTURE)
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    places = opened.execute_script(RUNS, canvas)
    assert places, "no run found in the picture"
    x, y = places[0]
    webdriver.ActionChains(opened).move_to_element_with_offset(canvas, x, y).click().perform()
    wait_for("a run less", lambda: int(said(opened).split()[0]) == kept - 1)


# Below the legend, a pixel of the darkest budget's colour with the same colour all around it is
# inside a run's dot.
RUNS = """
const canvas = arguments[0], box = canvas.getBoundingClientRect(), found = [];
const { width, height } = canvas;
const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
const around = [[0, 0], [3, 0], [-3, 0], [0, 3], [0, -3]], dark = [68, 1, 84];
const isDark = (x, y) =>
  dark.every((c, k) => Math.abs(data[4 * (y * width + x) + k] - c) < 8);
for (let y = Math.round(0.2 * height); y < 0.8 * height; y += 2)
  for (let x = Math.round(0.2 * width); x < 0.47 * width; x += 2)
    if (around.every(([a, b]) => isDark(x + a, y + b)))
      found.push([(x / width - 0.5) * box.width, (y / height - 0.5) * box.height]);
return found.map((place) => place.map(Math.round));
"""


def test_words_can_be_read_in_a_dark_theme_as_in_a_light_one(opened):
    grounds = set()
    for theme in ("Dark", "Light"):
        opened.execute_script(
            "jupyterapp.commands.execute('apputils:change-theme', {theme: arguments[0]})",
            f"JupyterLab {theme}",
        )
        wait_for(
            f"the {theme} theme",
            lambda theme=theme: css(opened, f"body[data-jp-theme-name='JupyterLab {theme}']"),
        )
        wait_for("contrast", lambda: least_contrast(opened, ".tk-words *") >= READABLE)
        grounds.add(ground(opened, ".tk-words"))
    assert len(grounds) == 2


def test_the_browser_met_no_error(opened):
    severe = [entry for entry in opened.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [entry for entry in severe if "favicon" not in entry["message"]]


def least_contrast(browser, selector):
    """The lowest contrast with its ground of any text that is seen there (1 to 21, WCAG 2)."""
    return browser.execute_script(f"{GROUND} {CONTRAST}", selector)


def ground(browser, selector):
    """The colour behind an element."""
    script = f"{GROUND} return String(ground(document.querySelector(arguments[0])))"
    return browser.execute_script(script, selector)


GROUND = r"""
const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
function ground(element) {
  for (let e = element; e; e = e.parentElement) {
    const colour = channels(getComputedStyle(e).backgroundColor);
    if (colour[3] !== 0) return colour.slice(0, 3);
  }
  return [255, 255, 255];
}
"""
CONTRAST = """
const luminance = (colour) => colour.map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
const over = ([r, g, b, alpha = 1], below) =>
  [r, g, b].map((c, k) => alpha * c + (1 - alpha) * below[k]);
const seen = [...document.querySelectorAll(arguments[0])].filter(
  (e) => e.offsetParent && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
return Math.min(...seen.map((element) => {
  const below = ground(element);
  const text = luminance(over(channels(getComputedStyle(element).color), below));
  const paper = luminance(below);
  return (Math.max(text, paper) + 0.05) / (Math.min(text, paper) + 0.05);
}));
"""


@pytest.fixture(scope="module")
def page(browser, study, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    write_page(study, path, "Recipe", frames=21)
    browser.get(path.as_uri())
    return browser


def test_the_page_without_a_kernel_moves_by_keyboard(page):
    browser = page
    slider, moving, readout, twin = (
        browser.find_element(By.ID, name) for name in ("budget", "moving", "readout", "twin")
    )
    seen = set()
    tall = browser.execute_script("return document.documentElement.scrollHeight")
    for _ in range(5):
        seen.add((moving.get_attribute("src"), readout.text, twin.get_attribute("value")))
        press(browser, slider, Keys.ARROW_LEFT)
        assert browser.execute_script("return document.documentElement.scrollHeight") == tall
    assert [len(set(column)) for column in zip(*seen, strict=True)] == [5, 5, 5]
    twin.clear()
    twin.send_keys("3×10¹²", Keys.ENTER)
    assert twin.get_attribute("value") in ("3.2×10¹²", "3.16×10¹²", "2.8×10¹²", "2.82×10¹²")
    assert "FLOP" in moving.get_attribute("alt")
    needed = browser.find_element(By.ID, "time").text
    browser.find_element(By.CSS_SELECTOR, "#gpu option:last-child").click()
    assert browser.find_element(By.ID, "time").text != needed


def test_the_page_follows_the_systems_theme_and_can_be_read_in_both(page):
    grounds = set()
    for theme in ("dark", "light"):
        features = [{"name": "prefers-color-scheme", "value": theme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        grounds.add(ground(page, "main"))
        assert least_contrast(page, "main *") >= READABLE
    assert len(grounds) == 2
