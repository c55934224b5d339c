#!/usr/bin/env python3
"""Draws the engine's figures from the tables of benchmarks/results.md into benchmarks/plots/*.svg.

    benchmarks/plots.py             draws them all
    benchmarks/plots.py --check     exits 1 when one is not, to the byte, what its table makes
    benchmarks/plots.py --digests   the same by the digest that each carries, without Matplotlib

Installs requirements.txt beside it into .cache/plots (once). No figure stands in this file
(figures.py says what is drawn), and the same tables make the same bytes.
"""
import argparse
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import textwrap

sys.dont_write_bytecode = True
import figures  # noqa: E402
import tables  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".cache" / "plots"
REQUIREMENTS = ROOT / "benchmarks" / "requirements.txt"
RESULTS = ROOT / "benchmarks" / "results.md"
FOLDER = ROOT / "benchmarks" / "plots"

LIGHT, DARK, GREY, MISSED = "#86b6e3", "#1f5fa8", "#a9a9a9", "#c22727"
COLORS = {"DLLS": DARK, "llama.cpp": GREY, "1 thread": LIGHT, "2 threads": DARK, "AVX2": LIGHT,
          "AVX-512": DARK}  # in the order of the bars
LINE = {"color": "black", "linewidth": 0.8, "linestyle": ":"}
WIDTH, AXES, LABEL_LINE, NOTE_LINE = 9.2, 2.4, 0.16, 0.145  # inches
NOTE_COLUMNS = 150
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "dlls", "font.family": "DejaVu Sans",
         "font.size": 9, "axes.titlesize": 9.5, "axes.spines.top": False,
         "axes.spines.right": False, "legend.frameon": False}


