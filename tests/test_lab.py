"""The notebooks in a real JupyterLab, driven in Chromium as a reader would: restart and run all; in 10_explore, move a
slider and see the picture change.

Needs the extra `browser` of pyproject.toml and a Chromium; without them these tests are skipped, and say so.
"""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from PIL import Image

from lib import experiments, runs

PATIENCE = 300_000  # ms, for a kernel to start and for small nets to be trained on a busy machine
TRAINS = "04_recnet_paper"  # the page of small nets that no page before it has trained
SLIDER = ".widget-interact .noUi-handle"
PICTURE = ".widget-interact .jp-RenderedSVG"
OWN = ".widget-interact:has(textarea)"
PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"
FAILED = "[data-mime-type='application/vnd.jupyter.error']"
TOLD = r"""() => new MutationObserver(changes => changes.forEach(change => change.addedNodes.forEach(node => {
    if (/\[\d+ of \d+\] .*: epoch \d/.test(node.textContent)) window.told = true;
}))).observe(document.body, {subtree: true, childList: true})"""
CHANGED = "([where, before]) => (document.querySelector(where) ?? {innerHTML: before}).innerHTML != before"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """address(name): a notebook, at its smallest, in a server that is started as `make lab` does, on copies."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(runs.ROOT / "notebooks", folder / "notebooks")
    for page in (folder / "notebooks").glob("*.ipynb"):
        page.write_text(page.read_text().replace('profile = \\"quick\\"', 'profile = \\"smoke\\"'))
    command = [sys.executable, "-m", "jupyterlab", "--notebook-dir", folder / "notebooks", "--no-browser", "--port=0"]
    own = {"RECNET_BUILD": folder / "build", "RECNET_STANDIN": "1", "PYTHONPATH": runs.ROOT, "HOME": folder}
    own |= {"JUPYTER_CONFIG_DIR": folder / "config", "JUPYTER_RUNTIME_DIR": folder / "runtime"}
    with (folder / "log").open("wb") as log:
        root = ["--allow-root"] if os.geteuid() == 0 else []
        server = subprocess.Popen(
            command + root, env=os.environ | {k: str(v) for k, v in own.items()}, stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            found = re.search(r"(http://127\.0\.0\.1:\d+)/lab\S*\?token=(\w+)", (folder / "log").read_text())
            if found or server.poll() is not None:
                break
            time.sleep(0.1)
        assert found, (folder / "log").read_text()[-2000:]
        yield lambda name: f"{found[1]}/lab/tree/{name}.ipynb?token={found[2]}&reset"
    finally:
        server.terminate()
        server.wait(30)


def eventually(page, question, *arguments):
    """Waits until a JavaScript function says yes."""
    end = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(question, *arguments):
        assert time.monotonic() < end, f"never came true: {question}"
        time.sleep(0.5)


def picture(page, where=PICTURE):
    """What stands in the first picture that sliders belong to."""
    return page.locator(where).first.evaluate("e => e.innerHTML")


def opened(browser, address):
    page = browser.new_page(viewport={"width": 1400, "height": 5000})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.get_by_text("| Idle").wait_for()  # run before the kernel is there, JupyterLab asks for one
    return page


def choose(page, menu, entry):
    page.locator(".lm-MenuBar-itemLabel").get_by_text(menu, exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text(entry, exact=True).click()


def run_all(page, restart=False):
    """Runs all cells by the menu, as a reader does, and waits for the last, or for one that fails; returns its
    message in a list."""
    unfinished = f"{PROMPTS}.length == 0 || {PROMPTS}.some(prompt => !/[0-9]/.test(prompt.textContent))"
    if restart:
        choose(page, "Kernel", "Restart Kernel and Run All Cells…")
        page.locator(".jp-Dialog").get_by_role("button", name="Confirm Kernel Restart").click()
        eventually(page, f"() => {unfinished}")  # what the first time left is gone
    else:
        choose(page, "Run", "Run All Cells")
    eventually(page, f"() => document.querySelector({FAILED!r}) || !({unfinished})")
    return page.locator(FAILED).all_inner_texts()


@pytest.fixture(scope="module")
def lab(browser, address):
    """10_explore, open in JupyterLab, all its cells run."""
    page = opened(browser, address("10_explore"))
    assert not run_all(page)
    return page


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.faults] * (name != TRAINS)) for name in experiments.PAGES],
)
def test_a_notebook_survives_restart_and_run_all(browser, address, name):
    page = opened(browser, address(name))
    page.evaluate(TOLD)
    assert not run_all(page)
    # pages that train say how far they are, while it lasts; what an earlier one has trained is there already
    assert page.evaluate("window.told") or name != TRAINS
    assert page.get_by_text(re.compile(r"\[\d+ of \d+\] ")).count() == 0
    assert not run_all(page, restart=True)
    choose(page, "Kernel", "Shut Down Kernel")
    page.close()


def test_all_cells_run_without_an_error(lab):
    assert lab.locator(".jp-CodeCell").count() >= 8


def test_a_moved_slider_changes_the_picture(lab):
    before = picture(lab)
    lab.locator(SLIDER).first.press("ArrowRight")
    eventually(lab, CHANGED, [PICTURE, before])


def test_more_steps_than_were_trained_can_be_asked_for(lab):
    lab.locator(".widget-interact select").first.select_option(index=1)  # a tied net
    before = picture(lab)
    for _ in range(5):
        lab.locator(SLIDER).nth(1).press("ArrowRight")
    eventually(lab, CHANGED, [PICTURE, before])
    end = time.monotonic() + PATIENCE / 1000
    while len(picture(lab)) < 1.2 * len(before):
        assert time.monotonic() < end, "more steps give a wider table"
        time.sleep(0.5)


def test_a_picture_of_ones_own_can_be_drawn_and_uploaded(lab, tmp_path):
    where = f"{OWN} .jp-RenderedSVG"
    drawn = picture(lab, where)
    lab.locator(f"{OWN} textarea").fill("gggg\nrrrr\n")
    lab.locator(f"{OWN} textarea").press("Tab")
    eventually(lab, CHANGED, [where, drawn])
    changed = picture(lab, where)
    Image.new("RGB", (50, 40), "navy").save(tmp_path / "own.png")
    with lab.expect_file_chooser() as chosen:
        lab.locator(f"{OWN} .widget-upload").click()
    chosen.value.set_files(tmp_path / "own.png")
    eventually(lab, CHANGED, [where, changed])
