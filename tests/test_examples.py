"""What the docs tell people to run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_kernel_figures(tmp_path):
    command = [sys.executable, ROOT / "examples" / "kernel_figures.py", tmp_path, "--frames", "2"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        f"kernels_{name}" for name in ("isotropic.gif", "anisotropic.gif", "motion.gif", "optics.png", "bicubic.png")
    }


@pytest.mark.slow
def test_gallery(tmp_path):
    subprocess.run([sys.executable, ROOT / "examples" / "gallery.py", tmp_path], check=True, capture_output=True)
    names = {path.name for path in tmp_path.iterdir()}
    photos = {f"gallery_{name}.jpg" for name in ("scales", "deblurring", "blurs", "border", "large_kernel")}
    assert names == photos | {"gallery_chip.png"}


@pytest.mark.slow
def test_estimate_figures(tmp_path):
    command = [sys.executable, ROOT / "examples" / "estimate_figures.py", tmp_path, "--model", "tv"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == {
        "estimate_failures.jpg",
        "estimate_real.jpg",
        "estimate_shake.jpg",
    }


TEXTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")]
)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as Markdown readers make them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TEXTS)
def test_links_and_pictures_are_there(page):
    text = re.sub(r"^( *)```.*?^\1```", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    targets = re.findall(r"\]\(([^)\s]+)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for target in targets:
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), target
        if anchor and not page.startswith("docs/"):  # in the site mkdocs knows better, and is strict
            assert anchor in anchors(path), target


def test_every_page_is_in_the_navigation_and_every_picture_on_a_page():
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    texts = "".join((ROOT / page).read_text("utf-8") for page in TEXTS)
    for page in TEXTS:
        if page.startswith("docs/"):
            assert page.removeprefix("docs/") in navigation, page
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.name in texts, picture.name