def enter_environment():
    """Makes the virtual environment and starts the script again inside it."""
    python, installed = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "installed.txt"
    wanted = REQUIREMENTS.read_text()
    if not installed.exists() or installed.read_text() != wanted:
        print(f"installing {wanted.strip()} into {ENVIRONMENT}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "-q", "-r", str(REQUIREMENTS)], check=True)
        installed.write_text(wanted)
    os.execv(str(python), [str(python), __file__, *sys.argv[1:]])


def digest(figure):
    """Of what is drawn, so that a plot tells without Matplotlib whether its table has changed."""
    data = json.dumps(figure, sort_keys=True).encode()
    return "figures sha256 " + hashlib.sha256(data).hexdigest()


def bars_of(panel):
    return [bar for group in panel["groups"].values() for bar in group.values()]


def top_of(panel):
    return 1.22 * max(max(bar["value"], bar["target"] or 0) for bar in bars_of(panel))


def series_of(panel):
    return list(dict.fromkeys(name for group in panel["groups"].values() for name in sorted(
        group, key=list(COLORS).index)))


def mark(missed):
    """How a target is drawn; dashed too, for those who don't see the red."""
    return {"color": MISSED if missed else "black", "linewidth": 1.8, "solid_capstyle": "butt",
            "linestyle": (0, (2.2, 0.8)) if missed else "-"}


def draw_bar(axes, at, width, bar, color, top):
    axes.bar(at, bar["value"], width * 0.94, color=color)
    over = bar["value"]
    if bar["target"] is not None:
        across = [at - width * 0.5, at + width * 0.5], [bar["target"]] * 2
        axes.plot(*across, color="white", linewidth=3.4, solid_capstyle="butt")
        axes.plot(*across, **mark(bar["missed"]))
        lines = 1 + bar["label"].count("\n")
        if -0.02 * top < bar["target"] - over < 0.06 * top * lines:
            over = bar["target"]  # or the mark would cross the label
    axes.text(at, over + 0.012 * top, bar["label"], ha="center", va="bottom", fontsize=8,
              color=MISSED if bar["missed"] else "black", linespacing=1.05)


def draw_panel(axes, panel, top):
    names = series_of(panel)
    width = 0.8 / len(names)
    for place, group in enumerate(panel["groups"].values()):
        left = place - width * (len(group) - 1) / 2
        for index, name in enumerate(name for name in names if name in group):
            draw_bar(axes, left + index * width, width, group[name], COLORS[name], top)
    if "line" in panel:
        axes.axhline(panel["line"], zorder=0.5, **LINE)
    axes.set_xticks(range(len(panel["groups"])), list(panel["groups"]), fontsize=8.5)
    axes.set_xlim(-0.6, len(panel["groups"]) - 0.4)
    axes.set_ylim(0, top)
    axes.set_ylabel(panel["unit"])
    axes.set_title(panel["title"])
    axes.tick_params(axis="x", length=0)


def draw_legend(sheet, panels, y):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    names = dict.fromkeys(name for panel in panels for name in series_of(panel))
    entries = [Patch(color=COLORS[name], label=name) for name in names]
    bars = [bar for panel in panels for bar in bars_of(panel) if bar["target"] is not None]
    for missed, label in ((False, "target, met"), (True, "target, missed")):
        if any(bar["missed"] == missed for bar in bars):
            entries.append(Line2D([], [], label=label, **mark(missed)))
    for label in dict.fromkeys(panel["line_label"] for panel in panels if "line" in panel):
        entries.append(Line2D([], [], label=label, **LINE))
    sheet.legend(handles=entries, loc="upper center", ncols=len(entries), bbox_to_anchor=(0.5, y))


def draw(figure):
    """The bytes of an SVG file."""
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plot
    panels, stacked = figure["panels"], figure.get("stacked", False)
    notes = [line for note in figure["notes"] for line in textwrap.wrap(note, NOTE_COLUMNS)]
    labels = max(1 + label.count("\n") for panel in panels for label in panel["groups"])
    below, above = 0.25 + LABEL_LINE * labels + NOTE_LINE * len(notes), 0.85
    height = below + AXES * (2 if stacked else 1) + above
    tops = [max(top_of(panel), 1.1 * panel.get("line", 0)) for panel in panels]
    if figure.get("same_axis"):
        tops = [max(tops)] * len(tops)
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE}):
        sheet = plot.figure(figsize=(WIDTH, height))
        count = len(panels)
        grid = sheet.add_gridspec(
            *((count, 1) if stacked else (1, count)), left=0.075, right=0.99, bottom=below / height,
            top=1 - above / height, wspace=0.2, hspace=0.4,
            width_ratios=None if stacked else [1 + len(panel["groups"]) for panel in panels])
        for cell, panel, top in zip(grid, panels, tops):
            draw_panel(sheet.add_subplot(cell), panel, top)
        sheet.text(0.5, 1 - 0.1 / height, figure["title"], ha="center", va="top", fontsize=11,
                   weight="bold")
        draw_legend(sheet, panels, 1 - 0.26 / height)
        sheet.text(0.02, 0.06 / height, "\n".join(notes), ha="left", va="bottom", fontsize=7.5,
                   color="#444444", linespacing=1.25)
        out = io.BytesIO()
        sheet.savefig(out, format="svg", metadata={
            "Date": None, "Creator": None, "Title": figure["title"], "Description": digest(figure)})
        plot.close(sheet)
    return out.getvalue()


def stale(found, same):
    """Files that are not what their tables make, each with a reason."""
    wrong = []
    for name, figure in found.items():
        path = FOLDER / f"{name}.svg"
        if not path.exists():
            wrong.append(f"{path.relative_to(ROOT)} is missing")
        elif not same(path.read_bytes(), figure):
            wrong.append(f"{path.relative_to(ROOT)} is not what results.md makes")
    others = [path for path in sorted(FOLDER.glob("*.svg")) if path.stem not in found]
    return wrong + [f"{path.relative_to(ROOT)} belongs to no figure" for path in others]


def main():
    parse = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--check", action="store_true")
    parse.add_argument("--digests", action="store_true")
    options = parse.parse_args()
    try:
        found = figures.read(RESULTS.read_text())
    except tables.unreadable_table as why:
        sys.exit(f"{RESULTS.relative_to(ROOT)}: {why}")
    if options.digests:
        wrong = stale(found, lambda data, figure: digest(figure).encode() in data)
    else:
        if pathlib.Path(sys.prefix) != ENVIRONMENT:
            enter_environment()
        if options.check:
            wrong = stale(found, lambda data, figure: data == draw(figure))
        else:
            FOLDER.mkdir(exist_ok=True)
            for name, figure in found.items():
                (FOLDER / f"{name}.svg").write_bytes(draw(figure))
            wrong = stale(found, lambda data, figure: True)
    if wrong:
        sys.exit("\n".join(wrong) + "\nbenchmarks/plots.py draws them anew")


if __name__ == "__main__":
    main()
