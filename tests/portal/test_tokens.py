"""Every pair of colors that is written on one another has the contrast of WCAG 2.2 AA, in both themes."""

import re

import pytest

from dev.paths import ROOT

CSS = ROOT / "static/css"
TOKENS = (CSS / "tokens.css").read_text()
PAIRS = dict(re.findall(r"--([a-z0-9-]+): (light-dark\(#[0-9a-f]{6}, #[0-9a-f]{6}\)|var\(--[a-z0-9-]+\));", TOKENS))

TEXT = [
    *[(text, under) for text in ("ink", "soft", "muted") for under in ("canvas", "sheet", "sunken")],
    *[("brand", under) for under in ("canvas", "sheet", "brand-tint")],
    *[(tone, f"{tone}-tint") for tone in ("good", "notice", "caution", "danger")],
    *[("ink", f"{tone}-tint") for tone in ("good", "notice", "caution", "danger", "brand")],
    *[("soft", f"{tone}-tint") for tone in ("good", "notice", "caution", "danger")],
    *[(tone, "sheet") for tone in ("good", "notice", "caution", "danger")],
    ("danger", "canvas"),
    ("brand-strong", "sheet"),
    ("brand-strong", "canvas"),
    ("on-brand", "brand"),
    ("on-brand", "brand-strong"),
    ("on-danger", "danger"),
    ("on-danger", "danger-strong"),
    ("muted", "brand-tint"),
]
SHAPES = [
    *[("control-line", under) for under in ("canvas", "sheet")],
    *[("brand", under) for under in ("canvas", "sheet", "sunken")],
    *[(f"hue-{number}", "sheet") for number in range(1, 7)],
]


def color(name: str, theme: int) -> str:
    value = PAIRS[name]
    while value.startswith("var("):
        value = PAIRS[value.removeprefix("var(--").removesuffix(")")]
    return str(re.findall(r"#[0-9a-f]{6}", value)[theme])


def luminance(hexadecimal: str) -> float:
    def channel(position: int) -> float:
        value = int(hexadecimal[position : position + 2], 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    return 0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "under"), TEXT)
def test_text_stands_out(text, under, theme):
    assert contrast(color(text, theme), color(under, theme)) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("shape", "under"), SHAPES)
def test_shapes_stand_out(shape, under, theme):
    assert contrast(color(shape, theme), color(under, theme)) >= 3


@pytest.mark.parametrize("sheet", sorted(CSS.glob("*.css")), ids=lambda path: path.name)
def test_raw_colors_are_in_the_tokens_alone(sheet):
    raw = re.findall(
        r"#[0-9a-fA-F]{3,8}\b|\b(?:rgb|hsl|oklch|lab)a?\(", re.sub(r"/\*.*?\*/", "", sheet.read_text(), flags=re.S)
    )

    assert sheet.name == "tokens.css" or not raw
