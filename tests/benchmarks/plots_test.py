"""The engine's plots against the tables of benchmarks/results.md: what cannot be read is named by its
heading, and a plot that is not of today's tables is found. Each case prints its name when it has passed."""
import pathlib
import re
import subprocess
import sys

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"
RESULTS = (BENCHMARKS / "results.md").read_text()
sys.path.insert(0, str(BENCHMARKS))
sys.dont_write_bytecode = True
import figures  # noqa: E402
import tables  # noqa: E402


def refused(text):
    try:
        figures.read(text)
    except tables.unreadable_table as why:
        return str(why)
    raise AssertionError("it was read")


def changed(old, new):
    assert RESULTS.count(old) == 1, f"{RESULTS.count(old)} times '{old}'"
    return RESULTS.replace(old, new)


def line_under(heading, beginning):
    """The first such line of the section, so that new figures need no new test."""
    section = RESULTS.split(f"## {heading}\n")[1].split("\n## ")[0]
    return next(line for line in section.splitlines() if line.startswith(beginning))


def with_cell(line, index, cell):
    """The file with one cell of a line replaced."""
    parts = line.split("|")
    parts[index] = f" {cell} "
    return changed(line, "|".join(parts))


def a_missing_heading_is_named():
    for heading in (figures.TYPES, figures.DEPTHS, figures.CLIENTS, figures.START, figures.KERNELS):
        assert heading in refused(changed(f"## {heading}\n", "## Something else\n"))


def a_missing_row_is_named_with_its_heading():
    why = refused(changed(line_under(figures.START, "| resident"), "| empty | | | | | |"))
    assert figures.START in why and "resident" in why, why


def a_row_with_a_cell_too_few_is_named_also_where_no_plot_is_drawn():
    line = line_under("How fast does it train, against PyTorch?", "| tiny, 1 thread ")
    why = refused(changed(line, line.rsplit("|", 2)[0] + "|"))
    assert "How fast does it train" in why and "tiny, 1 thread" in why, why


def a_cell_that_is_no_number_is_named():
    why = refused(with_cell(line_under(figures.KERNELS, "| q5_k"), 2, "fast"))
    assert all(word in why for word in (figures.KERNELS, "q5_k", "fast", "AVX2: 1 row")), why


def a_number_with_another_behind_it_is_not_half_read():
    assert "389" in refused(with_cell(line_under(figures.KERNELS, "| q5_k"), 2, "2989; 389"))


def a_target_that_is_missed_but_not_called_missed_is_refused_and_the_other_way_round():
    line = line_under(figures.CLIENTS, "| 8 clients")
    assert "does not agree" in refused(with_cell(line, 5, "1000"))
    assert "does not agree" in refused(with_cell(line, 5, "0.1, **missed**"))


def a_time_misses_its_target_when_it_is_longer():
    line = next(line for line in RESULTS.splitlines() if re.match(r"\| 8 clients.*first token", line))
    assert "does not agree" in refused(with_cell(line, 5, "0.0001"))


def every_figure_has_its_machine_and_date():
    for name, figure in figures.read(RESULTS).items():
        assert re.search(r".+; \d{4}-\d\d-\d\d$", figure["notes"][-1]), (name, figure["notes"])


def the_plots_are_of_todays_tables():
    done = subprocess.run([sys.executable, BENCHMARKS / "plots.py", "--digests"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr


def every_plot_is_small_and_shown_in_the_results():
    for name in figures.ALL:
        assert (BENCHMARKS / "plots" / f"{name}.svg").stat().st_size < 100_000, name
        assert f"(plots/{name}.svg)" in RESULTS, f"results.md does not show plots/{name}.svg"


CASES = (
    a_missing_heading_is_named,
    a_missing_row_is_named_with_its_heading,
    a_row_with_a_cell_too_few_is_named_also_where_no_plot_is_drawn,
    a_cell_that_is_no_number_is_named,
    a_number_with_another_behind_it_is_not_half_read,
    a_target_that_is_missed_but_not_called_missed_is_refused_and_the_other_way_round,
    a_time_misses_its_target_when_it_is_longer,
    every_figure_has_its_machine_and_date,
    the_plots_are_of_todays_tables,
    every_plot_is_small_and_shown_in_the_results)

for case in CASES:
    case()
    print(f"{case.__name__}: ok", flush=True)
